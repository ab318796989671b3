import { randomBytes } from "node:crypto";
import { MillraceError, sameType, type Column, type PublishRequest, type VersionRows } from "../../core/index.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import type { Settings } from "../../protocols/postgres/settings.ts";
import { copyIn } from "./copy-in.ts";
import { rewriteCells } from "./csv-cells.ts";
import { writePublication, type Place, type Publication } from "./ledger.ts";
import {
  addKey,
  columnNames,
  columnsOf,
  createStaging,
  holdTable,
  isBuiltOn,
  keyOf,
  nameSql,
  namesSql,
  rename,
  swapIn,
  tableExists,
} from "./table.ts";
import { cellWriter, columnSql } from "./types.ts";

/** What one publish works with; the transaction is open, and nobody else publishes to the target. */
export interface Publishing {
  settings: Settings;
  session: Session;
  place: Place;
  before: Publication | undefined;
  version: VersionRows;
  request: PublishRequest;
}

/** Everything but the commit: rows into a table of their own, then that into the place of the target, and the entry in the ledger. */
export async function publishRows(publishing: Publishing): Promise<number> {
  const { session, place, before, version, request } = publishing;
  const { signal, key } = request;
  const there = await tableExists(session, place);
  if (there && before === undefined) {
    throw new MillraceError(
      "conflict",
      `there is a table \`${place.target}\` already that was not published by Millrace`,
      {
        hint: `name another --target, or remove it: DROP TABLE ${place.table}`,
      },
    );
  }
  const merging = request.mode === "merge" && before !== undefined;
  if (merging) requireSameKey(before, request, place);
  const name = `millrace_${randomBytes(9).toString("hex")}`;
  const staging = await createStaging(session, place, name, version.columns);
  const rows = await load(publishing, staging);
  await addKey(session, staging, key);
  let columns = version.columns;
  if (merging) columns = await mergeIn(publishing, staging, before);
  else if (there && (await isBuiltOn(session, place))) await exchangeRows(publishing, staging);
  else {
    await session.query(`ANALYZE ${staging}`, [], signal);
    if (there) {
      await holdTable(session, place, publishing.settings.lockTimeoutMs, signal);
      await swapIn(session, place, staging, name);
    } else await rename(session, place, staging, name);
  }
  await writePublication(session, place, version, request, columns, rows);
  return rows;
}

async function load({ settings, session, version, request }: Publishing, staging: string): Promise<number> {
  const { columns } = version;
  const { signal } = request;
  const source = version.bytes({ format: "csv", ...(signal ? { signal } : {}) });
  // A line that holds `\.` and nothing else ends the data for servers before 18, unless it is quoted.
  const alone = columns.length === 1 && columns[0]!.type === "string";
  const writers = columns.map((column) => (alone ? (cell: string) => cell : cellWriter(column)));
  const chunks = writers.some(Boolean) ? rewriteCells(source, writers) : source;
  // Frozen rows are whole also for a reader whose snapshot is older than the table.
  const statement = `COPY ${staging} (${namesSql(columnNames(columns))}) FROM STDIN (FORMAT csv, HEADER true, FREEZE true)`;
  const rows = await copyIn(session, statement, chunks, { timeoutMs: settings.readTimeoutMs, signal });
  if (rows !== version.rows) {
    throw new MillraceError("corrupt", `the version has ${version.rows} rows, and ${rows} arrived`, {
      where: { dataset: version.dataset },
      hint: `nothing was published; millrace verify ${version.dataset} --deep`,
    });
  }
  return rows;
}

function requireSameKey(before: Publication, { key }: PublishRequest, place: Place): void {
  if (before.key.length === key.length && key.every((name) => before.key.includes(name))) return;
  throw new MillraceError(
    "usage",
    `\`${place.target}\` was published with the key (${before.key.join(", ")}), so that (${key.join(", ")}) cannot be merged into it`,
    { hint: "merge with the same key, or publish with --mode replace" },
  );
}

