import * as arrow from "apache-arrow";
import type { Column, DataType } from "../../core/index.ts";
import { dateText, decimalText, exactMicros, jsonText, Pairs, timestampText, timeText } from "../values.ts";
import { uniqueNames } from "../sql.ts";

/** The dataset's type for one of Arrow's (https://arrow.apache.org/docs/format/Columnar.html). Unions and intervals become text. */
export function typeOf(type: arrow.DataType): DataType {
  if (arrow.DataType.isInt(type)) {
    if (type.bitWidth < 32 || (type.bitWidth === 32 && type.isSigned)) return "int";
    return type.bitWidth === 64 && !type.isSigned ? "decimal(20,0)" : "long";
  }
  if (arrow.DataType.isFloat(type)) return type.precision === arrow.Precision.DOUBLE ? "double" : "float";
  if (arrow.DataType.isBool(type)) return "boolean";
  if (arrow.DataType.isBinary(type) || arrow.DataType.isLargeBinary(type) || arrow.DataType.isFixedSizeBinary(type))
    return "binary";
  if (arrow.DataType.isDecimal(type)) {
    return type.precision <= 38 && type.scale >= 0 && type.scale <= type.precision
      ? `decimal(${type.precision},${type.scale})`
      : "string";
  }
  if (arrow.DataType.isDate(type)) return "date";
  if (arrow.DataType.isTime(type)) return "time";
  if (arrow.DataType.isTimestamp(type)) return type.timezone ? "timestamptz" : "timestamp";
  if (arrow.DataType.isDuration(type)) return "long";
  if (arrow.DataType.isDictionary(type)) return typeOf(type.dictionary as arrow.DataType);
  if (arrow.DataType.isMap(type)) {
    const [key, value] = (type.children[0]!.type as arrow.Struct).children;
    return { type: "map", key: typeOf(key!.type as arrow.DataType), value: typeOf(value!.type as arrow.DataType) };
  }
  if (isList(type)) return { type: "list", element: typeOf(type.children[0]!.type as arrow.DataType) };
  if (arrow.DataType.isStruct(type)) {
    if (type.children.length === 0) return "string";
    return { type: "struct", fields: columnsOf(type.children) };
  }
  return "string";
}

function isList(type: arrow.DataType): boolean {
  return arrow.DataType.isList(type) || arrow.DataType.isLargeList(type) || arrow.DataType.isFixedSizeList(type);
}

export function columnsOf(fields: readonly arrow.Field[]): Column[] {
  const names = uniqueNames(fields.map((field) => field.name));
  return fields.map((field, index) => {
    const type = field.type as arrow.DataType;
    const unit = arrow.DataType.isDuration(type) ? arrow.TimeUnit[type.unit]!.toLowerCase() : undefined;
    return {
      name: names[index]!,
      type: typeOf(type),
      ...(unit === undefined ? {} : { doc: `duration in units of one ${unit}` }),
    };
  });
}

type Get = (index: number) => unknown;

const unitMicros: Record<arrow.TimeUnit, (value: bigint) => bigint> = {
  [arrow.TimeUnit.SECOND]: (value) => value * 1_000_000n,
  [arrow.TimeUnit.MILLISECOND]: (value) => value * 1000n,
  [arrow.TimeUnit.MICROSECOND]: (value) => value,
  [arrow.TimeUnit.NANOSECOND]: exactMicros,
};

/** Reads values of one chunk as canonical ones: from its buffers, because the library's own getters round times and decimals. */
export function getterOf(data: arrow.Data): Get {
  const get = rawGetter(data);
  return (index) => (data.getValid(index) ? get(index) : null);
}

