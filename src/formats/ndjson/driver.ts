import type { Format } from "../../core/index.ts";
import { openJson, type JsonOptions } from "../json-text.ts";

export function open(options: JsonOptions): Format {
  return openJson(options, true);
}
