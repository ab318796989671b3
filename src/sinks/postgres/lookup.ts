import {
  isMillraceError,
  jsonValue,
  MillraceError,
  momentText,
  suggestion,
  type Column,
  type DataType,
  type LookupReply,
  type LookupRequest,
  type LookupValue,
} from "../../core/index.ts";
import type { Row, Session } from "../../protocols/postgres/session.ts";
import type { Place, Publication } from "./ledger.ts";
import { readPublication } from "./ledger.ts";
import { nameSql } from "./table.ts";
import { columnSql } from "./types.ts";

/** Keys of one statement. */
const keysAtOnce = 10_000;

/** How often a lookup begins again because another version came in between. */
const tries = 5;

/**
 * Rows by key, each batch by one statement that joins the keys with the table and says which version it saw. `known` holds what the
 * ledger said of a target last, and is brought up to date when the statement finds something else.
 */
export async function getRows(
  session: Session,
  place: Place,
  request: LookupRequest,
  known: Map<string, Publication>,
): Promise<LookupReply> {
  for (let attempt = 1; ; attempt++) {
    const publication = known.get(place.target) ?? (await readPublication(session, place));
    if (publication === undefined) {
      throw new MillraceError("not-found", `nothing was published to \`${place.target}\``, {
        hint: "millrace publish",
      });
    }
    known.set(place.target, publication);
    try {
      const reply = await answer(session, place, request, publication);
      if (reply !== undefined) return reply;
    } catch (error) {
      // The columns or the table of a version that is gone meanwhile.
      if (attempt >= tries || !isMillraceError(error) || !["not-found", "config"].includes(error.code)) throw error;
    }
    known.delete(place.target);
    if (attempt >= tries) {
      throw new MillraceError("conflict", `\`${place.target}\` was published anew again and again during a lookup`, {
        temporary: true,
      });
    }
  }
}

/** Undefined when the ledger has changed since `publication` was read. */
async function answer(
  session: Session,
  place: Place,
  request: LookupRequest,
  { key, columns, version }: Publication,
): Promise<LookupReply | undefined> {
  if (key.length === 0) {
    throw new MillraceError("usage", `\`${place.target}\` was published without a key`, {
      hint: "publish it with --key",
    });
  }
  const wanted = chosen(columns, request.columns, place.target);
  const types = key.map((name) => columnSql(columns.find((column) => column.name === name)!.type));
  const rows: (Record<string, LookupValue> | undefined)[] = [];
  let seen = version;
  for (let from = 0; from === 0 || from < request.keys.length; from += keysAtOnce) {
    const some = request.keys.slice(from, from + keysAtOnce);
    const found = await session.query(
      statement(place, key, types, wanted),
      [
        place.target,
        JSON.stringify(columns.map(({ name, type }) => ({ name, type }))),
        [...key],
        ...key.map((_, index) => some.map((values) => keyText(values, index, key.length))),
      ],
      request.signal,
    );
    if (found.length === 0) return undefined;
    const now = Number(found[0]!["v"]);
    // Rows of one reply are of one version.
    if (from > 0 && now !== seen) return undefined;
    seen = now;
    const page = Array.from<Record<string, LookupValue> | undefined>({ length: some.length });
    for (const row of found) if (row["n"] !== null) page[Number(row["n"]) - 1] = valuesOf(row, wanted);
    rows.push(...page);
  }
  return { version: seen, rows };
}

function statement(place: Place, key: readonly string[], types: readonly string[], wanted: readonly Column[]): string {
  const list = wanted.map(({ name, type }, index) => {
    const value = `t.${nameSql(name)}`;
    return `${typeof type === "string" ? value : `to_json(${value})`} AS c${index}`;
  });
  const keys = types.map((type, index) => `$${index + 4}::${type}[]`);
  const names = key.map((_, index) => `k${index}`);
  const match = key.map((name, index) => `t.${nameSql(name)} = w.k${index}`);
  return (
    `SELECT l.version AS v, r.* FROM ${place.ledger} AS l LEFT JOIN (SELECT w.n${list.map((item) => `, ${item}`).join("")} ` +
    `FROM unnest(${keys.join(", ")}) WITH ORDINALITY AS w(${names.join(", ")}, n) JOIN ${place.table} AS t ON ${match.join(" AND ")}) AS r ON true ` +
    `WHERE l.target = $1 AND l.columns::text = $2 AND l.key = $3`
  );
}

function chosen(columns: readonly Column[], names: readonly string[] | undefined, target: string): readonly Column[] {
  return (
    names?.map((name) => {
      const column = columns.find((candidate) => candidate.name === name);
      if (column !== undefined) return column;
      throw new MillraceError("not-found", `\`${target}\` has no column \`${name}\``, {
        where: { column: name },
        hint: suggestion(
          name,
          columns.map((candidate) => candidate.name),
        ),
      });
    }) ?? columns
  );
}

function keyText(values: readonly LookupValue[], index: number, length: number): string | null {
  const value = values[index];
  if (values.length !== length || value === undefined) {
    throw new MillraceError("usage", `a key has ${values.length} values, and the key of the target ${length} columns`);
  }
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString("hex")}`;
  if (value !== null && typeof value === "object") throw new MillraceError("usage", "a key cannot be nested");
  return value === null ? null : String(value);
}

function valuesOf(row: Row, columns: readonly Column[]): Record<string, LookupValue> {
  return Object.fromEntries(
    columns.map(({ name, type }, index) => {
      const text = row[`c${index}`] ?? null;
      return [name, text === null ? null : typeof type === "string" ? plainValue(text, type) : jsonValue(text, type)];
    }),
  );
}

function plainValue(text: string, type: DataType & string): LookupValue {
  switch (type) {
    case "long":
      return BigInt(text);
    case "int":
    case "double":
      return Number(text);
    case "float":
      return Math.fround(Number(text));
    case "boolean":
      return text === "t";
    case "binary":
      return new Uint8Array(Buffer.from(text.slice(2), "hex"));
    default:
      return momentText(text, type);
  }
}
