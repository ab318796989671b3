import { promisify } from "node:util";
import { zstdCompress } from "node:zlib";
import { MillraceError, sqlName, type DataType, type Sql } from "../../core/index.ts";
import { isPresent } from "../../engine/index.ts";
import type { ByteWriter } from "./bytes.ts";
import type { FlatColumn } from "./flat.ts";
import type { MeasuredColumn, SampleFormat, SealedShard, WrittenField } from "./format.ts";
import { jsonBytes } from "./json-sql.ts";

/*
 * MosaicML Streaming's MDS, version 2 (https://docs.mosaicml.com/projects/streaming/en/stable/fundamentals/dataset_format.html, and
 * streaming/base/format/mds/writer.py). A shard, all numbers little endian:
 *
 *   u32 samples   u32 offset of each sample, and of the end   the configuration as JSON   samples
 *
 * A sample is a u32 length of each column of variable size, then the values. The format has no null: a column that has some is followed by
 * another one, `<name>.is_null`, and holds zeros or nothing in their place. `index.json` names the shards with their sizes and hashes.
 */

export interface MdsOptions {
  zstd?: boolean;
  /** Recorded in the index, as the writer of MosaicML does. */
  shardBytes: number;
}

interface Slot {
  name: string;
  encoding: string;
  /** Bytes of every value; undefined when they differ. */
  size: number | undefined;
  /** Place of its column in the batch. */
  at: number;
  write: (out: ByteWriter, column: FlatColumn, row: number) => void;
}

type Scalar = "uint8" | "int32" | "int64" | "float32" | "float64";
const widths: Record<Scalar, number> = { uint8: 1, int32: 4, int64: 8, float32: 4, float64: 8 };

const scalars: Partial<Record<string, [Scalar, meaning?: string]>> = {
  boolean: ["uint8", "0 or 1"],
  int: ["int32"],
  long: ["int64"],
  float: ["float32"],
  double: ["float64"],
  date: ["int32", "days since 1970-01-01"],
  time: ["int64", "microseconds since midnight"],
  timestamp: ["int64", "microseconds since 1970-01-01, no zone"],
  timestamptz: ["int64", "microseconds since 1970-01-01 UTC"],
};

const scalarOf = (type: DataType): [Scalar, meaning?: string] | undefined =>
  typeof type === "string" ? scalars[type] : undefined;

export function mdsFormat(columns: readonly MeasuredColumn[], options: MdsOptions): SampleFormat {
  const plans = columns.map(planOf);
  const slots: Slot[] = [];
  const names = new Set(columns.map(({ name }) => name));
  for (const [at, column] of columns.entries()) {
    const { encoding, size, write } = plans[at]!;
    slots.push({ name: column.name, encoding, size, at, write });
    if (!plans[at]!.marked) continue;
    const name = `${column.name}.is_null`;
    if (names.has(name)) {
      throw new MillraceError(
        "unsupported",
        `the column \`${name}\` has the name that the nulls of \`${column.name}\` need`,
        {
          where: { column: column.name },
          hint: "rename it in the flow's transform, or leave one of them out with `--columns`",
        },
      );
    }
    const mark = (out: ByteWriter, value: FlatColumn, row: number): void =>
      out.byte(isPresent(value.validity, row) ? 0 : 1);
    slots.push({ name, encoding: "uint8", size: 1, at, write: mark });
  }
  const variable = slots.filter(({ size }) => size === undefined).length;
  const header = {
    column_encodings: slots.map(({ encoding }) => encoding),
    column_names: slots.map(({ name }) => name),
    column_sizes: slots.map(({ size }) => size ?? null),
    compression: options.zstd === true ? "zstd" : null,
    format: "mds",
    hashes: ["sha256"],
    size_limit: options.shardBytes,
    version: 2,
  };
  const configuration = Buffer.from(JSON.stringify(header));
  const rawName = (shard: number): string => `shard.${String(shard).padStart(5, "0")}.mds`;
  return {
    fields: plans.map(({ sql, bytes }) => ({ sql, bytes })),
    written: columns.map((column, index): WrittenField => {
      const { encoding, meaning, marked } = plans[index]!;
      return {
        column: column.name,
        as: encoding,
        ...(meaning !== undefined && { meaning }),
        ...(column.facts.nulls > 0 && { null: marked ? `\`${column.name}.is_null\` is 1` : "null in the JSON" }),
      };
    }),
    fileName: (shard) => (options.zstd === true ? `${rawName(shard)}.zstd` : rawName(shard)),
    overhead: { shard: 8 + configuration.length, sample: 4 },
    encode({ columns: batch }, row, out) {
      const sizes = out.length;
      out.zeros(variable * 4);
      let next = sizes;
      for (const { at, size, write } of slots) {
        const before = out.length;
        write(out, batch[at]!, row);
        if (size === undefined) next = out.bytes.writeUInt32LE(out.length - before, next);
      }
    },
    async seal(samples, offsets) {
      const head = Buffer.alloc(4 + (offsets.length + 1) * 4);
      const begin = head.length + configuration.length;
      if (begin + samples.length > 0xffffffff) {
        throw new MillraceError("limit", "a shard of MDS holds at most 4 GB, and this one is larger", {
          hint: "begin new ones earlier: `--shard-size 64MB`",
        });
      }
      head.writeUInt32LE(offsets.length, 0);
      for (const [index, offset] of [...offsets, samples.length].entries()) {
        head.writeUInt32LE(begin + offset, 4 + index * 4);
      }
      const raw = Buffer.concat([head, configuration, samples]);
      if (options.zstd !== true) return { bytes: raw };
      // MosaicML's reader takes the length from the frame.
      return { bytes: await promisify(zstdCompress)(raw, { pledgedSrcSize: raw.length }), raw };
    },
    beside: (shards) => [{ name: "index.json", bytes: indexOf(shards, header, rawName) }],
  };
}

