import type { Format } from "../../core/index.ts";
import type { DelimitedOptions } from "../delimited-options.ts";
import { openDelimited } from "../delimited.ts";

export function open(options: DelimitedOptions): Format {
  return openDelimited(options, "FORMAT csv, HEADER");
}
