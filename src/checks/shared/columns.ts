import * as z from "zod";
import {
  formatType,
  MillraceError,
  sqlName,
  suggestion,
  type CheckContext,
  type Column,
  type Sql,
} from "../../core/index.ts";

/** Options of every check that looks at the values of columns one by one. */
export const columnShape = {
  column: z.string().optional().describe("Column to check. Several: use `columns`."),
  columns: z.array(z.string()).min(1).optional().describe("Columns to check, instead of `column`."),
};

export interface ColumnOptions {
  column?: string | undefined;
  columns?: string[] | undefined;
}

/** For `.refine`: exactly one of `column` and `columns` is there. */
export function hasOneOfColumns(options: ColumnOptions): boolean {
  return (options.column === undefined) !== (options.columns === undefined);
}
export const oneOfColumns = { message: "either `column` or `columns` is needed, and not both" };

/** The column of this name. Throws `config` with the nearest name. */
export function columnNamed(check: string, name: string, context: Pick<CheckContext, "columns">): Column {
  const column = context.columns.find((candidate) => candidate.name === name);
  if (column !== undefined) return column;
  throw new MillraceError("config", `the check \`${check}\` names the column \`${name}\`, which is not there`, {
    hint: suggestion(
      name,
      context.columns.map((candidate) => candidate.name),
    ),
    where: { check, column: name },
  });
}

export function columnsOf(check: string, options: ColumnOptions, context: CheckContext): Column[] {
  const names = options.columns ?? (options.column === undefined ? [] : [options.column]);
  return names.map((name) => columnNamed(check, name, context));
}

export type Kind = "number" | "float" | "text" | "boolean" | "temporal" | "time" | "uuid" | "binary" | "nested";

/** What family a type belongs to: decides which questions make sense. */
export function kindOf(column: Column): Kind {
  const { type } = column;
  if (typeof type !== "string") return "nested";
  switch (type) {
    case "float":
    case "double":
      return "float";
    case "int":
    case "long":
      return "number";
    case "date":
    case "timestamp":
    case "timestamptz":
      return "temporal";
    case "time":
      return "time";
    case "string":
      return "text";
    case "boolean":
    case "uuid":
    case "binary":
      return type;
    default:
      return "number";
  }
}

/** Throws `config` when a check cannot be asked of a column's type. */
export function requireKind(check: string, column: Column, kinds: readonly Kind[], hint: string): void {
  if (kinds.includes(kindOf(column))) return;
  throw new MillraceError(
    "config",
    `the check \`${check}\` does not apply to the column \`${column.name}\` of type \`${formatType(column.type)}\``,
    { hint, where: { check, column: column.name } },
  );
}

/** `` `a`, `b` `` */
export function listNames(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(", ");
}

/** The first 60 characters of a value, as text of the engine. */
export function shownValue(column: Column): Sql {
  return `left(CAST(${sqlName(column.name)} AS VARCHAR), 60)`;
}
