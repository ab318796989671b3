import { parseDecimal, sqlString, type Column, type Sql } from "../core/index.ts";
import type { RowFilter } from "../dataset/index.ts";
import { typeSql, type Engine } from "../engine/index.ts";
import { isNode, type Node } from "./statement.ts";

/** A value that a statement compares with, as the text of an expression, and what it is. */
interface Constant {
  sql: Sql;
  /** `text` is a literal that takes the type of what it is compared with. */
  kind: "text" | "number" | "DATE" | "TIMESTAMP" | "TIMESTAMP WITH TIME ZONE";
}

/** An end of a range that the engine has not put into its notation yet. */
interface Limit {
  column: Column;
  sql: Sql;
  text?: string;
}
type Draft = { all: Draft[] } | { any: Draft[] } | { column: Column; min?: Limit; max?: Limit } | undefined;

const whole = new Set(["TINYINT", "SMALLINT", "INTEGER", "BIGINT"]);
const moments = ["DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"] as const;

/**
 * What an expression in a WHERE demands of the columns of its only table, as far as bounds of files can tell: comparisons of a column
 * with constants, joined by AND and OR. All else may hold or not. The values are cast to the type of the column, which may round them,
 * never past a value of that type: so every range includes its ends, and rows that the expression wants are always in it.
 */
export async function rowFilterOf(
  engine: Engine,
  where: Node,
  columns: readonly Column[],
  alias: string,
): Promise<RowFilter | undefined> {
  const limits: Limit[] = [];
  const draft = new Drafter(columns, alias, limits).draft(where);
  if (draft === undefined || limits.length === 0) return undefined;
  const items = limits.map(
    ({ column, sql }, index) => `CAST(TRY_CAST(${sql} AS ${typeSql(column.type)}) AS VARCHAR) AS c${index}`,
  );
  // A constant that is none makes the statement itself fail, with better words.
  const [row] = await engine.query(`SELECT ${items.join(", ")}`).catch(() => []);
  if (row === undefined) return undefined;
  for (const [index, limit] of limits.entries()) {
    const text = row[`c${index}`];
    if (typeof text === "string") limit.text = text;
  }
  return finished(draft);
}

function finished(draft: NonNullable<Draft>): RowFilter | undefined {
  if ("all" in draft) return { all: draft.all.flatMap((one) => finished(one!) ?? []) };
  if ("any" in draft) {
    const any = draft.any.map((one) => finished(one!));
    return any.every((one) => one !== undefined) ? { any } : undefined;
  }
  const [min, max] = [draft.min?.text, draft.max?.text];
  if (min === undefined && max === undefined) return undefined;
  return { column: draft.column.name, ...(min === undefined ? {} : { min }), ...(max === undefined ? {} : { max }) };
}

class Drafter {
  readonly #columns: readonly Column[];
  readonly #alias: string;
  readonly #limits: Limit[];

  constructor(columns: readonly Column[], alias: string, limits: Limit[]) {
    this.#columns = columns;
    this.#alias = alias.toLowerCase();
    this.#limits = limits;
  }

