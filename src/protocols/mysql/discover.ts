import { MillraceError, suggestion, type Column, type StreamInfo } from "../../core/index.ts";
import { formatStream, quoteTable, quoteText, type TableName } from "./names.ts";
import type { Session, TextRow } from "./session.ts";
import { mysqlError } from "./errors.ts";
import { mapColumns, type MappedColumn, type ServerColumn } from "./types.ts";

/** A table or view as the catalogue describes it. */
export interface TableInfo {
  name: TableName;
  kind: "table" | "view";
  columns: MappedColumn[];
  /** Columns of the primary key, in order. */
  key: string[];
  /** Reads of it see one moment, however long they take. */
  transactional: boolean;
  /** The server's estimates; absent for views. */
  rows?: number;
  bytes?: number;
}

const systemDatabases = ["information_schema", "mysql", "performance_schema", "sys"];
const transactionalEngines = new Set(["innodb", "rocksdb", "tokudb", "ndbcluster"]);

/** All tables and views that the user may read, of one database or of all that are not the server's own. */
export async function* listStreams(session: Session, signal?: AbortSignal): AsyncGenerator<StreamInfo> {
  const { database } = session.settings;
  const scope =
    database === undefined
      ? `TABLE_SCHEMA NOT IN (${systemDatabases.map(quoteText).join(", ")})`
      : `TABLE_SCHEMA = ${quoteText(database)}`;
  for (const table of await readTables(session, scope, signal)) yield streamInfo(table, database);
}

/** One table or view. Throws `not-found`: the server does not tell what is missing from what may not be seen. */
export async function describeTable(session: Session, name: TableName, signal?: AbortSignal): Promise<TableInfo> {
  const scope = `TABLE_SCHEMA = ${quoteText(name.database)}`;
  const tables = await readTables(session, `${scope} AND TABLE_NAME = ${quoteText(name.table)}`, signal);
  // The catalogue compares without regard to case where the file system does not tell names apart.
  const table = tables.find((other) => other.name.table === name.table) ?? tables[0];
  // A view whose tables are gone has no columns; reading it says why.
  if (table?.columns.length === 0) await session.query(`SELECT * FROM ${quoteTable(table.name)} LIMIT 0`, signal);
  if (table === undefined || table.columns.length === 0) {
    const sql = `SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE ${scope} ORDER BY TABLE_NAME`;
    const known = (await session.query(sql, signal)).map((row) => row["name"]!);
    const stream = formatStream(name, session.settings.database);
    await requireReadable(session, name, stream, signal);
    throw new MillraceError("not-found", `there is no table \`${name.table}\` in the database \`${name.database}\``, {
      where: { stream },
      hint: `${suggestion(name.table, known)} (or \`${session.settings.user}\` may not read it)`,
    });
  }
  return table;
}

/** The catalogue does not show what a user may not see; a statement about it is refused. Throws `permission`. */
async function requireReadable(
  session: Session,
  name: TableName,
  stream: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { settings } = session;
  try {
    await session.query(`SELECT 1 FROM ${quoteTable(name)} LIMIT 0`, signal);
  } catch (thrown) {
    const error = mysqlError(thrown, settings, { stream });
    if (error.code !== "permission") return;
    throw new MillraceError("permission", `\`${settings.user}\` may not read \`${stream}\``, {
      where: { stream },
      cause: error,
      hint: `GRANT SELECT ON \`${name.database}\`.* TO '${settings.user}'@'%';`,
    });
  }
}

function streamInfo(table: TableInfo, database: string | undefined): StreamInfo {
  return {
    name: formatStream(table.name, database),
    columns: toColumns(table.columns),
    key: table.key,
    cursors: cursorCandidates(table),
    kind: table.kind,
    ...(table.rows === undefined ? {} : { rows: table.rows }),
    ...(table.bytes === undefined ? {} : { bytes: table.bytes }),
  };
}

export function toColumns(columns: readonly MappedColumn[]): Column[] {
  return columns.map(({ name, server, mapping }) => ({
    name,
    type: mapping.type,
    ...(server.required ? { required: true } : {}),
    ...(server.doc === undefined ? {} : { doc: server.doc }),
  }));
}

const changeName = /(updated|modified|changed|last_?(update|change|modif)|mtime|_rev$)/i;
const creationName = /(created|inserted|added|event|logged|recorded|ts$|time)/i;

