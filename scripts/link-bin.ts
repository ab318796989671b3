/** Puts this package's own command into `node_modules/.bin`, so that `npx millrace` in a clone is this clone. */
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../node_modules/.bin", import.meta.url));
mkdirSync(folder, { recursive: true });
const link = join(folder, "millrace");
rmSync(link, { force: true });
try {
  symlinkSync("../../bin/millrace.mjs", link, "file");
} catch (error) {
  // Windows without the right to make links: `npm exec` finds the command in another way, or `node bin/millrace.mjs` does.
  console.warn(`millrace: no link in node_modules/.bin (${error instanceof Error ? error.message : String(error)})`);
}
