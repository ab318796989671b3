import { parseDecimal, sqlName, type Column, type DataType, type Sql } from "../core/index.ts";

/*
 * How a row lies in the cache of a feed, so that one read brings all of it and columns are filled without an object a value:
 *
 *   u32 length of the record, a multiple of 8      u32 CRC-32 of what follows
 *   a bit a column, 1 = present                    padded to 8 bytes
 *   slots, each at a multiple of its width         8 and 16 bytes wide first, then 4, then 1
 *   bytes of strings and elements of lists         their slot holds u32 start in the record and u32 length in bytes
 *
 * All numbers little endian.
 */

/** What a slot holds: a value of so many bytes, or where its bytes are. */
export type Slot =
  | { kind: "value"; width: 1 | 4 | 8 | 16; at: number }
  | { kind: "bytes"; at: number }
  | { kind: "list"; elementWidth: 4 | 8; at: number };

export interface LaidColumn {
  column: Column;
  /** The type it has in a batch; nested columns other than lists of numbers are their JSON text. */
  type: DataType;
  slot: Slot;
  /** Images: how many samples of a byte in each direction. The slot is one of bytes. */
  shape?: readonly number[];
}

export interface Layout {
  columns: LaidColumn[];
  /** Bytes of a record without strings and lists. */
  fixedBytes: number;
  /** True when every record has `fixedBytes`. */
  isFixed: boolean;
}

const headerBytes = 8;

type Shape = { type: DataType } & (
  | { kind: "value"; width: 1 | 4 | 8 | 16 }
  | { kind: "bytes" }
  | { kind: "list"; elementWidth: 4 | 8 }
);

const elementWidths: Record<string, 4 | 8> = { int: 4, float: 4, long: 8, double: 8 };

function shapeOf(type: DataType): Shape {
  if (typeof type !== "string") {
    const element = type.type === "list" && typeof type.element === "string" ? elementWidths[type.element] : undefined;
    if (element !== undefined) return { kind: "list", elementWidth: element, type };
    return { kind: "bytes", type: "string" };
  }
  if (parseDecimal(type)) return { kind: "value", width: 16, type };
  switch (type) {
    case "boolean":
      return { kind: "value", width: 1, type };
    case "int":
    case "float":
    case "date":
      return { kind: "value", width: 4, type };
    case "long":
    case "double":
    case "time":
    case "timestamp":
    case "timestamptz":
      return { kind: "value", width: 8, type };
    case "binary":
      return { kind: "bytes", type };
    default:
      return { kind: "bytes", type: "string" };
  }
}

/** `shapes`: of columns of binary whose values are samples, all as many. */
export function layoutOf(
  columns: readonly Column[],
  shapes: ReadonlyMap<string, readonly number[]> = new Map(),
): Layout {
  const laid = columns.map((column) => ({ column, shape: shapeOf(column.type) }));
  let at = headerBytes + Math.ceil(columns.length / 64) * 8;
  const placed = new Map<Column, Slot>();
  const place = (bytes: number, wanted: (shape: Shape) => Slot | undefined): void => {
    for (const { column, shape } of laid) {
      const slot = wanted(shape);
      if (slot === undefined) continue;
      placed.set(column, slot);
      at += bytes;
    }
  };
  const value =
    (width: 1 | 4 | 8 | 16) =>
    (shape: Shape): Slot | undefined =>
      shape.kind === "value" && shape.width === width ? { kind: "value", width, at } : undefined;
  place(16, value(16));
  place(8, value(8));
  place(8, (shape) =>
    shape.kind === "bytes"
      ? { kind: "bytes", at }
      : shape.kind === "list"
        ? { kind: "list", elementWidth: shape.elementWidth, at }
        : undefined,
  );
  place(4, value(4));
  place(1, value(1));
  return {
    columns: laid.map(({ column, shape }) => {
      const tensor = shapes.get(column.name);
      return {
        column,
        type: shape.type,
        slot: placed.get(column)!,
        ...(tensor === undefined ? {} : { shape: tensor }),
      };
    }),
    fixedBytes: padded(at),
    isFixed: laid.every(({ shape }) => shape.kind === "value"),
  };
}

export const padded = (bytes: number): number => Math.ceil(bytes / 8) * 8;

/** How a column leaves the engine: dates and times as numbers, decimals as their digits, text as bytes. */
export function wireExpression({ column, type, slot }: LaidColumn): Sql {
  const name = sqlName(column.name);
  const as = ` AS ${name}`;
  if (slot.kind === "list") return name;
  if (slot.kind === "bytes") {
    if (type === "binary") return name;
    return typeof column.type === "string" ? `encode(${name}::VARCHAR)${as}` : `encode(to_json(${name})::VARCHAR)${as}`;
  }
  if (slot.width === 16) return `replace(${name}::VARCHAR, '.', '')${as}`;
  if (type === "date") return `(${name} - DATE '1970-01-01')::INTEGER${as}`;
  if (type === "time" || type === "timestamp" || type === "timestamptz") return `epoch_us(${name})::BIGINT${as}`;
  return name;
}
