import { MillraceError, sqlName, type Column, type DataType, type Sql } from "../../core/index.ts";
import type { DataFile } from "../../dataset/index.ts";
import type { Engine } from "../../engine/index.ts";
import type { ColumnFacts, MeasuredColumn } from "./format.ts";
import { mediaOf } from "./media.ts";

export interface MeasureRequest {
  columns: readonly Column[];
  files: readonly DataFile[];
  /** A FROM item with all rows of the version. */
  relation: Sql;
  /** Binary columns are looked at for what they hold. */
  media: boolean;
  signal?: AbortSignal | undefined;
}

const canBeInfinite = (type: DataType): boolean => type === "date" || type === "timestamp" || type === "timestamptz";

/** What formats without null, or without lists, must know of the columns: of the whole version, whatever is exported of it. */
export async function measureColumns(engine: Engine, request: MeasureRequest): Promise<MeasuredColumn[]> {
  const { columns, files, relation, media, signal } = request;
  const items: Sql[] = [];
  const add = (sql: Sql): string => `m${items.push(`${sql} AS m${items.length}`) - 1}`;
  const asked = columns.map((column) => {
    const name = sqlName(column.name);
    const { type } = column;
    const known = column.required === true ? 0 : nullsOf(column, files);
    const isList = typeof type !== "string" && type.type === "list";
    const element = typeof type !== "string" && type.type === "list" ? type.element : undefined;
    return {
      column,
      known,
      nulls: known === undefined ? add(`count(*) FILTER (WHERE ${name} IS NULL)`) : undefined,
      infinite: canBeInfinite(type)
        ? add(`count(*) FILTER (WHERE isinf(${name}))`)
        : element !== undefined && canBeInfinite(element)
          ? add(`count(*) FILTER (WHERE len(list_filter(${name}, lambda item: isinf(item))) > 0)`)
          : undefined,
      list: isList
        ? {
            nulls: add(`coalesce(sum(len(${name}) - list_aggregate(${name}, 'count')), 0)::BIGINT`),
            shortest: add(`coalesce(min(len(${name})), 0)`),
            longest: add(`coalesce(max(len(${name})), 0)`),
          }
        : undefined,
    };
  });
  const [row = {}] =
    items.length === 0 ? [] : await engine.query(`SELECT ${items.join(", ")} FROM ${relation}`, signal);
  const value = (key: string | undefined): number => (key === undefined ? 0 : Number(row[key]));
  const measured: MeasuredColumn[] = [];
  for (const { column, known, nulls, infinite, list } of asked) {
    const facts: ColumnFacts = { nulls: known ?? value(nulls), infinite: value(infinite) };
    if (list) facts.list = { nulls: value(list.nulls), shortest: value(list.shortest), longest: value(list.longest) };
    if (media && column.type === "binary") facts.media = await sniff(engine, column.name, relation, signal);
    measured.push({ ...column, facts });
  }
  return measured;
}

/** From the statistics of the files, if all have them. */
function nullsOf({ id, type }: Column, files: readonly DataFile[]): number | undefined {
  if (id === undefined || typeof type !== "string") return undefined;
  let nulls = 0;
  for (const { statistics } of files) {
    const known = statistics[id]?.nulls;
    if (known === undefined) return undefined;
    nulls += known;
  }
  return nulls;
}

/** Values that are looked at to tell what a binary column holds. */
const sniffed = 16;

async function sniff(engine: Engine, name: string, relation: Sql, signal?: AbortSignal): Promise<string | undefined> {
  const column = sqlName(name);
  const first = `SELECT ${column} AS value FROM ${relation} WHERE ${column} IS NOT NULL LIMIT ${sniffed}`;
  const kinds = new Set<string | undefined>();
  for (const { value } of await engine.query(first, signal)) kinds.add(mediaOf(value as Uint8Array));
  const [kind, ...others] = kinds;
  return others.length === 0 ? kind : undefined;
}

/** Numbers of days and microseconds have no infinity. */
export function assertFinite(columns: readonly MeasuredColumn[]): void {
  const column = columns.find(({ facts }) => facts.infinite > 0);
  if (column === undefined) return;
  throw new MillraceError("value", `\`${column.name}\` holds infinite times, which this format has no number for`, {
    where: { column: column.name },
    hint: `leave them out: \`--where "isfinite(${column.name})"\``,
  });
}
