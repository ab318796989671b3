import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError, type Store, isMillraceError, messageOf } from "../../core/index.ts";
import { type TableMetadata, decodeMetadata, encodeMetadata, property, retainedMetadataFiles } from "./metadata.ts";

/*
 * The log of metadata files. Version N of the metadata exists when `metadata/v<N>.metadata.json` does; it is created on the
 * condition that it does not exist, so exactly one of several writers wins. Numbers have no gaps. Old files are removed in ascending
 * order and never the newest hundred, so the existing numbers are one run, and its end is the newest.
 *
 * A writer that slept while its next number was used and removed again could create it a second time. It notices: the file
 * before its own is gone, or the hint is ahead. Then the file after its own tells whether it is part of the run.
 */

export interface Loaded {
  metadata: TableMetadata;
  /** N of `v<N>.metadata.json`, or what the name of another writer's file begins with. */
  number: number;
  path: string;
  /** Named as the built-in catalog names it; others are only read. */
  ours: boolean;
}

/** Old metadata files are removed at each so-many-th version. */
const removeEvery = 20;

const hintName = "version-hint.text";
const ownName = /^v(\d{1,15})\.metadata\.json$/;
const foreignName = /^(\d{1,15})-.*?(?:\.gz)?\.metadata\.json(?:\.gz)?$/;

const pathOf = (folder: string, number: number): string => `${folder}/metadata/v${number}.metadata.json`;

/** The newest metadata, or undefined when there is none. With `known`, reads only what is newer. */
export async function loadNewest(store: Store, folder: string, known?: Loaded): Promise<Loaded | undefined> {
  for (let attempt = 0; ; attempt++) {
    const number = await newestNumber(store, folder, known);
    if (number === undefined) return loadForeign(store, folder);
    if (number === known?.number && known.ours) return known;
    try {
      const path = pathOf(folder, number);
      return { metadata: decodeMetadata(await store.read(path), path), number, path, ours: true };
    } catch (error) {
      // Removed between the two steps: others have moved on by a hundred versions.
      if (!isMillraceError(error) || error.code !== "not-found" || attempt >= 4) throw error;
    }
  }
}

async function newestNumber(store: Store, folder: string, known: Loaded | undefined): Promise<number | undefined> {
  const from = known?.ours ? known.number : 0;
  const [hint, here, after] = await Promise.all([
    readHint(store, folder),
    from > 0 && exists(store, pathOf(folder, from)),
    from > 0 && exists(store, pathOf(folder, from + 1)),
  ]);
  if (here && !after && (hint ?? 0) <= from) return from;
  const start = Math.max(hint ?? 0, from);
  if (start > 0 && (await exists(store, pathOf(folder, start)))) return ascend(store, folder, start);
  return (await ownNumbers(store, folder)).at(-1);
}

/** The end of the run that `start` is in, found in a number of steps that grows with the logarithm of the distance. */
async function ascend(store: Store, folder: string, start: number): Promise<number> {
  let [low, step] = [start, 1];
  while (await exists(store, pathOf(folder, low + step))) {
    low += step;
    step *= 2;
  }
  for (let high = low + step; high - low > 1;) {
    const middle = Math.floor((low + high) / 2);
    if (await exists(store, pathOf(folder, middle))) low = middle;
    else high = middle;
  }
  return low;
}

/** Numbers of the metadata files that exist, ascending. */
export async function ownNumbers(store: Store, folder: string): Promise<number[]> {
  const numbers: number[] = [];
  for await (const entry of store.list(`${folder}/metadata`)) {
    const match = ownName.exec(entry.path.slice(entry.path.lastIndexOf("/") + 1));
    if (match) numbers.push(Number(match[1]));
  }
  return numbers.sort((left, right) => left - right);
}

async function readHint(store: Store, folder: string): Promise<number | undefined> {
  try {
    const text = new TextDecoder().decode(await store.read(`${folder}/metadata/${hintName}`)).trim();
    return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  } catch (error) {
    if (isMillraceError(error) && error.code === "not-found") return undefined;
    throw error;
  }
}

async function exists(store: Store, path: string): Promise<boolean> {
  try {
    await using _ = await store.open(path);
    return true;
  } catch (error) {
    if (isMillraceError(error) && error.code === "not-found") return false;
    throw error;
  }
}

