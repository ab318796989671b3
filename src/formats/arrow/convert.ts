import { createReadStream } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { zstdDecompressSync } from "node:zlib";
import * as arrow from "apache-arrow";
import { isMillraceError, MillraceError, messageOf, type Converted, type FileRef } from "../../core/index.ts";
import { decodeLz4Frame } from "../../sandbox/lz4.ts";
import { headerOf, jsonText, placesOf, RowWriter, type ConvertOptions } from "../values.ts";
import { columnsOf, getterOf } from "./types.ts";

/** Files up to this size are read whole, by their footer; larger ones as the stream that is in them. */
const wholeBytes = 256 * 1024 * 1024;
const maximumBuffer = 512 * 1024 * 1024;

arrow.compressionRegistry.set(arrow.CompressionType.ZSTD, {
  decode: (bytes) => zstdDecompressSync(bytes, { maxOutputLength: maximumBuffer }),
});
arrow.compressionRegistry.set(arrow.CompressionType.LZ4_FRAME, {
  decode: (bytes) => decodeLz4Frame(bytes, maximumBuffer),
});

/** Arrow IPC, file or stream (https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc). */
export default async function* convert(file: FileRef, options: ConvertOptions): AsyncIterable<Converted> {
  await refuseBigEndian(file);
  const reader = await openReader(file);
  const all = columnsOf(reader.schema.fields);
  if (options.columns_only) {
    yield headerOf(all);
    return;
  }
  const columns = options.columns ?? all;
  const places = placesOf(
    columns,
    all.map((column) => column.name),
  );
  const writer = new RowWriter(columns);
  yield headerOf(columns);
  let row = 0;
  for await (const batch of reader as AsyncIterable<arrow.RecordBatch>) {
    const children = batch.data.children as arrow.Data[];
    const getters = places.map((place) => (place < 0 ? () => null : getterOf(children[place]!)));
    for (const place of places) {
      // A damaged file may say more rows than its columns have, which the library would give as nulls.
      if (place >= 0 && children[place]!.length < batch.numRows) {
        throw new MillraceError(
          "parse",
          `the column \`${all[place]!.name}\` has ${children[place]!.length} values in a batch of ${batch.numRows} rows`,
        );
      }
    }
    for (let index = 0; index < batch.numRows; index++) {
      row++;
      try {
        writer.add(getters.map((get) => get(index)));
      } catch (error) {
        // A value that cannot be represented spoils its row; anything else says that the file is damaged.
        if (!isMillraceError(error))
          throw new MillraceError("parse", `row ${row}: the data does not fit the schema (${messageOf(error)})`, {
            cause: error,
          });
        const record = safely(() =>
          jsonText(
            "string",
            new Map(
              all.map((column, place) => [
                column.name,
                children[place] ? String(new arrow.Vector([children[place]]).get(index)) : null,
              ]),
            ),
          ),
        );
        yield { rejected: { reason: messageOf(error), origin: `${file.name}:row ${row}`, record } };
        continue;
      }
      const bytes = writer.take();
      if (bytes !== undefined) yield bytes;
    }
  }
  const rest = writer.take(true);
  if (rest !== undefined) yield rest;
  yield { rows: row };
}

async function openReader(file: FileRef): Promise<arrow.RecordBatchReader | arrow.AsyncRecordBatchStreamReader> {
  const { size } = await stat(file.path);
  if (size <= wholeBytes) {
    const reader = arrow.RecordBatchReader.from(new Uint8Array(await readFile(file.path)));
    reader.open({ autoDestroy: true });
    // The library's type does not say that a file without a schema message has none.
    if ((reader.schema as arrow.Schema | undefined) === undefined) throw new MillraceError("parse", "it has no schema");
    return reader;
  }
  const handle = await open(file.path);
  const magic = Buffer.alloc(6);
  await handle.read(magic, 0, 6, 0);
  await handle.close();
  // A file is 8 bytes of magic, the stream, and a footer.
  const start = magic.toString("latin1") === "ARROW1" ? 8 : 0;
  const reader = await arrow.RecordBatchReader.from(
    createReadStream(file.path, { start, highWaterMark: 1024 * 1024 }) as AsyncIterable<Uint8Array>,
  );
  return (await reader.open({ autoDestroy: true })) as arrow.AsyncRecordBatchStreamReader;
}

/** The library takes every file for little-endian, whatever its schema says, and would give wrong numbers. */
async function refuseBigEndian(file: FileRef): Promise<void> {
  const handle = await open(file.path);
  try {
    const head = Buffer.alloc(64 * 1024);
    const { bytesRead } = await handle.read(head, 0, head.length, 0);
    let start = head.toString("latin1", 0, 6) === "ARROW1" ? 8 : 0;
    if (bytesRead < start + 16) return;
    if (head.readUInt32LE(start) === 0xffffffff) start += 4;
    const length = head.readUInt32LE(start);
    if (length > bytesRead - start - 4) return;
    if (isBigEndian(head.subarray(start + 4, start + 4 + length))) {
      throw new MillraceError("unsupported", `\`${file.name}\` is a big-endian Arrow file, which cannot be read`, {
        where: { file: file.name },
        hint: "write it again on a little-endian machine, or as Parquet",
      });
    }
  } finally {
    await handle.close();
  }
}

/** message.fbs: `union MessageHeader { Schema, … }`, counted from 1. */
const schemaHeader = 1;

/** message.fbs: `table Message { version; header_type; header; bodyLength }`, schema.fbs: `table Schema { endianness; … }` */
function isBigEndian(bytes: Buffer): boolean {
  try {
    const message = bytes.readInt32LE(0);
    // Some writers leave the schema out at the beginning of a file, which then begins with a batch of rows.
    const type = fieldOffset(bytes, message, 6);
    if (type === 0 || bytes.readUInt8(message + type) !== schemaHeader) return false;
    const header = message + fieldOffset(bytes, message, 8);
    const schema = header + bytes.readInt32LE(header);
    const endianness = fieldOffset(bytes, schema, 4);
    return endianness !== 0 && bytes.readInt16LE(schema + endianness) === 1;
  } catch {
    // Offsets that lead out of the message: the library says what is wrong with it.
    return false;
  }
}

/** The offset of a field within a table, 0 when it is absent: https://flatbuffers.dev/internals/ */
function fieldOffset(bytes: Buffer, table: number, slot: number): number {
  const vtable = table - bytes.readInt32LE(table);
  return slot < bytes.readInt16LE(vtable) ? bytes.readInt16LE(vtable + slot) : 0;
}

function safely(action: () => string): string {
  try {
    return action();
  } catch {
    return "";
  }
}
