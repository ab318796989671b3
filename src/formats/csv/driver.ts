import type { Format } from "../../core/index.ts";
import { openDelimited, type DelimitedOptions } from "../delimited.ts";

export function open(options: DelimitedOptions): Format {
  return openDelimited(options, "FORMAT csv, HEADER");
}
