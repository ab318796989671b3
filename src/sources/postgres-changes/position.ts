import { MillraceError, type Cursor } from "../../core/index.ts";

/**
 * Where a stream of changes stands. All transactions whose commit record begins before `lsn` are in the dataset, and no other.
 * Positions in the log mean something only in one timeline of one server.
 */
export interface ChangePosition {
  version: 1;
  slot: string;
  /** The number that the server was given when it was set up, and how often it was promoted or restored since. */
  system: string;
  timeline: number;
  /** The table's own number: another table of the same name has another one. */
  table: number;
  /** The moment of the first snapshot: the slot keeps what came after it. */
  since: string;
  lsn: string;
}

/** `16/B374D848` as a number of bytes. */
export function parseLsn(text: string): bigint {
  const [high, low] = text.split("/");
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

/** The same, as wide as the widest: it sorts as text, and the server reads it, too. */
export function sortableLsn(lsn: bigint): string {
  const half = (part: bigint): string => part.toString(16).toUpperCase().padStart(8, "0");
  return `${half(lsn >> 32n)}/${half(lsn & 0xffffffffn)}`;
}

/** Throws `conflict` for a position that is not one of changes. */
export function positionOf(cursor: Cursor, stream: string): ChangePosition {
  const isOne = cursor.version === 1 && typeof cursor.slot === "string" && typeof cursor.lsn === "string";
  if (isOne) return cursor as unknown as ChangePosition;
  throw new MillraceError("conflict", `the dataset's position is not one of the changes of \`${stream}\``, {
    where: { stream },
    hint: "run once with `--full` to read the table from its start",
  });
}

/** What is to be done when reading on would leave a gap: never decided by us, because it costs a reading of the whole table. */
export function cannotGoOn(stream: string, what: string, more?: string): MillraceError {
  return new MillraceError("conflict", what, {
    where: { stream },
    hint: `${more === undefined ? "" : `${more}; `}run once with \`--full\`: it reads the table anew and takes out of the dataset what is gone (a flow with \`mode: append\` needs another dataset, \`into\`)`,
  });
}
