import { MillraceError, parseJson, type Column, type LookupValue } from "../core/index.ts";
import { valueJson } from "./values.ts";

export interface Transformed {
  /** Whose transform it was. */
  version: number;
  /** For each given row those that the transform makes of it: one, none where it leaves the row out, or several. Values as a lookup gives them. */
  rows: Record<string, LookupValue>[][];
  /** Rows that do not fit the columns, or that the transform fails on; they give none. `index` is the place among those given. */
  invalid: { index: number; problem: string }[];
}

/** The transform of a version, for rows that are not in it: those that a model is asked about. */
export interface Transformer {
  readonly dataset: string;
  readonly version: number;
  /** What a row is given as, as the source gave it when the version was made. */
  readonly input: readonly Column[];
  /** What it becomes. Columns that split and enrichers add are not made here. */
  readonly columns: readonly Column[];
  /** Rows as objects; a member that is not there is null. */
  apply(rows: readonly Readonly<Record<string, LookupValue>>[], signal?: AbortSignal): Promise<Transformed>;
}

/** The rows of `{"rows": [{…}, …]}`. Throws `usage` for anything else. */
export function rowsOfBody(text: string): Record<string, LookupValue>[] {
  const hint = '{"rows": [{"km": 3.2}]}';
  let body: unknown;
  try {
    body = parseJson(text);
  } catch (cause) {
    throw new MillraceError("usage", "what was sent is not JSON", { cause, hint });
  }
  const members = typeof body === "object" && body !== null && !Array.isArray(body) ? Object.keys(body) : [];
  const { rows } = (members.length === 1 ? body : {}) as { rows?: unknown };
  if (Array.isArray(rows)) return rows as Record<string, LookupValue>[];
  throw new MillraceError("usage", "the body is not an object with a list of `rows`, and nothing else", { hint });
}

/**
 * The JSON of an answer:
 *
 *     { "dataset": "trips", "version": 7, "rows": [{ "km": 3.2, … }, null], "invalid": [{ "row": 1, "problem": "…" }] }
 *
 * `rows` are in the order of those that were given: what one became, null where it is invalid or left out, and a list where it became several.
 * `invalid` is there when there are such rows. Values are written as those of lookups.
 */
export function transformedJson(dataset: string, { version, rows, invalid }: Transformed): string {
  const texts = rows.map((made) => (made.length > 1 ? valueJson(made) : valueJson(made[0])));
  const wrong = invalid.map(({ index, problem }) => `{"row":${index},"problem":${JSON.stringify(problem)}}`);
  const end = wrong.length === 0 ? "" : `,"invalid":[${wrong.join(",")}]`;
  return `{"dataset":${JSON.stringify(dataset)},"version":${version},"rows":[${texts.join(",")}]${end}}`;
}
