import { type Column, type DataType, type MillraceError, parseDecimal, sameType } from "../core/index.ts";
import type { WantedColumn } from "./dataset.ts";

/** The column without what only `evolve` wants to know. */
export function withoutRename(wanted: WantedColumn): Column {
  const column: WantedColumn = { ...wanted };
  delete column.renamedFrom;
  return column;
}

/** `required: false` is the default and is left out, so that equal columns look equal. */
export function tidy(column: Column): Column {
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

/** Makes the error for two types that do not fit, at a path inside the column. */
export type Misfit = (path: string[], left: DataType, right: DataType) => MillraceError;

/** The type that holds both: `left` is the dataset's, with ids, which are kept. */
export function mergeTypes(left: DataType, right: DataType, ids: { next: number }, misfit: Misfit): DataType {
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
