import type { Format } from "../../core/index.ts";
import { columns } from "./columns.ts";

/** Source when this runs from source, JavaScript when it runs from the build. */
const module = new URL(import.meta.url.endsWith(".ts") ? "./convert.ts" : "./convert.js", import.meta.url);

export function open(): Format {
  return { converter: { module, columns } };
}
