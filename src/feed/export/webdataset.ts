import { MillraceError, sqlName, suggestion, type Column, type DataType, type Sql } from "../../core/index.ts";
import { isPresent } from "../../engine/index.ts";
import type { FlatColumn, FlatField } from "./flat.ts";
import type { MeasuredColumn, SampleFormat, WrittenField } from "./format.ts";
import { jsonBytes, jsonObjectBytes } from "./json-sql.ts";
import { npyHeader, npyType } from "./npy.ts";
import { tarEnd, tarMember } from "./tar.ts";

/*
 * WebDataset (https://github.com/webdataset/webdataset): tar archives in which neighbouring members of one name, up to its first dot, are a
 * sample, and what follows the dot says how to decode: `000000042.jpg`, `000000042.cls`, `000000042.json`.
 */

export interface WebdatasetOptions {
  /** Column → extension, for columns that are files of their own. Binary columns are without being named. */
  files?: Readonly<Record<string, string>>;
  /** Column that names the samples. Default: their place in the export. */
  key?: string;
}

interface Member {
  extension: string;
  field: FlatField;
  as: string;
  column: MeasuredColumn;
}

export function webdatasetFormat(columns: readonly MeasuredColumn[], options: WebdatasetOptions): SampleFormat {
  const files = options.files ?? {};
  for (const name of Object.keys(files)) columnOf(columns, name);
  const chosen = columns.filter(({ name, type }) => Object.hasOwn(files, name) || type === "binary");
  const inJson = columns.filter((column) => !chosen.includes(column));
  const members = chosen.map((column): Member => {
    const extension = files[column.name] ?? column.facts.media ?? "bin";
    if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(extension)) {
      throw new MillraceError("usage", `\`${extension}\` is no extension of a file`, {
        where: { column: column.name },
        hint: `write \`--as ${column.name}=jpg\``,
      });
    }
    return { extension, field: fieldOf(column, extension), as: extension, column };
  });
  const taken = new Map<string, number>([["json", inJson.length > 0 ? 1 : 0]]);
  for (const { extension } of members) taken.set(extension, (taken.get(extension) ?? 0) + 1);
  const suffixes = members.map(({ extension, column }) =>
    Buffer.from(taken.get(extension)! > 1 ? `.${safeName(column.name)}.${extension}` : `.${extension}`),
  );
  assertDistinct(suffixes.map(String), members);

  const fields: FlatField[] = members.map(({ field }) => field);
  if (inJson.length > 0) fields.push({ sql: jsonObjectBytes(inJson), bytes: true });
  if (options.key !== undefined) {
    fields.push({ sql: `encode(${sqlName(columnOf(columns, options.key).name)}::VARCHAR)`, bytes: true });
  }
  const keyAt = options.key === undefined ? -1 : fields.length - 1;
  const json = Buffer.from(".json");
  const nothing = Buffer.from("{}");
  return {
    fields,
    written: columns.map((column): WrittenField => {
      const index = members.findIndex((member) => member.column === column);
      const place = index < 0 ? "json" : String(suffixes[index]).slice(1);
      return {
        column: column.name,
        name: place,
        as: index < 0 ? "json" : members[index]!.as,
        ...(column.facts.nulls > 0 && { null: index < 0 ? "null" : "the file is absent" }),
      };
    }),
    tail: tarEnd,
    fileName: (shard) => `${String(shard).padStart(6, "0")}.tar`,
    encode({ columns: batch }, row, out, index) {
      const key = keyAt < 0 ? Buffer.from(String(index).padStart(9, "0")) : sliceOf(batch[keyAt]!, row);
      let isEmpty = inJson.length === 0;
      for (const [at, { column }] of members.entries()) {
        const value = batch[at]!;
        if (!isPresent(value.validity, row)) continue;
        isEmpty = false;
        const name = Buffer.concat([key, suffixes[at]!]);
        if (value.kind === "slices") tarMember(out, name, value.bytes, value.starts[row]!, value.ends[row]!);
        else tarMember(out, name, npyOf(value, row, column.type));
      }
      if (inJson.length > 0) {
        const value = batch[members.length]!;
        if (value.kind === "slices") {
          tarMember(out, Buffer.concat([key, json]), value.bytes, value.starts[row]!, value.ends[row]!);
        }
      } else if (isEmpty) tarMember(out, Buffer.concat([key, json]), nothing);
    },
  };
}

