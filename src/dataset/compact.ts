import { basename } from "node:path";
import { randomUUID } from "node:crypto";
import { MillraceError, type StagedFile, isMillraceError } from "../core/index.ts";
import type { Engine } from "../engine/engine.ts";
import type { DataFile, Dataset, Version } from "./dataset.ts";

export interface CompactOptions {
  /** Size that files should have. Default 256 MiB. */
  targetBytes?: number;
  /**
   * Only files of one order of size are put together, and only where there are at least so many of them. Done after each few versions, every row is
   * rewritten a number of times that grows with the logarithm of the rows. Default: all small files.
   */
  fanIn?: number;
  /** Local folder that the engine may write to, best on the file system of the store. */
  folder: string;
  signal?: AbortSignal;
}

export interface CompactReport {
  /** Files before and after. */
  before: number;
  after: number;
  /** The new version; undefined when there was nothing to gain. */
  version: Version | undefined;
}

const defaultTargetBytes = 256 * 1024 * 1024;
/** A file of few rows is mostly its footer: below it, all files are alike. */
const smallestBytes = 64 * 1024;

/**
 * Rewrites files that are smaller than three quarters of the target into files near it. The rows stay as they are: the
 * number of rows must come out equal, or nothing is committed (`corrupt`). Throws `conflict` when somebody else committed meanwhile.
 */
export async function compactDataset(
  dataset: Dataset,
  engine: Engine,
  options: CompactOptions,
): Promise<CompactReport> {
  const { targetBytes = defaultTargetBytes, folder, signal } = options;
  await dataset.refresh();
  const { epoch } = dataset.erasures();
  const current = dataset.current();
  const files = current ? await dataset.files(current) : [];
  const below = files.filter((file) => file.bytes < 0.75 * targetBytes);
  const small = options.fanIn === undefined ? below : oneOrder(below, options.fanIn);
  const unchanged = { before: files.length, after: files.length, version: undefined };
  if (current === undefined || small.length < 2) return unchanged;
  // One file or none more than needed: rewriting would gain nothing.
  const bytes = small.reduce((sum, file) => sum + file.bytes, 0);
  if (Math.ceil(bytes / targetBytes) >= small.length) return unchanged;

  const columns = dataset.columns();
  const relation = await dataset.relation(undefined, small);
  const written = await engine.write(`SELECT * FROM ${relation}`, {
    columns,
    folder,
    prefix: `compact-${randomUUID()}`,
    fileBytes: targetBytes,
    ...(signal ? { signal } : {}),
  });
  assertRows(dataset, small, written);
  const add: StagedFile[] = [];
  for (const file of written) {
    const path = `${dataset.folder}/data/${basename(file.path)}`;
    await dataset.store.adopt(file.path, path);
    add.push({ ...file, path });
  }
  let version: Version;
  try {
    version = await dataset.commit({
      operation: "replace",
      add,
      remove: small.map((file) => file.path),
      base: current.number,
      erasures: epoch,
    });
  } catch (error) {
    // Copies of rows must not lie about, least of all of rows that were erased meanwhile.
    if (isMillraceError(error) && error.code === "conflict")
      for (const file of add) await dataset.store.remove(file.path);
    throw error;
  }
  return { before: files.length, after: files.length - small.length + add.length, version };
}

/** Files of the smallest order of size of which there are enough: a merged one is of the next order, or of one above. */
function oneOrder(files: readonly DataFile[], fanIn: number): DataFile[] {
  const orders = new Map<number, DataFile[]>();
  for (const file of files) {
    const order = Math.floor(Math.log(Math.max(1, file.bytes / smallestBytes)) / Math.log(fanIn));
    orders.set(order, [...(orders.get(order) ?? []), file]);
  }
  const full = [...orders].filter(([, group]) => group.length >= fanIn).toSorted(([left], [right]) => left - right);
  return full[0]?.[1] ?? [];
}

function assertRows(dataset: Dataset, before: readonly DataFile[], after: readonly StagedFile[]): void {
  const count = (files: readonly { rows: number }[]): number => files.reduce((sum, file) => sum + file.rows, 0);
  if (count(before) === count(after)) return;
  throw new MillraceError(
    "corrupt",
    `compaction of \`${dataset.name}\` read ${count(before)} rows and wrote ${count(after)}; nothing was committed`,
    { hint: `millrace verify ${dataset.name}`, where: { dataset: dataset.name } },
  );
}