/** Columns to read by, the likeliest first: when a row changed, a number that only grows, when it was made. */
function cursorCandidates({ columns, key }: TableInfo): string[] {
  const ranked: { name: string; rank: number }[] = [];
  for (const { name, server, mapping } of columns) {
    const isTime = mapping.type === "timestamp" || mapping.type === "timestamptz";
    const isNumber = /^(tiny|small|medium|big)?int$/.test(server.type);
    const inOrder = server.numbered || (key.length === 1 && key[0] === name);
    if (isTime && (changeName.test(name) || server.stamped)) ranked.push({ name, rank: 0 });
    else if (isNumber && server.numbered) ranked.push({ name, rank: 1 });
    else if (isTime) ranked.push({ name, rank: creationName.test(name) ? 2 : 3 });
    else if (isNumber && (inOrder || changeName.test(name))) ranked.push({ name, rank: 4 });
    else if (mapping.type === "date") ranked.push({ name, rank: 5 });
  }
  return ranked.toSorted((left, right) => left.rank - right.rank).map(({ name }) => name);
}

async function readTables(session: Session, scope: string, signal?: AbortSignal): Promise<TableInfo[]> {
  const tables = new Map<string, TableInfo>();
  const find = (row: TextRow): TableInfo | undefined => tables.get(`${row["d"]}\0${row["t"]}`);
  const listed = await session.query(
    "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, TABLE_TYPE AS kind, ENGINE AS engine, TABLE_ROWS AS n, DATA_LENGTH AS bytes" +
      ` FROM information_schema.TABLES WHERE ${scope}` +
      " AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW', 'SYSTEM VIEW') ORDER BY TABLE_SCHEMA, TABLE_NAME",
    signal,
  );
  for (const row of listed) {
    const isTable = !row["kind"]!.includes("VIEW");
    tables.set(`${row["d"]}\0${row["t"]}`, {
      name: { database: row["d"]!, table: row["t"]! },
      kind: isTable ? "table" : "view",
      columns: [],
      key: [],
      transactional: !isTable || transactionalEngines.has((row["engine"] ?? "").toLowerCase()),
      ...(isTable && row["n"] !== null ? { rows: Number(row["n"]) } : {}),
      ...(isTable && row["bytes"] !== null ? { bytes: Number(row["bytes"]) } : {}),
    });
  }
  const columns = await session.query(
    "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, COLUMN_NAME AS name, DATA_TYPE AS type, COLUMN_TYPE AS full," +
      " IS_NULLABLE AS nullable, NUMERIC_PRECISION AS p, NUMERIC_SCALE AS s, EXTRA AS extra," +
      ` COLUMN_COMMENT AS doc FROM information_schema.COLUMNS WHERE ${scope} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION`,
    signal,
  );
  for (const row of columns) {
    const table = find(row);
    table?.columns.push(...mapColumns([catalogueColumn(row, table.kind === "table")], session.settings));
  }
  const keys = await session.query(
    "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, COLUMN_NAME AS name FROM information_schema.STATISTICS" +
      ` WHERE ${scope} AND INDEX_NAME = 'PRIMARY' ORDER BY TABLE_SCHEMA, TABLE_NAME, SEQ_IN_INDEX`,
    signal,
  );
  for (const row of keys) find(row)?.key.push(row["name"]!);
  return [...tables.values()];
}

function catalogueColumn(row: TextRow, isTable: boolean): ServerColumn {
  const full = row["full"]!.toLowerCase();
  const type = row["type"]!.toLowerCase();
  const column: ServerColumn = {
    name: row["name"]!,
    type,
    unsigned: full.includes(" unsigned"),
    zerofill: full.includes(" zerofill"),
    binary: false,
    required: isTable && row["nullable"] === "NO",
    numbered: /auto_increment/i.test(row["extra"] ?? ""),
    stamped: /on update current_timestamp/i.test(row["extra"] ?? ""),
  };
  const width = /^tinyint\((\d+)\)/.exec(full)?.[1];
  if (type === "tinyint" && width !== undefined) column.precision = Number(width);
  else if (row["p"] !== null) column.precision = Number(row["p"]);
  if (row["s"] !== null) column.scale = Number(row["s"]);
  if (row["doc"] !== null && row["doc"] !== "") column.doc = row["doc"]!;
  return column;
}
