import { createHash, randomBytes } from "node:crypto";
import { MillraceError, messageOf } from "../core/index.ts";
import { type TableMetadata, property } from "./iceberg/metadata.ts";
import type { Table } from "./table.ts";

/**
 * What is left of an erasure: what it touched, and nothing of whom. The predicate is there only as a salted hash, which tells
 * whether a predicate that somebody has is the same and gives away none that nobody has.
 */
export interface Erasure {
  id: string;
  /** When it began and ended, ISO 8601. `finished` is absent when it was abandoned. */
  begun: string;
  finished?: string;
  by: string;
  reason?: string;
  /** `sha256:<salt>:<hash>`. */
  predicate: string;
  /** Numbers of the versions that lost rows. */
  versions: number[];
  /** Data files that were rewritten or fell away, and the rows in them that went; a row counts once for each file that held it. */
  files: number;
  rows: number;
}

/** An erasure that was begun and has not ended: nothing is added to the dataset meanwhile. */
export type PendingErasure = Pick<Erasure, "id" | "begun" | "by" | "reason" | "predicate">;

export interface ErasureState {
  /** Grows with each erasure that is begun: whoever staged rows at another number must stage them again. */
  epoch: number;
  pending?: PendingErasure;
  done: Erasure[];
}

export function erasureState(metadata: TableMetadata): ErasureState {
  const parse = <T>(key: string): T | undefined => {
    const text = metadata.properties[key];
    if (text === undefined || text === "") return undefined;
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      throw new MillraceError("corrupt", `the property \`${key}\` is not JSON: ${messageOf(cause)}`, { cause });
    }
  };
  const pending = parse<PendingErasure>(property.pendingErasure);
  return {
    epoch: Number(metadata.properties[property.erasureEpoch] ?? 0),
    ...(pending === undefined ? {} : { pending }),
    done: parse<Erasure[]>(property.erasures) ?? [],
  };
}

/** The properties with another state of erasures. */
export function withErasures(metadata: TableMetadata, state: ErasureState): TableMetadata {
  const { [property.pendingErasure]: _, ...properties } = metadata.properties;
  return {
    ...metadata,
    properties: {
      ...properties,
      [property.erasureEpoch]: String(state.epoch),
      [property.erasures]: JSON.stringify(state.done),
      ...(state.pending === undefined ? {} : { [property.pendingErasure]: JSON.stringify(state.pending) }),
    },
  };
}

/**
 * Throws `conflict` when an erasure is going on, or when one was begun after `epoch`: rows that were staged before it may be rows
 * that it erased, and its sweep has removed files that no version named.
 */
export function assertNoErasure(table: Table, metadata: TableMetadata, epoch?: number): void {
  const state = erasureState(metadata);
  const where = { dataset: table.name };
  if (state.pending !== undefined) {
    throw new MillraceError(
      "conflict",
      `an erasure of \`${table.name}\` that began at ${state.pending.begun} is not finished; until then nothing can be added`,
      {
        where,
        temporary: true,
        hint: `wait for it; if its process is dead, give the same \`millrace erase ${table.name}\` again: it goes on where it was`,
      },
    );
  }
  if (epoch === undefined || epoch === state.epoch) return;
  throw new MillraceError("conflict", `rows were erased from \`${table.name}\` while this was going on`, {
    where,
    temporary: true,
    hint: "nothing was committed, because what was staged may hold erased rows; run again",
  });
}

export function hashPredicate(predicate: string, salt: string = randomBytes(16).toString("hex")): string {
  return `sha256:${salt}:${createHash("sha256").update(`${salt}${predicate}`).digest("hex")}`;
}

export function isHashOf(hash: string, predicate: string): boolean {
  return hashPredicate(predicate, hash.split(":")[1] ?? "") === hash;
}
