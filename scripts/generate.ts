/**
 * Everything that follows from the folders of `src`: the registry, the reference, the schema for editors, the table of the README.
 *
 *     node scripts/generate.ts            writes what has changed
 *     node scripts/generate.ts --check    writes nothing; fails when something is stale
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findModules } from "./generate/modules.ts";
import { readmeTable, referencePages } from "./generate/reference.ts";
import { registrySource } from "./generate/registry.ts";
import { editorSchema } from "./generate/schema.ts";
import { generatedMark } from "./generate/text.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const checkOnly = process.argv.includes("--check");

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(join(root, path), "utf8");
  } catch {
    return undefined;
  }
}

const { modules, failures } = await findModules(join(root, "src"));
const outputs = new Map<string, string>();
outputs.set("src/registry.ts", registrySource(modules));
outputs.set("schema/millrace.schema.json", `${JSON.stringify(editorSchema(modules), undefined, 2)}\n`);
for (const [name, page] of referencePages(modules)) outputs.set(`docs/reference/${name}`, page);
const readme = await readIfThere("README.md");
if (readme !== undefined) outputs.set("README.md", readmeTable(readme, modules));

const stale: string[] = [];
for (const [path, content] of outputs) {
  if ((await readIfThere(path)) === content) continue;
  stale.push(path);
  if (checkOnly) continue;
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
}
for (const name of await readdir(join(root, "docs/reference")).catch(() => [])) {
  const path = `docs/reference/${name}`;
  if (outputs.has(path) || !(await readIfThere(path))?.startsWith(generatedMark)) continue;
  stale.push(path);
  if (!checkOnly) await rm(join(root, path));
}

for (const failure of failures) console.error(`generate: ${failure}`);
if (checkOnly && stale.length > 0)
  console.error(`generate: stale: ${stale.join(", ")}\n  try: npm run generate, and commit what it writes`);
if (!checkOnly) console.log(`generate: ${modules.length} modules, ${outputs.size} files, ${stale.length} changed`);
process.exitCode = failures.length > 0 || (checkOnly && stale.length > 0) ? 1 : 0;
