import { MillraceError, suggestion, type Cursor, type Part, type Plan, type ReadRequest } from "../../core/index.ts";
import { fromCursor, toCursor, countHashes, wrapQuery, type SqlPosition } from "../sql/index.ts";
import { boundaryCondition, cursorColumn, highest, literal, measureBoundary, positionAt, rowHash } from "./cursor.ts";
import { describeTable, toColumns, type TableInfo } from "./discover.ts";
import { parseStream, quoteName, quoteTable } from "./names.ts";
import { splitTable } from "./ranges.ts";
import type { Session } from "./session.ts";
import { mapColumns, type MappedColumn } from "./types.ts";

/** What a request reads: a table, a view, or a query. */
export interface Relation {
  /** A FROM item. */
  from: string;
  /** All columns of the relation. */
  all: MappedColumn[];
  /** The columns asked for, in the order asked for. */
  columns: MappedColumn[];
  key: string[];
  /** Undefined for queries. */
  table?: TableInfo;
}

/** A part as its `spec` holds it. */
export interface PartSpec {
  /** The `Snapshot` it is read from. */
  snapshot: string;
  /** Condition of the part's rows; empty: all. */
  where: string;
  /** Of these rows, those that the last run has not read: it has read the ones with these hashes (`packHashes`). */
  without?: string;
  /** The columns that the hashes are made of. */
  columns?: string[];
}

const defaultPartBytes = 64 * 1024 * 1024;

/** Finds out what a request means. Throws `config`, `not-found` or `permission`. */
export async function resolveRelation(session: Session, request: ReadRequest, signal?: AbortSignal): Promise<Relation> {
  const { stream, query } = request;
  if ((stream === undefined) === (query === undefined)) {
    throw new MillraceError("config", "a flow reads either a `stream` or a `query`", {
      hint: "set one of the two in `from`",
    });
  }
  let table: TableInfo | undefined;
  let from: string;
  let all: MappedColumn[];
  if (stream !== undefined) {
    table = await describeTable(session, parseStream(stream, session.settings.database), signal);
    from = quoteTable(table.name);
    all = table.columns;
  } else {
    from = wrapQuery(query!, "q");
    all = mapColumns(await session.describe(`SELECT * FROM ${from}`, signal), session.settings);
  }
  const columns = request.columns?.map((name) => {
    const column = all.find((other) => other.name === name);
    if (column !== undefined) return column;
    throw new MillraceError("not-found", `there is no column \`${name}\``, {
      where: { column: name, ...(stream === undefined ? {} : { stream }) },
      hint: suggestion(
        name,
        all.map((other) => other.name),
      ),
    });
  });
  return { from, all, columns: columns ?? all, key: table?.key ?? [], ...(table ? { table } : {}) };
}

/** How many parts the server's estimates suggest, before any snapshot is taken. */
export function suggestedParts(relation: Relation, request: ReadRequest): number {
  const { table } = relation;
  if (table === undefined || !table.transactional || table.key.length === 0) return 1;
  return Math.max(1, Math.ceil((table.bytes ?? 0) / (request.partBytes ?? defaultPartBytes)));
}

