import { MillraceError, suggestion, type Column } from "../../core/index.ts";

/** All columns, or those that a flow names. Throws `not-found`. */
export function chosen(columns: readonly Column[], names: readonly string[] | undefined): Column[] {
  if (names === undefined) return [...columns];
  return names.map((name) => {
    const found = columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
    if (found !== undefined) return found;
    throw new MillraceError("not-found", `there is no column \`${name}\``, {
      where: { column: name },
      hint: suggestion(
        name,
        columns.map((column) => column.name),
      ),
    });
  });
}
