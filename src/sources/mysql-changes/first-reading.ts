import type { Part } from "../../core/index.ts";
import { quoteName } from "../../protocols/mysql/names.ts";
import { splitRows } from "../../protocols/mysql/ranges.ts";
import type { Relation } from "../../protocols/mysql/relations.ts";
import type { Snapshot } from "../../protocols/mysql/snapshot.ts";
import { selected, type MappedColumn } from "../../protocols/mysql/types.ts";
import { snapshotColumns } from "./rows.ts";

/** Rows of the table as it was when its changes began to be followed. */
export interface FirstSpec {
  kind: "first";
  snapshot: string;
  where: string;
}

const defaultPartBytes = 64 * 1024 * 1024;

export const firstColumns = (relation: Relation, names: readonly string[] | undefined): MappedColumn[] => [
  ...relation.columns,
  ...snapshotColumns(names),
];

export async function firstParts(
  snapshot: Snapshot,
  relation: Relation,
  partBytes: number | undefined,
  signal: AbortSignal | undefined,
): Promise<Part[]> {
  const { table } = relation;
  const wanted = Math.max(1, Math.ceil((table?.bytes ?? 0) / (partBytes ?? defaultPartBytes)));
  const session = await snapshot.acquire(signal);
  try {
    const ranges = await splitRows(session, relation, "", wanted, signal);
    return ranges.map(({ condition, rows, bytes }, index) => {
      const spec: FirstSpec = { kind: "first", snapshot: snapshot.id, where: condition };
      return {
        id: `first-${String(index).padStart(4, "0")}`,
        spec: spec as unknown as Part["spec"],
        ...(rows === undefined ? {} : { rows }),
        ...(bytes === undefined ? {} : { bytes }),
      };
    });
  } finally {
    snapshot.release(session);
  }
}

export function firstSelect(relation: Relation, names: readonly string[] | undefined, { where }: FirstSpec): string {
  const list = firstColumns(relation, names).map((column) => `${selected(column)} AS ${quoteName(column.name)}`);
  return `SELECT ${list.join(", ")} FROM ${relation.from}${where === "" ? "" : ` WHERE ${where}`}`;
}
