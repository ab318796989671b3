/**
 * The last step of the build: the compiled contract kits become `dist/testing`, the module `millrace/testing`, and use the
 * `dist` that everybody else uses. In the repository they lie in `test/contracts` and import `src`.
 */
import { globSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const compiled = join(dist, ".kits", "test", "contracts");
const testing = join(dist, "testing");

await rm(testing, { recursive: true, force: true });
for (const file of globSync("**/*.{js,d.ts}", { cwd: compiled })) {
  const text = await readFile(join(compiled, file), "utf8");
  const target = join(testing, file);
  await mkdir(dirname(target), { recursive: true });
  // `../../src/core/index.js` of test/contracts is `../core/index.js` of dist/testing, and so on further down.
  await writeFile(target, text.replaceAll(/(["'](?:\.\.\/)+)\.\.\/src\//g, "$1"));
}
await rm(join(dist, ".kits"), { recursive: true, force: true });
