import { MillraceError, type Store, messageOf } from "../../core/index.ts";

/*
 * As much of a Parquet footer as tells the number of rows and whether columns carry field ids. Thrift compact protocol:
 * https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 *
 *   file   = … FileMetaData, length (4 bytes little-endian), "PAR1"
 *   FileMetaData { 1: i32 version, 2: list<SchemaElement> schema, 3: i64 num_rows, … }
 *   SchemaElement { …, 5: i32 num_children, …, 9: i32 field_id, … }; the first is the root
 */

/** Footers are held to this size. */
const maximumFooter = 64 * 1024 * 1024;

/** True when any column of the file has a field id. Throws `corrupt` when the footer cannot be read. */
export function hasFieldIds(store: Store, path: string): Promise<boolean> {
  return readFooter(store, path, anyFieldId);
}

/** Rows of the file, as its footer says. Throws `corrupt` when the footer cannot be read. */
export function rowCount(store: Store, path: string): Promise<number> {
  return readFooter(store, path, (footer) => {
    let rows: number | undefined;
    footer.struct((field, type) => {
      if (field === 3 && type === types.i64) rows = footer.long();
      else footer.skip(type);
    });
    if (rows === undefined) throw new Error("its footer does not say how many rows it has");
    return rows;
  });
}

async function readFooter<T>(store: Store, path: string, read: (footer: Compact) => T): Promise<T> {
  await using file = await store.open(path);
  try {
    if (file.size < 12) throw new Error("it is too short");
    const tail = Buffer.from(await file.read(file.size - 8, 8));
    const length = tail.readUInt32LE();
    if (tail.toString("latin1", 4) !== "PAR1") throw new Error("it does not end with `PAR1`");
    if (length + 12 > file.size || length > maximumFooter)
      throw new Error(`its footer of ${length} bytes does not fit`);
    return read(new Compact(Buffer.from(await file.read(file.size - 8 - length, length))));
  } catch (cause) {
    throw new MillraceError("corrupt", `\`${path}\` is not a readable Parquet file: ${messageOf(cause)}`, {
      cause,
      where: { file: path },
    });
  }
}

function anyFieldId(footer: Compact): boolean {
  let found = false;
  footer.struct((field, type) => {
    if (field !== 2 || type !== types.list) return footer.skip(type);
    footer.list(() => {
      footer.struct((inner, innerType) => {
        if (inner === 9) found = true;
        footer.skip(innerType);
      });
    });
  });
  return found;
}

const types = {
  true: 1,
  false: 2,
  byte: 3,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  set: 10,
  map: 11,
  struct: 12,
} as const;

class Compact {
  readonly #bytes: Buffer;
  #offset = 0;
  #depth = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  #byte(): number {
    const byte = this.#bytes[this.#offset++];
    if (byte === undefined) throw new Error("its footer is cut");
    return byte;
  }

  #varint(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 70; factor *= 128) {
      const byte = this.#byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw new Error("its footer has a number that does not end");
  }

  /** An integer of any width, zigzag. */
  long(): number {
    const zigzag = this.#varint();
    return zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
  }

  /** Calls back for each field; the callback must consume the value. */
  struct(onField: (field: number, type: number) => void): void {
    if (++this.#depth > 64) throw new Error("its footer is nested too deeply");
    for (let field = 0; ;) {
      const header = this.#byte();
      if (header === 0) break;
      field = header >> 4 === 0 ? this.long() : field + (header >> 4);
      onField(field, header & 0x0f);
    }
    this.#depth--;
  }

  /** Calls back for each element; the callback must consume it. */
  list(onElement: (type: number) => void): void {
    const header = this.#byte();
    const size = header >> 4 === 15 ? this.#varint() : header >> 4;
    for (let index = 0; index < size; index++) onElement(header & 0x0f);
  }

  skip(type: number, inList = false): void {
    switch (type) {
      case types.true:
      case types.false:
        // A boolean field is its type; a boolean element is a byte.
        if (inList) this.#byte();
        return;
      case types.byte:
        this.#byte();
        return;
      case types.double:
        this.#offset += 8;
        return;
      case types.binary: {
        const length = this.#varint();
        this.#offset += length;
        return;
      }
      case types.list:
      case types.set:
        return this.list((element) => this.skip(element, true));
      case types.struct:
        return this.struct((_field, inner) => this.skip(inner));
      case types.map: {
        const size = this.#varint();
        const pair = size > 0 ? this.#byte() : 0;
        for (let index = 0; index < size; index++) {
          this.skip(pair >> 4, true);
          this.skip(pair & 0x0f, true);
        }
        return;
      }
      default:
        if (type < 4 || type > 6) throw new Error(`its footer has the unknown type ${type}`);
        this.#varint();
    }
  }
}
