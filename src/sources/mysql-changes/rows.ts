import { MillraceError, type Column } from "../../core/index.ts";
import { toColumns } from "../../protocols/mysql/discover.ts";
import type { Relation } from "../../protocols/mysql/relations.ts";
import type { MappedColumn } from "../../protocols/mysql/types.ts";
import type { ChangedRow, LogEntry } from "./log.ts";
import { fileNumber } from "./position.ts";

export const metaColumns: Column[] = [
  { name: "_op", type: "string", required: true, doc: "snapshot, insert, update, delete or truncate" },
  { name: "_log", type: "long", required: true, doc: "Number of the file of the server's log" },
  { name: "_offset", type: "long", required: true, doc: "Where the transaction begins in it" },
  { name: "_index", type: "long", required: true, doc: "Of the row within its transaction" },
  { name: "_gtid", type: "string", doc: "Name of the transaction" },
  { name: "_committed_at", type: "timestamptz", doc: "By the clock of the server" },
  { name: "_deleted", type: "boolean", required: true, doc: "The row is gone" },
];

/** Which of `metaColumns` a request wants: all, where it names no columns. */
export const wantedMeta = (names: readonly string[] | undefined): Column[] =>
  metaColumns.filter(({ name }) => names?.includes(name) !== false);

/** Columns of the table, none of them required: a truncation has no values. */
export function streamColumns(relation: Relation, names: readonly string[] | undefined): Column[] {
  return [
    ...toColumns(relation.columns).map(({ name, type, doc }) => ({
      name,
      type,
      ...(doc === undefined ? {} : { doc }),
    })),
    ...wantedMeta(names),
  ];
}

/** Columns that give the same as `metaColumns` when the table itself is read. */
export function snapshotColumns(names: readonly string[] | undefined): MappedColumn[] {
  const values = ["'snapshot'", "0", "0", "0", "NULL", "NULL", "0"];
  const all = metaColumns.map(({ name, type }, index): MappedColumn => ({
    name,
    server: { name, type: "varchar", unsigned: false, zerofill: false, binary: false, required: false },
    mapping: { type, form: type === "string" ? "text" : "plain", select: () => values[index]!, ordered: false },
  }));
  return all.filter(({ name }) => names?.includes(name) !== false);
}

/** Throws `unsupported` for columns whose values in the log are not what a SELECT gives. */
export function requireReadable(relation: Relation): void {
  const names = new Set(metaColumns.map(({ name }) => name));
  for (const { name, server, mapping } of relation.columns) {
    const problem = names.has(name)
      ? "has a name that changes need"
      : mapping.form === "geometry" || server.type.startsWith("inet") || server.type === "vector"
        ? `is of type ${server.type}, which is not read from the server's log`
        : name === "__proto__"
          ? "has a name that cannot be read"
          : undefined;
    if (problem === undefined) continue;
    throw new MillraceError("unsupported", `the column \`${name}\` of \`${relation.stream}\` ${problem}`, {
      where: { stream: relation.stream, column: name },
      hint: "leave it out with `from.columns`",
    });
  }
}

/** Entries of the log as lines of CSV. */
export class ChangeWriter {
  rows = 0;
  readonly #columns: readonly MappedColumn[];
  readonly #known: Set<string>;
  readonly #key: readonly string[];
  readonly #stream: string;
  /** Which of `metaColumns` are written. */
  readonly #meta: boolean[];

  /** `key`: columns by which a row is known; where they change, the row with the old ones goes. */
  constructor(relation: Relation, key: readonly string[], names: readonly string[] | undefined) {
    this.#meta = metaColumns.map(({ name }) => names?.includes(name) !== false);
    this.#columns = relation.columns;
    this.#known = new Set(relation.all.map(({ name }) => name));
    this.#key = key;
    this.#stream = relation.stream;
  }

  text(entry: LogEntry): string {
    const { kind, place, time } = entry;
    let { index } = entry;
    let text = "";
    const line = (op: string, row: ChangedRow | undefined, at: number): void => {
      if (row !== undefined) this.#assertKnown(row);
      const cells = this.#columns.map((column) => (row === undefined ? "" : cellOf(column, row[column.name])));
      const gtid = place.gtid === "" ? "" : `"${place.gtid}"`;
      const moment = `${new Date(time * 1000).toISOString().slice(0, 19).replace("T", " ")}+00`;
      const places = [String(fileNumber(place.file)), String(place.offset), String(at)];
      const meta = [`"${op}"`, ...places, gtid, moment, String(op === "delete")];
      cells.push(...meta.filter((_, index) => this.#meta[index]));
      text += `${cells.join(",")}\n`;
      this.rows++;
    };
    if (kind === "truncate") line("truncate", undefined, 2 * index);
    for (const { before, after } of entry.rows) {
      // Two places for each: a row whose key changes is a row that goes and one that comes.
      if (kind === "delete") line("delete", before, 2 * index);
      else {
        if (before !== undefined && after !== undefined && this.#isOther(before, after))
          line("delete", before, 2 * index);
        line(kind, after, 2 * index + 1);
      }
      index++;
    }
    return text;
  }

  #isOther(before: ChangedRow, after: ChangedRow): boolean {
    return this.#key.some((name) => {
      const column = this.#columns.find((each) => each.name === name);
      return column !== undefined && cellOf(column, before[name]) !== cellOf(column, after[name]);
    });
  }

  /** A column that the table does not have any more held something in these rows. */
  #assertKnown(row: ChangedRow): void {
    for (const name of Object.keys(row)) {
      if (this.#known.has(name) || row[name] === null) continue;
      throw new MillraceError(
        "schema",
        `changes of \`${this.#stream}\` have a column \`${name}\` that the table has no more`,
        {
          where: { stream: this.#stream, column: name },
          hint: "they were made before it was dropped or renamed; read the table again with `--full`",
        },
      );
    }
  }
}

function cellOf({ server, mapping }: MappedColumn, value: unknown): string {
  if (value === null || value === undefined) return "";
  switch (mapping.form) {
    case "hex": {
      const hex = Buffer.from(value as Uint8Array).toString("hex");
      return hex === "" ? '""' : hex;
    }
    case "utc":
      return `${value as string}+00`;
    case "text":
      return `"${(value as string).replaceAll('"', '""')}"`;
    default:
      if (value instanceof Uint8Array) {
        const hex = Buffer.from(value).toString("hex");
        if (server.type === "bit") return String(BigInt(`0x0${hex}`));
        return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
      }
      // The library counts from 1900; the year that is none is 0.
      if (server.type === "year" && value === 1900) return "0000";
      return Object.is(value, -0) ? "-0.0" : String(value as number);
  }
}
