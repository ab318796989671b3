import { expect } from "vitest";
import type { Column, PublishReport, VersionRows } from "../../../src/core/index.ts";
import type { SinkBench } from "../sink.ts";
import type { TextRow } from "../support/versions.ts";
import { versionOf } from "../support/versions.ts";

export const columns: Column[] = [
  { name: "id", type: "long", required: true },
  { name: "text", type: "string" },
];

/** Rows `from` to `to` whose text says which version they are of. */
export const rowsOf = (from: number, to: number, version: number): TextRow[] =>
  Array.from({ length: to - from }, (_, index) => [String(from + index), `v${version} row ${from + index}`]);

/** 250 rows of a version of its own. */
export const plain = (version: number, rows = rowsOf(0, 250, version)): VersionRows =>
  versionOf({ version, columns, rows });

export const replace = (bench: SinkBench, target: string, version: VersionRows): Promise<PublishReport> =>
  bench.sink.publish(version, { target, mode: "replace", key: ["id"] });

/** The published copy, a line a row, sorted. */
export async function seen(bench: SinkBench, target: string, names = ["id", "text"]): Promise<string[] | undefined> {
  const rows = await bench.subject.rows(target);
  return rows?.map((row) => names.map((name) => row[name] ?? "∅").join("|")).toSorted();
}

export const lines = (rows: readonly TextRow[]): string[] =>
  rows.map((row) => row.map((value) => value ?? "∅").join("|")).toSorted();

export async function expectCopy(bench: SinkBench, target: string, rows: readonly TextRow[]): Promise<void> {
  expect(await seen(bench, target)).toEqual(lines(rows));
}
