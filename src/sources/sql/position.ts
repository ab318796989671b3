import { MillraceError, type Cursor } from "../../core/index.ts";

/**
 * Where a SQL stream stands that is read by a cursor column. It is kept in the snapshot of the dataset.
 *
 * All rows with a smaller value of the column are in the dataset, and of those with exactly `value` the ones in `boundary`:
 * more rows with that value may appear later, and must be told apart from those.
 */
export interface SqlPosition {
  version: 1;
  column: string;
  /** The source's own name of the column's type. */
  type: string;
  /** The greatest value, as text that the server reads back exactly. */
  value: string;
  /** The lag that `boundary` was measured with; 0 without. */
  lag: number;
  boundary: Boundary;
}

/** The rows from `value - lag` to `value` as they were read. */
export interface Boundary {
  rows: number;
  /** Sum over the hashes of these rows, so that a change among them shows, as a decimal string. */
  sum: string;
  /** Their hashes (`packHashes`), without lag and when there are not too many; a row that is there twice counts twice. */
  hashes?: string;
  /** The columns that the hashes are made of. */
  columns: string[];
}

/** More rows than this with the greatest value are not kept one by one: the cursor is part of every version's metadata. */
export const maximumBoundaryRows = 10_000;

const hashBytes = 8;

/** Hashes of 16 hexadecimal digits as one text, sorted, 11 characters each. */
export function packHashes(hashes: readonly string[]): string {
  return Buffer.from(hashes.toSorted().join(""), "hex").toString("base64");
}

export function unpackHashes(packed: string): string[] {
  const bytes = Buffer.from(packed, "base64");
  const hashes: string[] = [];
  for (let offset = 0; offset < bytes.length; offset += hashBytes) {
    hashes.push(bytes.toString("hex", offset, offset + hashBytes));
  }
  return hashes;
}

/** How often each hash occurs. */
export function countHashes(packed: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const hash of unpackHashes(packed)) counts.set(hash, (counts.get(hash) ?? 0) + 1);
  return counts;
}

/** The position as the opaque cursor that is committed. */
export function toCursor(position: SqlPosition): Cursor {
  return position as unknown as Cursor;
}

/**
 * The position that a cursor of an earlier run holds. Throws `conflict` when it was made by another column, or by something
 * that is not a SQL source: reading on from it could skip rows.
 */
export function fromCursor(cursor: Cursor, column: string, stream: string): SqlPosition {
  const hint = "run once with `--full` to read the stream from its start";
  if (cursor.version !== 1 || typeof cursor.column !== "string" || typeof cursor.value !== "string") {
    throw new MillraceError("conflict", `the dataset's position is not one of the stream \`${stream}\``, {
      where: { stream },
      hint,
    });
  }
  const position = cursor as unknown as SqlPosition;
  if (position.column !== column) {
    throw new MillraceError(
      "conflict",
      `the dataset's position was made by the column \`${position.column}\`, and the flow now reads by \`${column}\``,
      { where: { stream, column }, hint: `set \`from.cursor: ${position.column}\` again, or ${hint}` },
    );
  }
  return position;
}
