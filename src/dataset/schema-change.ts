import { type Column, type DataType, MillraceError, formatType, sameType } from "../core/index.ts";
import { assertNoErasure } from "./erasure.ts";
import { type TableMetadata, schemaOf } from "./iceberg/metadata.ts";
import { type IcebergSchema, fromIcebergSchema, highestId, leavesOf, toIcebergSchema } from "../core/iceberg-schema.ts";
import type { Table } from "./table.ts";
import { assignIds, mergeTypes } from "./types.ts";

/** The schema that columns from `evolve` were computed from. */
export const evolvedFrom = new WeakMap<readonly Column[], string>();

/** Throws `schema` for names that are empty or, letter case aside, given twice. */
export function assertNames(columns: readonly Column[], dataset: string): void {
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

/** What makes two schemas equal: all but the id of the schema. */
export function schemaText(schema: IcebergSchema): string {
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
    assertNoErasure(table, metadata);
    const head = schemaOf(metadata, undefined);
    const ids = { next: metadata["last-column-id"] + 1 };
    const columns = wanted.map((column) =>
      column.id === undefined ? assignIds({ ...column, required: false }, ids) : column,
    );
    if (schemaText(toIcebergSchema(columns, 0)) === schemaText(head)) return undefined;
    if (schemaText(head) !== seen) {
      throw new MillraceError("conflict", `the columns of \`${table.name}\` have changed meanwhile`, {
        hint: "run again",
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
