import type { Format } from "../../core/index.ts";
import type { JsonOptions } from "../json-options.ts";
import { openJson } from "../json-text.ts";

export function open(options: JsonOptions): Format {
  return openJson(options, true);
}