/** Tables of other writers: the highest number wins, and among equals or unnumbered ones the one updated last. */
async function loadForeign(store: Store, folder: string): Promise<Loaded | undefined> {
  const candidates: { path: string; number: number }[] = [];
  for await (const entry of store.list(`${folder}/metadata`)) {
    const name = entry.path.slice(entry.path.lastIndexOf("/") + 1);
    if (!/\.metadata\.json(?:\.gz)?$/.test(name)) continue;
    const match = foreignName.exec(name);
    candidates.push({ path: entry.path, number: match ? Number(match[1]) : -1 });
  }
  const highest = Math.max(...candidates.map(({ number }) => number));
  let newest: Loaded | undefined;
  for (const { path, number } of candidates) {
    if (number !== highest && number !== -1) continue;
    const metadata = decodeMetadata(await store.read(path), path);
    if (newest === undefined || metadata["last-updated-ms"] > newest.metadata["last-updated-ms"]) {
      newest = { metadata, number, path, ours: false };
    }
  }
  return newest;
}

/**
 * Makes `next` the metadata after `base` (undefined: the first). Returns undefined when somebody else was first.
 * Throws `unknown-outcome` when the store gives no answer; then no file may be removed.
 */
export async function publish(
  store: Store,
  folder: string,
  base: Loaded | undefined,
  next: TableMetadata,
): Promise<Loaded | undefined> {
  const number = (base?.number ?? 0) + 1;
  const path = pathOf(folder, number);
  const commit = randomUUID();
  const metadata: TableMetadata = {
    ...next,
    properties: {
      ...next.properties,
      [property.commit]: commit,
      [property.previousCommit]: base?.metadata.properties[property.commit] ?? "",
    },
  };
  if (!(await create(store, path, encodeMetadata(metadata), commit))) return undefined;
  const [ahead, baseExists] = await Promise.all([
    advanceHint(store, folder, number),
    base === undefined || exists(store, base.path),
    removeOld(store, folder, number).catch(() => undefined),
  ]);
  if ((ahead || !baseExists) && !(await inRun(store, folder, number, commit))) {
    await store.remove(path);
    return undefined;
  }
  return { metadata, number, path, ours: true };
}

/**
 * Other engines use the hint; we only start looking at it. What is committed stays committed when it cannot be written.
 * Returns whether it was ahead of `number` already.
 */
async function advanceHint(store: Store, folder: string, number: number): Promise<boolean> {
  const hint = await readHint(store, folder).catch(() => undefined);
  if ((hint ?? 0) > number) return true;
  await store
    .write(`${folder}/metadata/${hintName}`, new TextEncoder().encode(String(number)), { durable: false })
    .catch(() => undefined);
  return false;
}

/** Now and then, in ascending order, reaching back over what a killed remover left. */
async function removeOld(store: Store, folder: string, newest: number): Promise<void> {
  if (newest % removeEvery !== 0) return;
  const last = newest - retainedMetadataFiles;
  for (let number = Math.max(1, last - 2 * removeEvery); number <= last; number++) {
    await store.remove(pathOf(folder, number));
  }
}

async function inRun(store: Store, folder: string, number: number, commit: string): Promise<boolean> {
  const numbers = await ownNumbers(store, folder);
  if (numbers.at(-1) === number) return true;
  if (!numbers.includes(number + 1)) return false;
  const path = pathOf(folder, number + 1);
  const after = decodeMetadata(await store.read(path), path);
  return after.properties[property.previousCommit] === commit;
}

/** Errors that say for certain that nothing was created. */
const definite = new Set(["permission", "authentication", "full", "unsupported", "usage", "limit", "config"]);

/** True: the file holds our bytes. False: somebody else's. */
async function create(store: Store, path: string, bytes: Uint8Array, commit: string): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      await store.write(path, bytes, { ifAbsent: true });
      return true;
    } catch (error) {
      // The store itself cannot say whether the file stays, so reading it back must not either.
      if (isMillraceError(error) && error.code === "unknown-outcome") throw error;
      const owner = await ownerOf(store, path);
      if (owner === commit) return true;
      if (owner !== undefined && owner !== unreadable) return false;
      if (isMillraceError(error) && definite.has(error.code) && owner === undefined) throw error;
      if (attempt >= 4) {
        throw new MillraceError(
          "unknown-outcome",
          `whether \`${path}\` was created is not known: ${messageOf(error)}`,
          {
            cause: error,
            where: { file: path },
            temporary: true,
            hint: "nothing was removed; run again, and what was committed is recognised",
          },
        );
      }
      await sleep(50 * 2 ** attempt * (0.5 + Math.random() / 2));
    }
  }
}

const unreadable = Symbol("unreadable");

/** The commit id in a metadata file; undefined when the file is absent. */
async function ownerOf(store: Store, path: string): Promise<string | undefined | typeof unreadable> {
  try {
    return decodeMetadata(await store.read(path), path).properties[property.commit] ?? "";
  } catch (error) {
    return isMillraceError(error) && error.code === "not-found" ? undefined : unreadable;
  }
}
