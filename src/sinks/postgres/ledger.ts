import { MillraceError, type Column, type PublishRequest, type VersionRows } from "../../core/index.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import { postgresNames, quoteName, quotePath } from "../../protocols/sql/names.ts";

export const ledgerName = "millrace_publications";

/** What the ledger says of a target: which version of what its table holds. */
export interface Publication {
  dataset: string;
  version: number;
  mode: PublishRequest["mode"];
  key: string[];
  columns: Column[];
}

/** A target with the names of its table and of the ledger, quoted. */
export interface Place {
  schema: string;
  target: string;
  table: string;
  ledger: string;
}

/** Throws `config` for a target that cannot be the name of a table. */
export function placeOf(schema: string, target: string): Place {
  if (target === ledgerName) {
    throw new MillraceError("config", `\`${target}\` is the record of what was published, and no target`, {
      hint: "choose another target",
    });
  }
  return {
    schema,
    target,
    table: quotePath(postgresNames, [schema, target]),
    ledger: quotePath(postgresNames, [schema, ledgerName]),
  };
}

/** The name of a table of this schema, quoted. */
export const inSchema = (place: Place, name: string): string =>
  `${quoteName(postgresNames, place.schema)}.${quoteName(postgresNames, name)}`;

/**
 * Begins a transaction in which nobody else publishes to the target: until it ends, also by the end of the connection. `ledger`: the
 * table of publications is made when there is none.
 */
export async function beginPublishing(session: Session, place: Place, signal?: AbortSignal): Promise<void> {
  await session.query("BEGIN", [], signal);
  await session.query(
    "SELECT pg_advisory_xact_lock(hashtext($1), hashtext($2))",
    [`millrace ${place.schema}`, place.target],
    signal,
  );
  const [there] = await session.query("SELECT to_regclass($1) IS NOT NULL AS there", [place.ledger]);
  if (there!.there === "t") return;
  // Of two that make it at once, one would fail.
  await session.query("SELECT pg_advisory_xact_lock(hashtext($1), 0)", [`millrace ${place.schema}`], signal);
  await session.query(
    `CREATE TABLE IF NOT EXISTS ${place.ledger} (
       target text PRIMARY KEY, dataset text NOT NULL, version bigint NOT NULL, run text, mode text NOT NULL,
       key text[] NOT NULL, columns json NOT NULL, rows bigint NOT NULL,
       published_at timestamp with time zone NOT NULL DEFAULT now())`,
  );
}

/** The entry of a target whose table is there; undefined when there is none. */
export async function readPublication(session: Session, place: Place): Promise<Publication | undefined> {
  const [there] = await session.query("SELECT to_regclass($1) IS NOT NULL AND to_regclass($2) IS NOT NULL AS there", [
    place.ledger,
    place.table,
  ]);
  if (there!.there !== "t") return undefined;
  const [row] = await session.query(
    `SELECT dataset, version, mode, array_to_json(key) AS key, columns FROM ${place.ledger} WHERE target = $1`,
    [place.target],
  );
  if (row === undefined) return undefined;
  return {
    dataset: row.dataset!,
    version: Number(row.version),
    mode: row.mode as Publication["mode"],
    key: JSON.parse(row.key!) as string[],
    columns: JSON.parse(row.columns!) as Column[],
  };
}

export async function writePublication(
  session: Session,
  place: Place,
  version: VersionRows,
  request: Pick<PublishRequest, "mode" | "key">,
  columns: readonly Column[],
  rows: number,
): Promise<void> {
  const said = columns.map(({ name, type }) => ({ name, type }));
  await session.query(
    `INSERT INTO ${place.ledger} AS l (target, dataset, version, run, mode, key, columns, rows)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
     ON CONFLICT (target) DO UPDATE SET dataset = excluded.dataset, version = excluded.version, run = excluded.run,
       mode = excluded.mode, key = excluded.key, columns = excluded.columns, rows = excluded.rows, published_at = now()`,
    [
      place.target,
      version.dataset,
      version.version,
      version.run ?? null,
      request.mode,
      [...request.key],
      JSON.stringify(said),
      rows,
    ],
  );
}

/** Whether the target holds what is to be published: a whole version holds also what a merge of it would bring. */
export function isPublished(
  found: Publication | undefined,
  version: Pick<VersionRows, "dataset" | "version">,
  request: Pick<PublishRequest, "mode" | "key">,
): boolean {
  return (
    found !== undefined &&
    found.dataset === version.dataset &&
    found.version === version.version &&
    (found.mode === "replace" || request.mode === "merge") &&
    found.key.length === request.key.length &&
    found.key.every((name, index) => name === request.key[index])
  );
}