/** What a key must be: a predicate that is true for values that cannot name a sample. */
export const unusableKey = (key: string): Sql => {
  const text = `${sqlName(key)}::VARCHAR`;
  // The first dot ends the name; what begins with `/` or goes up would be unpacked elsewhere.
  return `(${text} IS NULL OR ${text} = '' OR regexp_matches(${text}, '[.\\x00-\\x1f]|^/|/$|//'))`;
};

function columnOf(columns: readonly MeasuredColumn[], name: string): MeasuredColumn {
  const column = columns.find((each) => each.name === name);
  if (column) return column;
  throw new MillraceError("usage", `there is no column \`${name}\` to export`, {
    where: { column: name },
    hint: suggestion(
      name,
      columns.map((each) => each.name),
    ),
  });
}

function sliceOf(column: FlatColumn, row: number): Uint8Array {
  if (column.kind !== "slices") throw new MillraceError("internal", "a key is text");
  return column.bytes.subarray(column.starts[row], column.ends[row]);
}

/** A name in the middle of a file name; others would end it or lead elsewhere. */
const safeName = (name: string): string => name.replaceAll(/[^\p{L}\p{N}_-]/gu, "_");

function assertDistinct(names: readonly string[], members: readonly Member[]): void {
  for (const [index, name] of names.entries()) {
    const first = names.indexOf(name);
    if (first === index) continue;
    const [left, right] = [members[first]!.column.name, members[index]!.column.name];
    throw new MillraceError("usage", `the columns \`${left}\` and \`${right}\` would both be the file \`${name}\``, {
      where: { column: right },
      hint: `give one of them an extension of its own: \`--as ${right}=${members[index]!.extension}2\``,
    });
  }
}

const whole = new Set<DataType>(["boolean", "int", "long"]);

function fieldOf(column: Column, extension: string): FlatField {
  const name = sqlName(column.name);
  const { type } = column;
  const last = extension.slice(extension.lastIndexOf(".") + 1);
  const refuse = (needs: string): MillraceError =>
    new MillraceError("usage", `\`${column.name}\` cannot be a file of type \`${extension}\`, which holds ${needs}`, {
      where: { column: column.name },
      hint: `leave out \`--as ${column.name}=${extension}\`: it is then part of the sample's JSON`,
    });
  switch (last) {
    case "cls":
    case "cls2":
    case "index":
    case "inx":
      if (!whole.has(type)) throw refuse("a whole number");
      return { sql: `encode(${name}::BIGINT::VARCHAR)`, bytes: true };
    case "npy":
      if (npyType(type) === undefined) throw refuse("a list of numbers");
      return { sql: name, bytes: false };
    case "json":
    case "jsn":
      return { sql: jsonBytes(column), bytes: true };
    default:
      if (type === "binary") return { sql: name, bytes: true };
      if (typeof type !== "string") return { sql: jsonBytes(column), bytes: true };
      return { sql: `encode(${name}::VARCHAR)`, bytes: true };
  }
}

function npyOf(value: FlatColumn, row: number, type: DataType): Uint8Array {
  if (value.kind !== "list" || value.elements.kind !== "fixed")
    throw new MillraceError("internal", "an array is a list");
  const [from, to] = [value.offsets[row]!, value.offsets[row + 1]!];
  const { values } = value.elements;
  const each = values.BYTES_PER_ELEMENT;
  const bytes = new Uint8Array(values.buffer, values.byteOffset + from * each, (to - from) * each);
  return Buffer.concat([npyHeader(npyType(type)!, to - from), bytes]);
}
