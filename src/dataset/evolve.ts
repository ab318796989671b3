import { type Column, type DataType, MillraceError, formatType, parseDecimal, sameType } from "../core/index.ts";
import type { SchemaPolicy, WantedColumn } from "./dataset.ts";
import { type TableMetadata, schemaOf } from "./iceberg/metadata.ts";
import { type IcebergSchema, fromIcebergSchema, highestId, leavesOf, toIcebergSchema } from "./iceberg/schema.ts";
import type { Table } from "./table.ts";

/** The schema that columns from `evolve` were computed from. */
const evolvedFrom = new WeakMap<readonly Column[], string>();

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

function assertNames(columns: readonly Column[], dataset: string): void {
  const names = new Set<string>();
  for (const { name } of columns) {
    if (name === "")
      throw new MillraceError("schema", `a column for \`${dataset}\` has no name`, { where: { dataset } });
    const folded = name.toLowerCase();
    if (names.has(folded)) {
      throw new MillraceError("schema", `\`${dataset}\` would have two columns named \`${name}\``, {
        where: { dataset, column: name },
        hint: "rename one in the flow's `transform`; upper and lower case count as the same, since engines differ in them",
      });
    }
    names.add(folded);
  }
}

function withoutRename(wanted: WantedColumn): Column {
  const column: WantedColumn = { ...wanted };
  delete column.renamedFrom;
  return column;
}

function tidy(column: Column): Column {
  const { required, ...rest } = column;
  return required ? { ...rest, required } : rest;
}

/** Columns with field ids from 1, as `Catalog.create` gives them to a new dataset. */
export function assignFieldIds(columns: readonly WantedColumn[]): Column[] {
  const ids = { next: 1 };
  return columns.map((column) => assignIds(withoutRename(column), ids));
}

/** A copy with fresh ids everywhere, in the order in which Iceberg numbers: a level before what is in it. */
export function assignIds(column: Column, ids: { next: number }): Column {
  const id = ids.next++;
  return tidy({ ...column, id, type: assignTypeIds(column.type, ids) });
}

function assignTypeIds(type: DataType, ids: { next: number }): DataType {
  if (typeof type === "string") return type;
  switch (type.type) {
    case "struct": {
      const numbered = type.fields.map((field) => ({ ...field, id: ids.next++ }));
      return {
        type: "struct",
        fields: numbered.map((field) => tidy({ ...field, type: assignTypeIds(field.type, ids) })),
      };
    }
    case "list": {
      const elementId = ids.next++;
      return { type: "list", elementId, element: assignTypeIds(type.element, ids) };
    }
    case "map": {
      const [keyId, valueId] = [ids.next++, ids.next++];
      return { type: "map", keyId, key: assignTypeIds(type.key, ids), valueId, value: assignTypeIds(type.value, ids) };
    }
  }
}

type Misfit = (path: string[], left: DataType, right: DataType) => MillraceError;

/** The type that holds both: `left` is the dataset's, with ids, which are kept. */
function mergeTypes(left: DataType, right: DataType, ids: { next: number }, misfit: Misfit): DataType {
  if (typeof left === "string" || typeof right === "string") {
    const wider = typeof left === "string" && typeof right === "string" ? widen(left, right) : undefined;
    if (wider === undefined) throw misfit([], left, right);
    return wider;
  }
  const inner =
    (name: string): Misfit =>
    (path, first, second) =>
      misfit([name, ...path], first, second);
  if (left.type === "struct" && right.type === "struct") {
    const fields = left.fields.map((field) => {
      const match = right.fields.find((other) => other.name === field.name);
      if (match === undefined) return tidy({ ...field, required: false });
      const type = mergeTypes(field.type, match.type, ids, inner(field.name));
      return tidy({ ...field, type, required: (field.required ?? false) && (match.required ?? false) });
    });
    const added = right.fields.filter((field) => !left.fields.some((other) => other.name === field.name));
    return {
      type: "struct",
      fields: [...fields, ...added.map((field) => assignIds({ ...field, required: false }, ids))],
    };
  }
  if (left.type === "list" && right.type === "list") {
    return { ...left, element: mergeTypes(left.element, right.element, ids, inner("element")) };
  }
  if (left.type === "map" && right.type === "map") {
    if (!sameType(left.key, right.key)) throw misfit(["key"], left.key, right.key);
    return { ...left, value: mergeTypes(left.value, right.value, ids, inner("value")) };
  }
  throw misfit([], left, right);
}

/** Iceberg's promotions, in both directions: what comes may be narrower than the dataset. */
function widen(left: DataType & string, right: DataType & string): (DataType & string) | undefined {
  if (left === right || sameType(left, right)) return left;
  for (const [narrow, wide] of [
    ["int", "long"],
    ["float", "double"],
  ] as const) {
    if ((left === narrow && right === wide) || (left === wide && right === narrow)) return wide;
  }
  const [first, second] = [parseDecimal(left), parseDecimal(right)];
  if (first && second && first.scale === second.scale) {
    return `decimal(${Math.max(first.precision, second.precision)},${first.scale})`;
  }
  return undefined;
}