/** Bounded parts of everything that is new after `after`, as `session` (a transaction with a snapshot) sees it. */
export async function planParts(
  session: Session,
  snapshot: string,
  relation: Relation,
  request: ReadRequest,
  parts: number,
  after: Cursor | undefined,
  signal?: AbortSignal,
): Promise<Plan> {
  const plan: Plan = {
    columns: toColumns(relation.columns),
    key: relation.key,
    parts: [],
  };
  const make = async (where: string): Promise<Part[]> => {
    const ranges = await splitTable(session, relation, where, parts, signal);
    return ranges.map(({ condition, rows, bytes }, index) => ({
      id: `part-${index}`,
      spec: { snapshot, where: condition },
      ...(rows === undefined ? {} : { rows }),
      ...(bytes === undefined ? {} : { bytes }),
    }));
  };
  if (request.cursor === undefined) return { ...plan, parts: await make("") };

  const { from, columns } = relation;
  const lag = request.lag ?? 0;
  const column = await cursorColumn(session, from, relation.all, request.cursor, signal);
  const name = quoteName(column.name);
  const before = after === undefined ? undefined : fromCursor(after, column.name, request.stream ?? "query");
  const top = await highest(session, from, column, signal);
  if (top === undefined) return after === undefined ? plan : { ...plan, cursor: after };
  const upTo = `${name} <= ${literal(column, top)}`;
  if (before === undefined) {
    const position = await positionAt(session, from, column, top, lag, columns, signal);
    return { ...plan, parts: await make(upTo), cursor: toCursor(position) };
  }

  const start = literal(column, before.value);
  const [row] = await session.query(`SELECT EXISTS (SELECT 1 FROM ${from} WHERE ${name} > ${start}) AS n`, signal);
  const hasNewer = row?.["n"] === "1";
  const boundary = await boundaryChange(session, relation, column, before, lag, signal);
  if (!hasNewer && boundary === "same") return { ...plan, cursor: after! };
  const position = await positionAt(session, from, column, hasNewer ? top : before.value, lag, columns, signal);
  const result: Plan = { ...plan, cursor: toCursor(position) };
  if (hasNewer) result.parts = await make(`${name} > ${start} AND ${upTo}`);
  if (boundary !== "same") {
    const spec: Part["spec"] = { snapshot, where: boundaryCondition(column, before.value, lag) };
    if (boundary === "known") {
      spec["without"] = before.boundary.hashes!;
      spec["columns"] = before.boundary.columns;
    }
    result.parts.unshift({ id: "boundary", spec });
    if (boundary === "unknown") result.overlap = true;
  }
  return result;
}

/**
 * What has become of the rows that the last run read last. `known`: some are new or changed, and the others can be told from
 * them one by one. `unknown`: some may be new or changed, and all have to be read again.
 */
async function boundaryChange(
  session: Session,
  relation: Relation,
  column: MappedColumn,
  { value, lag: lagBefore, boundary }: SqlPosition,
  lag: number,
  signal?: AbortSignal,
): Promise<"same" | "known" | "unknown"> {
  const columns = boundary.columns.map((name) => relation.all.find((other) => other.name === name));
  if (lag !== lagBefore || !columns.every((other) => other !== undefined)) return "unknown";
  const condition = boundaryCondition(column, value, lag);
  const now = await measureBoundary(session, relation.from, condition, columns, signal);
  if (now.rows === boundary.rows && now.sum === boundary.sum) return "same";
  return boundary.hashes === undefined ? "unknown" : "known";
}

/** The SELECT that gives the rows of a part. */
export function partSelect(relation: Relation, spec: PartSpec): string {
  const list = relation.columns.map(selectedAs).join(", ");
  const where = spec.where === "" ? "" : ` WHERE ${spec.where}`;
  const known = countHashes(spec.without ?? "");
  if (known.size === 0) return `SELECT ${list} FROM ${relation.from}${where}`;
  // Of identical rows it does not matter which are the new ones, only how many there are.
  const hashed = (spec.columns ?? []).map((name) => relation.all.find((column) => column.name === name)!);
  const hash = rowHash(hashed);
  const numbered = `SELECT ${list}, ${hash} AS ${hashName}, ROW_NUMBER() OVER (PARTITION BY ${hash}) AS ${numberName} FROM ${relation.from}${where}`;
  const once = [...known.keys()].map((text) => `'${text}'`).join(", ");
  const often = [...known].filter(([, count]) => count > 1).map(([text, count]) => ` WHEN '${text}' THEN ${count}`);
  const seen = `${hashName} IN (${once})`;
  const counted = often.length === 0 ? seen : `(CASE ${hashName}${often.join("")} ELSE ${seen} END)`;
  const names = relation.columns.map((column) => quoteName(column.name)).join(", ");
  return `SELECT ${names} FROM (${numbered}) AS r WHERE ${numberName} > ${counted}`;
}

const hashName = "`millrace hash`";
const numberName = "`millrace number`";

function selectedAs(column: MappedColumn): string {
  const name = quoteName(column.name);
  const expression = column.mapping.select?.(name);
  return expression === undefined ? name : `${expression} AS ${name}`;
}
