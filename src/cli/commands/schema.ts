import { readFile } from "node:fs/promises";
import type { Context, GlobalFlags } from "../context.ts";
import { schemaFile } from "../package.ts";

export default async function schema(this: Context, _flags: GlobalFlags): Promise<void> {
  this.output.print((await readFile(schemaFile, "utf8")).trimEnd());
}