/** Rows take the place of those with the same key; returns the columns that the table has then. */
async function mergeIn(
  { settings, session, place, version, request }: Publishing,
  staging: string,
  before: Publication,
): Promise<readonly Column[]> {
  const columns = mergedColumns(before.columns, version.columns, place);
  await fitColumns(session, place, columns, settings, request.signal);
  const names = columnNames(version.columns);
  const rest = names.filter((name) => !request.key.includes(name));
  const update = rest.map((name) => `${nameSql(name)} = excluded.${nameSql(name)}`).join(", ");
  await session.query(
    `INSERT INTO ${place.table} (${namesSql(names)}) SELECT ${namesSql(names)} FROM ${staging}
     ON CONFLICT (${namesSql(request.key)}) DO ${update === "" ? "NOTHING" : `UPDATE SET ${update}`}`,
    [],
    request.signal,
  );
  await session.query(`DROP TABLE ${staging}`);
  return columns;
}

/** All rows of a table that others have built on, in one transaction: readers see those before until it commits. */
async function exchangeRows(
  { settings, session, place, version, request }: Publishing,
  staging: string,
): Promise<void> {
  const { signal } = request;
  await fitColumns(session, place, version.columns, settings, signal);
  await dropOthers(session, place, version.columns, settings, signal);
  const names = namesSql(columnNames(version.columns));
  await session.query(`DELETE FROM ${place.table}`, [], signal);
  const key = await keyOf(session, place.table);
  if (JSON.stringify(key?.columns ?? []) !== JSON.stringify(request.key)) {
    await holdTable(session, place, settings.lockTimeoutMs, signal);
    if (key !== undefined) await session.query(`ALTER TABLE ${place.table} DROP CONSTRAINT ${nameSql(key.name)}`);
    await addKey(session, place.table, request.key);
  }
  await session.query(`INSERT INTO ${place.table} (${names}) SELECT ${names} FROM ${staging}`, [], signal);
  await session.query(`DROP TABLE ${staging}`);
}

/** Columns of both; of those that both have the newer type, which must hold every value of the older. */
function mergedColumns(before: readonly Column[], now: readonly Column[], place: Place): Column[] {
  const newer = new Map(now.map((column) => [column.name, column]));
  const merged = before.map((column) => {
    const other = newer.get(column.name);
    newer.delete(column.name);
    if (other === undefined || sameType(column.type, other.type)) return column;
    if (widens(columnSql(column.type), columnSql(other.type))) return other;
    throw new MillraceError("schema", `\`${place.target}\` holds \`${column.name}\` as another type`, {
      where: { column: column.name },
      hint: "publish with --mode replace",
    });
  });
  return [...merged, ...newer.values()];
}

/** Whether every value of the one type is a value of the other, so that the server may change a column. */
function widens(from: string, to: string): boolean {
  if (from === "integer" && to === "bigint") return true;
  if (from === "real" && to === "double precision") return true;
  const [one, other] = [from, to].map((type) => /^numeric\((\d+),(\d+)\)$/.exec(type)?.slice(1).map(Number));
  return one !== undefined && other !== undefined && one[1] === other[1] && one[0]! <= other[0]!;
}

/** Adds columns that are missing and changes types that differ. */
async function fitColumns(
  session: Session,
  place: Place,
  columns: readonly Column[],
  settings: Settings,
  signal: AbortSignal | undefined,
): Promise<void> {
  const found = await columnsOf(session, place.table);
  const changes = columns.flatMap(({ name, type }) => {
    const [have, want] = [found.get(name), columnSql(type)];
    if (have === undefined) return [`ADD COLUMN ${nameSql(name)} ${want}`];
    if (have === want) return [];
    return [`ALTER COLUMN ${nameSql(name)} TYPE ${want} USING ${widens(have, want) ? nameSql(name) : `NULL::${want}`}`];
  });
  if (changes.length === 0) return;
  await holdTable(session, place, settings.lockTimeoutMs, signal);
  await session.query(`ALTER TABLE ${place.table} ${changes.join(", ")}`, [], signal);
}

/** Columns that the version does not have any more. */
async function dropOthers(
  session: Session,
  place: Place,
  columns: readonly Column[],
  settings: Settings,
  signal: AbortSignal | undefined,
): Promise<void> {
  const names = new Set(columnNames(columns));
  const others = [...(await columnsOf(session, place.table)).keys()].filter((name) => !names.has(name));
  if (others.length === 0) return;
  await holdTable(session, place, settings.lockTimeoutMs, signal);
  const list = others.map((name) => `DROP COLUMN ${nameSql(name)}`).join(", ");
  await session.query(`ALTER TABLE ${place.table} ${list}`, [], signal);
}