function indexOf(shards: readonly SealedShard[], header: object, rawName: (shard: number) => string): Uint8Array {
  const described = shards.map(({ name, rows, bytes, sha256, raw }, index) => {
    const file = { basename: name, bytes, hashes: { sha256 } };
    const rawData =
      raw === undefined ? file : { basename: rawName(index), bytes: raw.bytes, hashes: { sha256: raw.sha256 } };
    return { ...header, raw_data: rawData, samples: rows, zip_data: raw === undefined ? null : file };
  });
  return Buffer.from(JSON.stringify({ shards: described, version: 2 }));
}

interface Plan extends Pick<Slot, "encoding" | "size" | "write"> {
  sql: Sql;
  bytes: boolean;
  meaning?: string | undefined;
  /** Followed by a column that says which are null. */
  marked: boolean;
}

function planOf(column: MeasuredColumn): Plan {
  const { type, facts } = column;
  const name = sqlName(column.name);
  const marked = facts.nulls > 0;
  const scalar = scalarOf(type);
  if (scalar !== undefined) {
    const [encoding, meaning] = scalar;
    const size = widths[encoding];
    return { sql: name, bytes: false, encoding, size, meaning, marked, write: writeScalar(size) };
  }
  if (typeof type === "string") {
    if (type === "binary")
      return { sql: name, bytes: true, encoding: "bytes", size: undefined, marked, write: writeBytes };
    const isDecimal = type.startsWith("decimal");
    return {
      sql: type === "string" ? `encode(${name})` : `encode(${name}::VARCHAR)`,
      bytes: true,
      encoding: isDecimal ? "str_decimal" : "str",
      size: undefined,
      marked,
      write: isDecimal ? writeDecimal : writeBytes,
    };
  }
  const element = type.type === "list" ? scalarOf(type.element) : undefined;
  if (element !== undefined && facts.list?.nulls === 0) {
    const [scalarName, meaning] = element;
    const { shortest, longest } = facts.list;
    const length = shortest === longest && longest > 0 ? longest : undefined;
    const width = widths[scalarName];
    const base = { sql: name, bytes: false, meaning, marked };
    return length === undefined
      ? { ...base, encoding: `ndarray:${scalarName}`, size: undefined, write: writeArray(width) }
      : {
          ...base,
          encoding: `ndarray:${scalarName}:${length}`,
          size: length * width,
          write: writeTensor(width, length),
        };
  }
  const json = `coalesce(${jsonBytes(column)}, 'null'::BLOB)`;
  return { sql: json, bytes: true, encoding: "json", size: undefined, marked: false, write: writeBytes };
}

const writeScalar =
  (width: number): Slot["write"] =>
  (out, column, row) => {
    if (!isPresent(column.validity, row) || column.kind !== "fixed") {
      out.zeros(width);
      return;
    }
    const { values } = column;
    out.pushRange(bytesOf(values), row * width, row * width + width);
  };

const writeBytes: Slot["write"] = (out, column, row) => {
  if (column.kind === "slices") out.pushRange(column.bytes, column.starts[row]!, column.ends[row]!);
};

const zero = Buffer.from("0");
const writeDecimal: Slot["write"] = (out, column, row) => {
  if (isPresent(column.validity, row)) writeBytes(out, column, row);
  else out.push(zero);
};

/** `[ndim · 4 + width of the shape] [shape] [elements]`: the width is 0 for u8, 1 for u16, 2 for u32. */
const writeArray =
  (width: number): Slot["write"] =>
  (out, column, row) => {
    const [from, to] = rangeOf(column, row);
    const count = to - from;
    const shape = count < 1 << 8 ? 0 : count < 1 << 16 ? 1 : 2;
    out.byte(4 + shape);
    for (let byte = 0; byte < 1 << shape; byte++) out.byte((count >>> (8 * byte)) & 0xff);
    writeElements(out, column, from, to, width);
  };

const writeTensor =
  (width: number, length: number): Slot["write"] =>
  (out, column, row) => {
    const [from, to] = rangeOf(column, row);
    if (to === from) out.zeros(width * length);
    else writeElements(out, column, from, to, width);
  };

const rangeOf = (column: FlatColumn, row: number): [number, number] =>
  column.kind === "list" ? [column.offsets[row]!, column.offsets[row + 1]!] : [0, 0];

function writeElements(out: ByteWriter, column: FlatColumn, from: number, to: number, width: number): void {
  if (column.kind !== "list" || column.elements.kind !== "fixed" || from === to) return;
  out.pushRange(bytesOf(column.elements.values), from * width, to * width);
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);
