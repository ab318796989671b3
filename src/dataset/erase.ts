import { randomUUID } from "node:crypto";
import { MillraceError, type Sql } from "../core/index.ts";
import type { Engine } from "../engine/engine.ts";
import type { Dataset } from "./dataset.ts";
import { type Erasure, type PendingErasure, erasureState, hashPredicate, isHashOf, withErasures } from "./erasure.ts";
import { rewriteHistory } from "./erase-history.ts";
import { EraseRewriter } from "./erase-rewrite.ts";
import { sweepErased } from "./erase-sweep.ts";
import type { TableMetadata } from "./iceberg/metadata.ts";
import { tableOf } from "./open.ts";
import { withSuppressed } from "./suppression.ts";
import type { Table } from "./table.ts";

export interface EraseRequest {
  /** Rows that go: a predicate over the columns of the versions. Null counts as false. */
  where: Sql;
  /** What identifies the erasure when it is taken up again: the same text that it was begun with. */
  predicate: string;
  by: string;
  reason?: string;
  /** Values of a column that are not to come in again. */
  suppress?: { column: string; values: readonly string[] };
  /** Local folder for the files that are written again, best on the file system of the store. */
  folder: string;
  signal?: AbortSignal;
}

export interface EraseFinding {
  /** Versions that hold rows of the predicate. */
  versions: number[];
  files: number;
  rows: number;
  /** Data files with such rows that no version names: staged, or left by a process that was killed. */
  unnamed: number;
}

/**
 * The steps of an erasure, in this order, each of which may be done again: `begin` closes the dataset to everything that adds
 * files; `apply` swaps the whole history in one commit; `sweep` removes what is no longer named; `finish` opens it again. A
 * process that is killed between any two leaves a dataset that says so, and the same call goes on from there.
 */
export interface Erasing {
  /** What would go. Changes nothing. */
  find(): Promise<EraseFinding>;
  /**
   * Returns the id of the erasure: that of an unfinished one by the same predicate, else `id`, else a new one. With an `id` that was
   * finished already, nothing is begun. Throws `conflict` when an erasure by another predicate is not finished.
   */
  begin(id?: string): Promise<string>;
  apply(): Promise<void>;
  /** Returns the number of files removed. */
  sweep(): Promise<number>;
  finish(): Promise<void>;
}

export function eraseRows(dataset: Dataset, engine: Pick<Engine, "query" | "write">, request: EraseRequest): Erasing {
  const table = tableOf(dataset);
  const rewriter = new EraseRewriter(table, engine, request);
  let begun: string | undefined;
  /** Undefined: another process that took up the same erasure has finished it. */
  const ours = (metadata: TableMetadata): PendingErasure | undefined => {
    const { pending, done } = erasureState(metadata);
    if (pending !== undefined && pending.id === begun) return pending;
    if (done.some((one) => one.id === begun && one.finished !== undefined)) return undefined;
    throw new MillraceError("conflict", `this erasure of \`${table.name}\` was given up by another process`, {
      where: { dataset: table.name },
      hint: "give the same command again to see that nothing is left",
    });
  };
  return {
    async find() {
      await table.refresh();
      const { hits } = await rewriter.find(table.metadata);
      const versions = await versionsWith(table, table.metadata, hits);
      const rows = [...hits.values()].reduce((sum, count) => sum + count, 0);
      return { versions, files: hits.size, rows, unnamed: await rewriter.unnamed(table.metadata) };
    },
    async begin(wanted = randomUUID()) {
      let id = wanted;
      await table.update(async (metadata) => {
        const state = erasureState(metadata);
        id = wanted;
        if (state.done.some((one) => one.id === id && one.finished !== undefined)) return undefined;
        if (state.pending !== undefined) {
          if (isHashOf(state.pending.predicate, request.predicate)) {
            id = state.pending.id;
            return undefined;
          }
          throw new MillraceError(
            "conflict",
            `an erasure of \`${table.name}\` by another predicate, begun at ${state.pending.begun}, is not finished`,
            {
              where: { dataset: table.name },
              hint: `give that one again, or give it up with \`millrace erase ${table.name} --abandon\``,
            },
          );
        }
        const pending: PendingErasure = {
          id,
          begun: new Date().toISOString(),
          by: request.by,
          ...(request.reason === undefined ? {} : { reason: request.reason }),
          predicate: hashPredicate(request.predicate),
        };
        return withErasures(metadata, { ...state, epoch: state.epoch + 1, pending });
      });
      begun = id;
      return id;
    },
    async apply() {
      await table.update(async (metadata) => {
        const pending = ours(metadata);
        const state = erasureState(metadata);
        if (pending === undefined || state.done.some(({ id }) => id === pending.id)) return undefined;
        const { live, replacements } = await rewriter.replace(metadata);
        const rewritten = await rewriteHistory(table, metadata, live, replacements);
        const erasure: Erasure = {
          ...pending,
          versions: await versionsWith(table, metadata, replacements),
          files: replacements.size,
          rows: [...replacements.values()].reduce((sum, { erased }) => sum + erased, 0),
        };
        const next = withErasures(rewritten, { ...state, done: [...state.done, erasure] });
        const { suppress } = request;
        if (suppress === undefined) return next;
        const column = table.columns().find(({ name }) => name === suppress.column);
        return column?.id === undefined ? next : withSuppressed(next, column.id, suppress.values);
      });
    },
    sweep: () => sweepErased(table, (metadata) => ours(metadata) !== undefined),
    finish: () =>
      table.update(async (metadata) => {
        const pending = ours(metadata);
        if (pending === undefined) return undefined;
        const { pending: _, ...state } = erasureState(metadata);
        const finished = new Date().toISOString();
        const done = state.done.map((one) => (one.id === pending.id ? { ...one, finished } : one));
        return withErasures({ ...metadata, "metadata-log": [] }, { ...state, done });
      }),
  };
}

/** Gives up an erasure that nobody can finish: the dataset is open again, and the rows are where they are. */
export async function abandonErasure(dataset: Dataset): Promise<PendingErasure | undefined> {
  let abandoned: PendingErasure | undefined;
  await tableOf(dataset).update(async (metadata) => {
    const { pending, ...state } = erasureState(metadata);
    abandoned = pending;
    if (pending === undefined) return undefined;
    const known = state.done.some(({ id }) => id === pending.id);
    const entry: Erasure = { ...pending, versions: [], files: 0, rows: 0 };
    return withErasures(metadata, { ...state, done: known ? state.done : [...state.done, entry] });
  });
  return abandoned;
}

async function versionsWith(
  table: Table,
  metadata: TableMetadata,
  paths: ReadonlyMap<string, unknown>,
): Promise<number[]> {
  const versions: number[] = [];
  if (paths.size === 0) return versions;
  for (const snapshot of metadata.snapshots) {
    const live = await table.liveEntries(snapshot);
    if (live.some((entry) => paths.has(table.pathOf(entry.data_file.file_path))))
      versions.push(snapshot["sequence-number"]);
  }
  return versions;
}
