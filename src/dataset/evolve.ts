import { type Column, MillraceError, formatType, sameType } from "../core/index.ts";
import type { SchemaPolicy, WantedColumn } from "./dataset.ts";
import { schemaOf } from "./iceberg/metadata.ts";
import { toIcebergSchema } from "../core/iceberg-schema.ts";
import { assertNames, evolvedFrom, schemaText } from "./schema-change.ts";
import type { Table } from "./table.ts";
import { assignIds, mergeTypes, tidy, withoutRename } from "./types.ts";

/** See `Dataset.evolve`. */
export function evolve(
  table: Table,
  wanted: readonly WantedColumn[],
  policy: SchemaPolicy,
): { columns: Column[]; changed: boolean } {
  const before = table.columns();
  const ids = { next: table.metadata["last-column-id"] + 1 };
  const problem = (message: string, column: string, hint: string): MillraceError =>
    new MillraceError("schema", `${message} in \`${table.name}\``, { hint, where: { dataset: table.name, column } });
  assertNames(wanted, table.name);

  const columns: Column[] = before.map((column) => ({ ...column }));
  const byName = new Map(columns.map((column, index) => [column.name, index]));
  const seen = new Set<number>();
  for (const column of wanted) {
    let index = byName.get(column.name);
    if (index === undefined && column.renamedFrom !== undefined) {
      index = byName.get(column.renamedFrom);
      if (index !== undefined) {
        if (policy !== "evolve") {
          throw problem(
            `column \`${column.renamedFrom}\` is now called \`${column.name}\``,
            column.name,
            policyHint(policy),
          );
        }
        columns[index] = { ...columns[index]!, name: column.name };
      }
    }
    if (index === undefined) {
      if (policy === "reject") {
        throw problem(
          `column \`${column.name}\` of type \`${formatType(column.type)}\` is new and not`,
          column.name,
          policyHint(policy),
        );
      }
      if (policy === "freeze") continue;
      columns.push({ ...assignIds(withoutRename(column), ids), required: false });
      continue;
    }
    seen.add(index);
    const present = columns[index]!;
    const type = mergeTypes(present.type, column.type, ids, (path, left, right) => {
      const name = [column.name, ...path].join(".");
      return problem(
        `column \`${name}\` is \`${formatType(left)}\`, and what comes is \`${formatType(right)}\`, which does not fit`,
        name,
        "cast the column in the flow's `transform`, or write to a new dataset with `into`",
      );
    });
    if (policy === "reject" && !sameType(type, present.type)) {
      throw problem(
        `column \`${column.name}\` is \`${formatType(present.type)}\`, and what comes is \`${formatType(column.type)}\`,`,
        column.name,
        policyHint(policy),
      );
    }
    if (policy === "freeze" && !sameType(type, present.type)) {
      // A narrower column is fine; a wider one would need the dataset to change.
      throw problem(
        `column \`${column.name}\` is frozen as \`${formatType(present.type)}\`, and what comes is \`${formatType(column.type)}\`,`,
        column.name,
        policyHint(policy),
      );
    }
    const next: Column = { ...present, type, required: (present.required ?? false) && (column.required ?? false) };
    if (next.doc === undefined && column.doc !== undefined) next.doc = column.doc;
    columns[index] = next;
  }
  for (const [index, column] of columns.entries()) {
    if (index >= before.length || seen.has(index)) continue;
    if (policy === "reject")
      throw problem(`column \`${column.name}\` is missing from what comes, and is`, column.name, policyHint(policy));
    columns[index] = { ...column, required: false };
  }
  const result = columns.map(tidy);
  assertNames(result, table.name);
  const from = table.metadata;
  const changed = schemaText(toIcebergSchema(result, 0)) !== schemaText(schemaOf(from, undefined));
  evolvedFrom.set(result, schemaText(schemaOf(from, undefined)));
  return { columns: result, changed };
}

function policyHint(policy: SchemaPolicy): string {
  return `\`schema: ${policy}\` of the flow refuses this; \`schema: evolve\` would take it in`;
}