function rawGetter(data: arrow.Data): Get {
  const type = data.type as arrow.DataType;
  const values = data.values as ArrayLike<number> & ArrayLike<bigint>;
  const vector = (): arrow.Vector => new arrow.Vector([data]);
  if (arrow.DataType.isNull(type)) return () => null;
  if (arrow.DataType.isInt(type) || arrow.DataType.isDuration(type)) return (index) => values[index];
  if (arrow.DataType.isFloat(type) && type.precision !== arrow.Precision.HALF) return (index) => values[index];
  if (arrow.DataType.isDecimal(type)) return decimalGetter(data.values as Uint32Array, type);
  if (arrow.DataType.isDate(type)) {
    return type.unit === arrow.DateUnit.DAY
      ? (index) => dateText(Number(values[index]))
      : (index) => dateText(Math.floor(Number(values[index]) / 86_400_000));
  }
  if (arrow.DataType.isTime(type)) {
    const micros = unitMicros[type.unit as arrow.TimeUnit];
    return (index) => timeText(micros(BigInt(values[index]!)));
  }
  if (arrow.DataType.isTimestamp(type)) {
    const micros = unitMicros[type.unit];
    const zone = Boolean(type.timezone);
    return (index) => timestampText(micros(BigInt(values[index]!)), zone);
  }
  if (arrow.DataType.isDictionary(type)) {
    const dictionary = data.dictionary as arrow.Vector | undefined;
    if (dictionary === undefined) throw new Error("a dictionary that the file refers to is not in it");
    const chunks = dictionary.data.map((chunk) => ({ length: chunk.length, get: getterOf(chunk as arrow.Data) }));
    return (index) => {
      let key = Number(values[index]);
      for (const chunk of chunks) {
        if (key >= 0 && key < chunk.length) return chunk.get(key);
        key -= chunk.length;
      }
      throw new Error(`the dictionary has no entry ${Number(values[index])}`);
    };
  }
  if (arrow.DataType.isStruct(type)) {
    const names = uniqueNames(type.children.map((field) => field.name));
    const children = data.children.map((child) => getterOf(child as arrow.Data));
    return (index) => new Map(children.map((get, child) => [names[child]!, get(index)]));
  }
  if (arrow.DataType.isMap(type)) {
    const [key, value] = (data.children[0] as arrow.Data).children.map((child) => getterOf(child as arrow.Data));
    const range = rangeOf(data);
    return (index) => new Pairs(listed(range(index), (each) => [key!(each), value!(each)] as [unknown, unknown]));
  }
  if (isList(type)) {
    const element = getterOf(data.children[0] as arrow.Data);
    const range = arrow.DataType.isFixedSizeList(type)
      ? (index: number): [number, number] => [index * type.listSize, (index + 1) * type.listSize]
      : rangeOf(data);
    return (index) => listed(range(index), element);
  }
  if (arrow.DataType.isUnion(type)) {
    const whole = vector();
    return (index) => plain(whole.get(index));
  }
  const whole = vector();
  if (arrow.DataType.isInterval(type)) return (index) => plain(Array.from(whole.get(index) as ArrayLike<number>));
  // Booleans, half floats, text and bytes: nothing is lost in the library's getters.
  return (index) => whole.get(index);
}

function rangeOf(data: arrow.Data): (index: number) => [number, number] {
  const offsets = data.valueOffsets as unknown as ArrayLike<number | bigint>;
  const limit = (data.children[0] as arrow.Data).length;
  return (index) => {
    const start = Number(offsets[index]);
    const end = Number(offsets[index + 1]);
    if (!(start >= 0 && start <= end && end <= limit)) throw new Error(`list ${index} lies outside of its values`);
    return [start, end];
  };
}

function listed<T>([start, end]: [number, number], get: (index: number) => T): T[] {
  const result: T[] = [];
  for (let index = start; index < end; index++) result.push(get(index));
  return result;
}

function decimalGetter(words: Uint32Array, type: arrow.Decimal): Get {
  const count = type.bitWidth / 32;
  return (index) => {
    let value = 0n;
    for (let word = count - 1; word >= 0; word--) value = (value << 32n) | BigInt(words[index * count + word]!);
    return decimalText(BigInt.asIntN(type.bitWidth, value), type.scale);
  };
}

/** What has no column type, as JSON text. */
function plain(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return value;
  const canonical = value instanceof arrow.Vector ? [...value] : value;
  return jsonText("string", canonical);
}
