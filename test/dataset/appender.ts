/** A writer process of the tests: commits runs `<name>-<from>` to `<name>-<to>`, each with one copy of the file, and prints each acknowledged version. */
import { copyFileSync } from "node:fs";
import type { StagedFile } from "../../src/core/index.ts";
import { openCatalog } from "../../src/dataset/index.ts";
import * as fileSystem from "../../src/stores/fs/driver.ts";

const [root, dataset, name, from, to, fileText] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
];
const file = JSON.parse(fileText) as StagedFile;
const store = await fileSystem.open({ path: root }, { connection: "lake", folder: root });
const opened = await openCatalog(store).open(dataset);
for (let index = Number(from); index < Number(to); index++) {
  const path = `${dataset}/data/${name}-${index}.parquet`;
  copyFileSync(store.local!(file.path), store.local!(path));
  const version = await opened.commit({
    operation: "append",
    add: [{ ...file, path }],
    runId: `${name}-${index}`,
    summary: { [`millrace.cursor.${name}`]: JSON.stringify({ index }) },
  });
  process.stdout.write(`${name}-${index} ${version.number}\n`);
}
