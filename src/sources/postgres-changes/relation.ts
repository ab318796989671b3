import { MillraceError } from "../../core/index.ts";
import { cannotGoOn } from "./position.ts";
import type { ChangeTable } from "./table.ts";

/** The columns of the table as they were when a row was written, by the planned columns. */
export interface LogRelation {
  /** For each planned column its position in the rows of the log; -1 where they have no such column. */
  places: Int32Array;
  /** Positions of the key in the rows of the log. */
  keyPlaces: number[];
}

export interface RelationMessage {
  oid: number;
  names: string[];
}

/**
 *     R, oid (4), schema, name (each to 0), identity (1), columns (2), for each: flags (1), name (to 0), type (4), modifier (4)
 */
export function readRelation(buffer: Buffer, start: number): RelationMessage {
  const oid = buffer.readUInt32BE(start + 1);
  let at = start + 5;
  const text = (): string => {
    const end = buffer.indexOf(0, at);
    const value = buffer.toString("utf8", at, end);
    at = end + 1;
    return value;
  };
  text();
  text();
  at += 1;
  const count = buffer.readInt16BE(at);
  at += 2;
  const names = Array.from({ length: count }, () => {
    at += 1;
    const name = text();
    at += 8;
    return name;
  });
  return { oid, names };
}

/**
 * Fits the rows of the log to the planned columns. A column that came later is null in them, and one that is gone by now is left out; where
 * both are found nobody can tell them from a column that was renamed.
 */
export function fitRelation({ names }: RelationMessage, table: ChangeTable): LogRelation {
  const known = new Set(table.subject.all.map(({ name }) => name));
  const gone = names.filter((name) => !known.has(name));
  const places = Int32Array.from(table.columns, ({ name }) => names.indexOf(name));
  const later = table.columns.filter((_, column) => places[column] === -1).map(({ name }) => name);
  if (gone.length > 0 && later.length > 0) {
    throw cannotGoOn(
      table.stream,
      `\`${gone.join("`, `")}\` of \`${table.stream}\` became \`${later.join("`, `")}\`, or was dropped and another added: the log does not say which`,
    );
  }
  return { places, keyPlaces: table.keyColumns.map((column) => places[column]!).filter((place) => place >= 0) };
}

/** A value that the log does not have. */
export function unchangedValue(table: ChangeTable, column: number, lsn: string): MillraceError {
  const { name } = table.columns[column]!;
  const error = cannotGoOn(
    table.stream,
    `the server's log does not have \`${name}\` of a row that was updated at ${lsn}: a value of more than 2 kB that did not change is not written again`,
    `ALTER TABLE "${table.subject.relation!.schema}"."${table.subject.relation!.name}" REPLICA IDENTITY FULL`,
  );
  return new MillraceError("unsupported", error.message, {
    where: { stream: table.stream, column: name },
    hint: error.hint!,
  });
}
