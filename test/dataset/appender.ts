/**
 * A writer process of the tests: prints `ready`, waits for a byte on standard input, commits runs `<name>-<from>` to `<name>-<to>`, each with one copy of the file, and prints each
 * acknowledged version. With `unconditional` its creates are plain writes, as on a medium that ignores conditions.
 */
import { readSync, writeSync } from "node:fs";
import type { StagedFile, Store } from "../../src/core/index.ts";
import { openCatalog } from "../../src/dataset/index.ts";
import { openStore, type StoreChoice } from "./store-choice.ts";

export interface Assignment {
  store: StoreChoice;
  dataset: string;
  name: string;
  from: number;
  to: number;
  file: StagedFile;
  unconditional?: boolean;
}

const { store: choice, dataset, name, from, to, file, unconditional } = JSON.parse(process.argv[2]!) as Assignment;
await using medium = await openStore(choice);
const store: Store = unconditional ? { ...medium, write: (path, bytes) => medium.write(path, bytes) } : medium;
const opened = await openCatalog(store).open(dataset);
const content = await store.read(file.path);
writeSync(1, "ready\n");
readSync(0, Buffer.alloc(1));
for (let index = from; index < to; index++) {
  const path = `${dataset}/data/${name}-${index}.parquet`;
  await store.write(path, content);
  const version = await opened.commit({
    operation: "append",
    add: [{ ...file, path }],
    runId: `${name}-${index}`,
    summary: { [`millrace.cursor.${name}`]: JSON.stringify({ index }) },
  });
  writeSync(1, `${name}-${index} ${version.number}\n`);
}
