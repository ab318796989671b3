import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Column, StagedFile, Store } from "../../src/core/index.ts";
import { type Dataset, compactDataset, eraseRows, mergeChange, openCatalog } from "../../src/dataset/index.ts";
import { watched } from "../support/store.ts";
import type { Operation } from "./conflicts.ts";
import { type Workplace, engine, stage } from "./helpers.ts";

/** The ids of the rows that versions 1 to 4 of a fresh dataset end with. */
export const baseIds = [1, 2, 3, 4, 5, 6, 7, 8];
export const rollbackIds = [1, 2, 3, 4];
export const erasedId = 1;
const baseColumns: Column[] = [
  { name: "id", type: "int" },
  { name: "made_by", type: "string" },
];
/** The key that every merge updates. */
const mergedId = 2;

/** The files of `freshDataset`: written once, because they are the same in each. */
let baseFiles: Promise<{ file: StagedFile; bytes: Uint8Array }[]> | undefined;

async function writeBaseFiles(place: Workplace): Promise<{ file: StagedFile; bytes: Uint8Array }[]> {
  const dataset = await openCatalog(place.store).create("template", baseColumns);
  const files = [];
  for (const ids of [[99], [1, 2], [3, 4], [5, 6], [7, 8]]) {
    const file = await stage(dataset, `SELECT unnest([${ids.join(", ")}])::INT AS id, 'base' AS made_by`);
    files.push({ file, bytes: await place.store.read(file.path) });
  }
  return files;
}

/** A dataset with four versions, a tag on the first, and one data file that no version names, the oldest of all. */
export async function freshDataset(place: Workplace, name: string): Promise<{ lastModified: number }> {
  baseFiles ??= writeBaseFiles(place);
  const dataset = await openCatalog(place.store).create(name, baseColumns);
  const files: StagedFile[] = [];
  for (const [index, { file, bytes }] of (await baseFiles).entries()) {
    const path = `${name}/data/base-${index}.parquet`;
    await place.store.write(path, bytes);
    // Object stores keep whole seconds: the oldest file is to be older all the same.
    if (index === 0 && place.store.local === undefined) await sleep(1010 - (Date.now() % 1000));
    files.push({ ...file, path });
  }
  for (const file of files.slice(1)) await dataset.commit({ operation: "append", add: [file] });
  await dataset.tag("gold", dataset.version(1));
  let lastModified = 0;
  for await (const entry of place.store.list(name)) lastModified = Math.max(lastModified, entry.modified);
  return { lastModified };
}

export interface Contender {
  /** The version that was made, when the operation makes one, and the ids that it brought. */
  version?: number;
  added: number[];
}

/** Does the operation from beginning to end. `id` is that of the row it brings in. */
export async function perform(
  operation: Operation,
  place: Workplace,
  dataset: Dataset,
  id: number,
  lastModified: number,
): Promise<Contender> {
  const row = `SELECT ${id}::INT AS id, 'run ${id}' AS made_by`;
  const base = dataset.current()!.number;
  switch (operation) {
    case "append": {
      const { number } = await dataset.commit({ operation: "append", add: [await stage(dataset, row)] });
      return { version: number, added: [id] };
    }
    case "replace": {
      const add = [await stage(dataset, row)];
      const { number } = await dataset.commit({ operation: "overwrite", add, removeAll: true, base });
      return { version: number, added: [id] };
    }
    case "merge": {
      const rows = `(${row} UNION ALL SELECT ${mergedId}, 'run ${id}')`;
      const staged = await stage(dataset, `SELECT * FROM ${rows}`);
      const columns = dataset.columns();
      const request = { dataset, engine, rows, staged: [staged], key: ["id"], columns, folder: place.folder };
      const merged = await mergeChange({ ...request, prefix: `merge-${dataset.name}-${id}` });
      const add = [staged];
      for (const file of merged.add) {
        const path = `${dataset.folder}/data/${basename(file.path)}`;
        await dataset.store.adopt(file.path, path);
        add.push({ ...file, path });
      }
      const { number } = await dataset.commit({ operation: "overwrite", add, remove: merged.remove, base });
      return { version: number, added: [id] };
    }
    case "evolve": {
      const { columns } = dataset.evolve([...dataset.columns(), { name: `extra${id}`, type: "string" }], "evolve");
      const staged = await stage(dataset, `${row.replace(" AS made_by", " AS made_by, 'x'")} AS extra${id}`, columns);
      const { number } = await dataset.commit({ operation: "append", add: [staged], columns });
      return { version: number, added: [id] };
    }
    case "compact": {
      const { version } = await compactDataset(dataset, engine, { folder: place.folder });
      return { version: version!.number, added: [] };
    }
    case "expire":
      // Ages are counted from a moment at which every version is old.
      await dataset.gc({ keepVersions: 1, expireOlderThanMs: 0, minimumAgeMs: 86_400_000, now: Date.now() + 1 });
      return { added: [] };
    case "gc":
      // Only what was there before the operations is old enough.
      await dataset.gc({ minimumAgeMs: 0, now: lastModified });
      return { added: [] };
    case "tag":
      await dataset.tag(`tag${id}`, dataset.version(3));
      return { added: [] };
    case "rollback":
      await dataset.rollback(dataset.version(2));
      return { added: [] };
    case "erase": {
      const where = `id = ${erasedId}`;
      const erasing = eraseRows(dataset, engine, { where, predicate: where, by: "test", folder: place.folder });
      await erasing.begin();
      await erasing.apply();
      await erasing.sweep();
      await erasing.finish();
      return { added: [] };
    }
  }
}

/** A store that holds whoever uses it at the step after which its operation would be done, until `release` is called. */
export function heldStore(
  store: Store,
  operation: Operation,
): { store: Store; held: Promise<void>; release: () => void } {
  let arrive: () => void = () => undefined;
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (arrive = resolve));
  const released = new Promise<void>((resolve) => (release = resolve));
  // An erasure closes the dataset by its first commit and swaps the history by its second.
  let before = operation === "erase" ? 1 : 0;
  const wrapped = watched(store, async (call, path) => {
    const commits = operation === "gc" ? call === "remove" : call === "write" && path.endsWith(".metadata.json");
    if (!commits || before-- > 0) return;
    arrive();
    await released;
  });
  return { store: wrapped, held, release };
}