function schemaText(schema: IcebergSchema): string {
  return JSON.stringify(schema.fields);
}

/** Leaves that are wider in `after` than in `before`, where that changes how their bounds are stored. */
export function widenedLeaves(before: readonly Column[], after: readonly Column[]): Map<number, "long" | "double"> {
  const old = leavesOf(before);
  const widened = new Map<number, "long" | "double">();
  for (const [id, { type }] of leavesOf(after)) {
    const was = old.get(id)?.type;
    if ((type === "long" && was === "int") || (type === "double" && was === "float")) widened.set(id, type);
  }
  return widened;
}

/** Makes the columns the current schema; an equal earlier schema is used again. */
export function withSchema(metadata: TableMetadata, columns: readonly Column[]): TableMetadata {
  const text = schemaText(toIcebergSchema(columns, 0));
  const same = metadata.schemas.find((schema) => schemaText(schema) === text);
  if (same !== undefined) return { ...metadata, "current-schema-id": same["schema-id"] };
  const id = Math.max(...metadata.schemas.map((schema) => schema["schema-id"])) + 1;
  return {
    ...metadata,
    "last-column-id": Math.max(metadata["last-column-id"], highestId(columns)),
    schemas: [...metadata.schemas, toIcebergSchema(columns, id)],
    "current-schema-id": id,
  };
}

/**
 * Throws `conflict` when the schema is no longer what the columns were computed from, so that nobody's change is undone and
 * no id means two columns; `schema` when a type changes otherwise than by widening.
 */
export function assertNextSchema(table: Table, metadata: TableMetadata, columns: readonly Column[]): void {
  const head = schemaOf(metadata, undefined);
  const from = evolvedFrom.get(columns);
  if (schemaText(head) === schemaText(toIcebergSchema(columns, 0))) return;
  const moved = (detail: string): MillraceError =>
    new MillraceError("conflict", `the columns of \`${table.name}\` have changed meanwhile: ${detail}`, {
      hint: "run again",
      temporary: true,
      where: { dataset: table.name },
    });
  if (from !== undefined && from !== schemaText(head)) throw moved("another run has evolved them");
  const known = new Map(fromIcebergSchema(head).map((column) => [column.id, column]));
  for (const column of columns) {
    const present = known.get(column.id);
    if (present === undefined) {
      if (column.id === undefined || column.id <= metadata["last-column-id"]) {
        throw moved(`\`${column.name}\` has the field id ${column.id}, which is taken`);
      }
      continue;
    }
    const ids = { next: Number.MAX_SAFE_INTEGER };
    const fits = (): DataType =>
      mergeTypes(present.type, column.type, ids, (path, left, right) =>
        typeProblem(table, [column.name, ...path], left, right),
      );
    const wider = fits();
    if (typeof column.type === "string" && !sameType(wider, column.type)) {
      throw typeProblem(table, [column.name], present.type, column.type);
    }
  }
}

function typeProblem(table: Table, path: string[], left: DataType, right: DataType): MillraceError {
  const column = path.join(".");
  return new MillraceError(
    "schema",
    `column \`${column}\` of \`${table.name}\` cannot become \`${formatType(right)}\`: it is \`${formatType(left)}\``,
    {
      where: { dataset: table.name, column },
      hint: "a column can be widened: int to long, float to double, decimal to more digits",
    },
  );
}

/** See `Dataset.alter`. Columns without id are new; columns that are left out are dropped. */
export async function alter(
  table: Table,
  wanted: readonly Column[],
  commit: (columns: Column[]) => Promise<unknown>,
): Promise<void> {
  assertNames(wanted, table.name);
  if (wanted.every((column) => column.id !== undefined) && widenedLeaves(table.columns(), wanted).size > 0) {
    // The bounds in the manifests are widened too, which takes a version.
    await commit([...wanted]);
    return;
  }
  const seen = schemaText(schemaOf(table.metadata, undefined));
  await table.update(async (metadata) => {
    const head = schemaOf(metadata, undefined);
    const ids = { next: metadata["last-column-id"] + 1 };
    const columns = wanted.map((column) =>
      column.id === undefined ? assignIds({ ...column, required: false }, ids) : column,
    );
    if (schemaText(toIcebergSchema(columns, 0)) === schemaText(head)) return undefined;
    if (schemaText(head) !== seen) {
      throw new MillraceError("conflict", `the columns of \`${table.name}\` have changed meanwhile`, {
        hint: "run again",
        temporary: true,
        where: { dataset: table.name },
      });
    }
    if (columns.length === 0) throw new MillraceError("schema", `\`${table.name}\` would have no column left`);
    assertNextSchema(table, metadata, columns);
    const required = new Set(
      fromIcebergSchema(head)
        .filter((column) => column.required)
        .map((column) => column.id),
    );
    const tightened = columns.find((column) => column.required && !required.has(column.id));
    if (tightened !== undefined) {
      throw new MillraceError(
        "schema",
        `column \`${tightened.name}\` of \`${table.name}\` may hold nulls and cannot become required`,
        {
          where: { dataset: table.name, column: tightened.name },
          hint: "use the check `not-null`",
        },
      );
    }
    return withSchema(metadata, columns);
  });
}
