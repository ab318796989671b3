import { MillraceError, type Cursor } from "../../core/index.ts";

/** Where the server's log stands: everything before it was read. */
export interface LogPosition {
  file: string;
  offset: number;
  /** The same place as every server of a topology knows it: a position of MariaDB (`0-1-42`), a set of MySQL. Empty: not known. */
  gtid: string;
}

/** What a flow knows of how far it has come. */
export interface ChangePosition extends LogPosition {
  version: 1;
  table: string;
}

export function positionOf(cursor: Cursor, table: string): ChangePosition {
  if (cursor["version"] !== 1) {
    throw new MillraceError("unsupported", `the cursor of the table has version ${JSON.stringify(cursor["version"])}`, {
      hint: "use the version of Millrace that wrote it, or a newer one",
    });
  }
  const position = cursor as unknown as ChangePosition;
  if (position.table !== table) {
    throw new MillraceError("config", `the dataset follows \`${position.table}\`, and not \`${table}\``, {
      hint: "give the flow another name, or another dataset with `into`",
    });
  }
  return position;
}

/** Number of a file of the log: `mysql-bin.000042` → 42. */
export const fileNumber = (file: string): number => Number(/\.(\d+)$/.exec(file)?.[1] ?? 0);

/** Less than 0: `left` comes first. Of one server's files. */
export function comparePlaces(left: LogPosition, right: LogPosition): number {
  return fileNumber(left.file) - fileNumber(right.file) || left.offset - right.offset;
}

export function cannotGoOn(table: string, why: string): MillraceError {
  return new MillraceError("not-found", `the changes of \`${table}\` cannot be read on: ${why}`, {
    hint: "nothing was read, since changes would be missing; read the table again with `--full`, or into another dataset",
  });
}
