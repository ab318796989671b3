import { RecordBatchStreamWriter, type Schema } from "apache-arrow";
import { gather, type FeedColumn } from "../feed/batch.ts";
import { feedSchema, toRecordBatch } from "../feed/record-batch.ts";
import { chosenReaders } from "./lookup.ts";
import type { EntityIndex, Found } from "./entity-index.ts";

/** Bytes of all records that were found. */
export function foundBytes(found: Found): number {
  let bytes = 0;
  for (const base of found.bases) if (base >= 0) bytes += found.view.getUint32(base, true);
  return bytes;
}

/*
 * The packed form: records as they lie in the index, so that nothing is made anew. All numbers little endian.
 *
 *   u32 number of keys      u32 zero
 *   u32 for each key        where its record begins in the body, a multiple of 8; 0: there is none
 *   (padded to 8 bytes)
 *   records                 u32 length, u32 CRC-32 of the rest, a bit a column (1 = present) padded to 8, slots, bytes of strings and lists
 */
export function packedForm(found: Found): Buffer {
  const keys = found.bases.length;
  const start = 8 + Math.ceil(keys / 2) * 8;
  const body = Buffer.allocUnsafe(start + foundBytes(found));
  body.fill(0, 0, start);
  body.writeUInt32LE(keys, 0);
  let used = start;
  for (const [place, base] of found.bases.entries()) {
    if (base < 0) continue;
    const length = found.view.getUint32(base, true);
    body.writeUInt32LE(used, 8 + place * 4);
    found.bytes.copy(body, used, base, base + length);
    used += length;
  }
  return body;
}

/**
 * One record batch as an Arrow IPC stream, a row a key; of a key that is not there all columns are null, those of the key too. Schemas hold
 * the version, the time of it, and the places of missing keys as metadata.
 */
export function arrowForm(
  index: EntityIndex,
  found: Found,
  columns: readonly string[] | undefined,
  metadata: Record<string, string>,
): Uint8Array {
  const names = chosenReaders(index, columns).map((reader) => reader.name);
  const all = new Map(foundColumns(index, found).map((column) => [column.name, column]));
  const chosen = names.map((name) => all.get(name)!);
  const schema: Schema = feedSchema(chosen, {}, metadata);
  const batch = { step: 0, epoch: 0, rows: found.bases.length, columns: chosen };
  const writer = new RecordBatchStreamWriter();
  writer.reset(undefined, schema);
  writer.write(toRecordBatch(schema, batch));
  writer.finish();
  return writer.toUint8Array(true);
}

/** An arena with the records that were found, after one in which every column is null: the place of those that were not. */
function withNullRecord(index: EntityIndex, found: Found): { arena: Uint8Array; bases: Float64Array } {
  const arena = new Uint8Array(index.layout.fixedBytes + foundBytes(found));
  let used = index.layout.fixedBytes;
  const bases = found.bases.map((base) => {
    if (base < 0) return 0;
    const at = used;
    const length = found.view.getUint32(base, true);
    arena.set(found.arena.subarray(base, base + length), at);
    used += length;
    return at;
  });
  return { arena, bases };
}

function foundColumns(index: EntityIndex, found: Found): FeedColumn[] {
  const { arena, bases } = withNullRecord(index, found);
  // Lists of one length would need room for the missing too, so they are given with offsets.
  const seen = index.layout.columns.map(() => ({ nulls: true, listLength: null }));
  return gather(index.layout, seen, arena, bases);
}
