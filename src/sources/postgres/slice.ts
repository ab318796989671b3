import type { CursorValue } from "../../core/index.ts";
import { countHashes, postgresNames, quoteName, quotePath } from "../sql/index.ts";
import { cursorLiteral, cursorType, lagStart } from "./cursor-types.ts";
import type { PageRange } from "../../protocols/postgres/pages.ts";
import type { Snapshot } from "../../protocols/postgres/snapshot.ts";
import { rowHash, selectList, type Subject, type SubjectColumn } from "../../protocols/postgres/subject.ts";

/** Which rows of a subject a part reads, by the cursor column. */
export type Slice =
  /** Greater than the value. */
  | { kind: "after"; column: string; value: string }
  /** The value less the lag, and greater. */
  | { kind: "from"; column: string; value: string; lag: number }
  /** Exactly the value, without the rows whose contents are known; a row that is there twice must be known twice. */
  | { kind: "boundary"; column: string; value: string; hashes: string; columns: string[] };

/** What a part reads. `ranges` is null where the subject cannot be divided. */
export interface PartSpec {
  version: 1;
  snapshot: Snapshot;
  ranges: PageRange[] | null;
  slice: Slice | null;
}

export function toSpec(spec: PartSpec): { [key: string]: CursorValue } {
  return spec as unknown as { [key: string]: CursorValue };
}

/** The statement that reads a part. */
export function partSelect(subject: Subject, spec: PartSpec): string {
  const list = selectList(subject.columns);
  const condition = spec.slice === null ? undefined : sliceCondition(subject, spec.slice);
  if (spec.slice?.kind === "boundary") return boundarySelect(subject, spec.slice, list, condition!);
  if (spec.ranges === null) return select(list, subject.from, [condition]);
  const selects = spec.ranges.map((range) => {
    const from = `${quotePath(postgresNames, [range.schema, range.table])} AS subject`;
    const pages: string[] = [];
    if (range.from > 0) pages.push(`ctid >= '(${range.from},0)'::tid`);
    if (range.to !== null) pages.push(`ctid < '(${range.to},0)'::tid`);
    return select(list, from, [...pages, condition]);
  });
  return selects.join(" UNION ALL ");
}

function select(list: string, from: string, conditions: readonly (string | undefined)[]): string {
  const present = conditions.filter((condition) => condition !== undefined);
  return `SELECT ${list} FROM ${from}${present.length === 0 ? "" : ` WHERE ${present.join(" AND ")}`}`;
}

export function sliceCondition(subject: Subject, slice: Slice): string {
  const column = columnOf(subject, slice.column);
  const type = cursorType(column.typeName, column.name);
  switch (slice.kind) {
    case "after":
      return `${column.sql} > ${cursorLiteral(type, slice.value)}`;
    case "from": {
      const start =
        slice.lag > 0 ? lagStart(type, slice.value, slice.lag, column.name) : cursorLiteral(type, slice.value);
      return `${column.sql} >= ${start}`;
    }
    case "boundary":
      return `${column.sql} = ${cursorLiteral(type, slice.value)}`;
  }
}

function columnOf(subject: Subject, name: string): SubjectColumn {
  return subject.all.find((column) => column.name === name)!;
}

/** Of the rows with equal contents, those beyond the number that is known; which of them makes no difference. */
function boundarySelect(
  subject: Subject,
  slice: Slice & { kind: "boundary" },
  list: string,
  condition: string,
): string {
  const known = countHashes(slice.hashes);
  const hash = `substr(${rowHash(subject, slice.columns)}, 1, 16)`;
  // The names of our own columns must not be among the subject's.
  const own = (name: string): string => quoteName(postgresNames, freeName(subject, `millrace_${name}`));
  const [rowHashed, number, seenHash, seenCount] = ["hash", "number", "seen", "count"].map(own);
  const counted = `SELECT *, ${hash} AS ${rowHashed}, row_number() OVER (PARTITION BY ${hash}) AS ${number} FROM ${subject.from} WHERE ${condition}`;
  const keys = [...known.keys()].join(",");
  const counts = [...known.values()].join(",");
  const seen = `unnest('{${keys}}'::text[], '{${counts}}'::int[]) AS seen(${seenHash}, ${seenCount})`;
  return `SELECT ${list} FROM (${counted}) AS subject LEFT JOIN ${seen} ON ${seenHash} = ${rowHashed} WHERE ${number} > coalesce(${seenCount}, 0)`;
}

function freeName(subject: Subject, wanted: string): string {
  return subject.all.some((column) => column.name === wanted) ? freeName(subject, `${wanted}_`) : wanted;
}