  draft(node: Node): Draft {
    const children = (node["children"] ?? []) as Node[];
    switch (node["type"]) {
      case "CONJUNCTION_AND":
        return { all: children.map((child) => this.draft(child)).filter((one) => one !== undefined) };
      case "CONJUNCTION_OR": {
        const any = children.map((child) => this.draft(child));
        return any.every((one) => one !== undefined) ? { any } : undefined;
      }
      case "COMPARE_BETWEEN":
        return this.#range(node["input"], node["lower"], node["upper"]);
      case "COMPARE_IN": {
        const [input, ...values] = children;
        const any = values.map((value) => this.#range(input, value, value));
        return any.every((one) => one !== undefined) ? { any } : undefined;
      }
      case "COMPARE_EQUAL":
        return (
          this.#range(node["left"], node["right"], node["right"]) ??
          this.#range(node["right"], node["left"], node["left"])
        );
      case "COMPARE_LESSTHAN":
      case "COMPARE_LESSTHANOREQUALTO":
        return (
          this.#range(node["left"], undefined, node["right"]) ?? this.#range(node["right"], node["left"], undefined)
        );
      case "COMPARE_GREATERTHAN":
      case "COMPARE_GREATERTHANOREQUALTO":
        return (
          this.#range(node["left"], node["right"], undefined) ?? this.#range(node["right"], undefined, node["left"])
        );
      default:
        return undefined;
    }
  }

  #range(input: unknown, lower: unknown, upper: unknown): Draft {
    const column = this.#column(input);
    if (column === undefined) return undefined;
    const ends: { min?: Limit; max?: Limit } = {};
    for (const [name, value] of [["min", lower] as const, ["max", upper] as const]) {
      if (value === undefined) continue;
      const constant = constantOf(value);
      // One end that is not known is one that is open.
      if (constant !== undefined && compares(column, constant)) {
        const limit: Limit = { column, sql: constant.sql };
        this.#limits.push(limit);
        ends[name] = limit;
      }
    }
    return ends.min === undefined && ends.max === undefined ? undefined : { column, ...ends };
  }

  /** Names without regard to case, as the engine has it. */
  #column(value: unknown): Column | undefined {
    if (!isNode(value) || value["class"] !== "COLUMN_REF") return undefined;
    const names = (value["column_names"] as string[]).map((name) => name.toLowerCase());
    const named = (name: string | undefined): Column | undefined =>
      this.#columns.find((column) => column.name.toLowerCase() === name);
    if (names.length === 1) return named(names[0]);
    // `a.b` may be the field of a column too.
    return names.length === 2 && names[0] === this.#alias && named(names[0]) === undefined
      ? named(names[1])
      : undefined;
  }
}

function constantOf(value: unknown): Constant | undefined {
  if (!isNode(value)) return undefined;
  if (value["type"] === "OPERATOR_CAST" && value["try_cast"] === false) {
    const { id } = value["cast_type"] as Node;
    const inner = constantOf(value["child"]);
    const kind = moments.find((one) => one === id);
    if (inner === undefined || kind === undefined) return undefined;
    return { sql: `CAST(${inner.sql} AS ${kind})`, kind };
  }
  if (value["type"] !== "VALUE_CONSTANT") return undefined;
  const { type, is_null: isNull, value: literal } = value["value"] as { type: Node; is_null: boolean; value: unknown };
  if (isNull) return undefined;
  if (type["id"] === "VARCHAR" && typeof literal === "string") return { sql: sqlString(literal), kind: "text" };
  if (typeof literal !== "number" && typeof literal !== "string") return undefined;
  if (whole.has(String(type["id"]))) return { sql: String(literal), kind: "number" };
  const scale = type["id"] === "DECIMAL" ? Number((type["type_info"] as Node | null)?.["scale"]) : Number.NaN;
  if (Number.isNaN(scale) || !/^-?\d+$/.test(String(literal))) return undefined;
  const digits = String(literal)
    .replace("-", "")
    .padStart(scale + 1, "0");
  const point = digits.length - scale;
  const sign = String(literal).startsWith("-") ? "-" : "";
  return { sql: `${sign}${digits.slice(0, point)}.${digits.slice(point)}`, kind: "number" };
}

/** Whether the engine compares the column with the constant in the order of the column's own type. */
function compares({ type }: Column, { kind }: Constant): boolean {
  if (typeof type !== "string") return false;
  if (type === "int" || type === "long" || parseDecimal(type)) return kind === "number" || kind === "text";
  if (type === "date" || type === "timestamp") return kind === "text" || kind === "DATE" || kind === "TIMESTAMP";
  if (type === "timestamptz") return kind === "text" || kind === "TIMESTAMP WITH TIME ZONE";
  return type === "string" && kind === "text";
}
