import type { Format } from "../../core/index.ts";
import { columns } from "./columns.ts";
import type { DicomOptions } from "./index.ts";

/** Source when this runs from source, JavaScript when it runs from the build. */
const module = new URL(import.meta.url.endsWith(".ts") ? "./convert.ts" : "./convert.js", import.meta.url);

export function open(options: DicomOptions): Format {
  // The files themselves say who the patients are.
  return { converter: { module, columns, native: true, withholdsBytes: options.deidentify !== undefined } };
}
