import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Sql } from "../../core/index.ts";
import type { Engine } from "../../engine/index.ts";
import { ByteWriter } from "./bytes.ts";
import { flatBatches } from "./flat.ts";
import type { SampleFormat, SealedShard } from "./format.ts";
import { createShardFile, type ExportedFile, type ShardFile } from "./shard.ts";

export interface SampleTarget {
  /** Local folder for the shards; made when absent. */
  folder: string;
  /** What stands before the names in `ExportedFile.path`: `train/`, or nothing. */
  prefix: string;
  /** A shard is at most this long before compression, unless one sample is longer. */
  shardBytes: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((rows: number, bytes: number) => void) | undefined;
}

/** Bytes that are gathered before they go to the file. */
const flushBytes = 1 << 20;

/** Writes the rows that `from` names (`FROM … [WHERE …] [ORDER BY …]`) as shards, with the files beside them. */
export async function writeSamples(
  engine: Engine,
  format: SampleFormat,
  from: Sql,
  target: SampleTarget,
): Promise<ExportedFile[]> {
  const shards: SealedShard[] = [];
  const out = new ByteWriter(flushBytes * 2);
  const overhead = format.overhead ?? { shard: format.tail?.length ?? 0, sample: 0 };
  let file: ShardFile | undefined;
  let [rows, written, total, allRows] = [0, 0, 0, 0];
  let offsets: number[] = [];

  const begin = async (): Promise<void> => {
    file = await createShardFile(join(target.folder, format.fileName(shards.length)), { gzip: format.gzip === true });
    [rows, written, offsets] = [0, 0, []];
  };
  const flush = async (): Promise<void> => {
    await file!.write(out.written());
    written += out.length;
    out.clear();
  };
  const end = async (): Promise<void> => {
    let raw: SealedShard["raw"];
    if (format.seal !== undefined) {
      const sealed = await format.seal(out.written(), offsets);
      out.clear();
      await file!.write(sealed.bytes);
      if (sealed.raw !== undefined) {
        raw = { bytes: sealed.raw.length, sha256: createHash("sha256").update(sealed.raw).digest("hex") };
      }
    } else {
      if (format.tail !== undefined) out.push(format.tail);
      await flush();
    }
    const { bytes, sha256 } = await file!.close();
    file = undefined;
    total += bytes;
    shards.push({ name: format.fileName(shards.length), rows, bytes, sha256, ...(raw && { raw }) });
  };

  try {
    for await (const batch of flatBatches(engine, format.fields, from, target.signal)) {
      for (let row = 0; row < batch.rows; row++) {
        if (file === undefined) await begin();
        const start = out.length;
        format.encode(batch, row, out, allRows);
        const size = written + out.length + overhead.shard + overhead.sample * (rows + 1);
        if (rows > 0 && size > target.shardBytes) {
          const sample = Buffer.from(out.bytes.subarray(start, out.length));
          out.length = start;
          await end();
          await begin();
          out.push(sample);
          offsets.push(0);
        } else offsets.push(start);
        rows++;
        allRows++;
        if (format.seal === undefined && out.length >= flushBytes) await flush();
      }
      target.onProgress?.(allRows, total + written + out.length);
    }
    // What expects files of a pattern finds one, without samples.
    if (shards.length === 0 && file === undefined && format.seal === undefined) await begin();
    if (file !== undefined) await end();
  } catch (error) {
    await file?.abandon().catch(() => undefined);
    throw error;
  }

  const files = shards.map(({ name, ...shard }): ExportedFile => ({
    path: `${target.prefix}${name}`,
    rows: shard.rows,
    bytes: shard.bytes,
    sha256: shard.sha256,
  }));
  for (const { name, bytes } of format.beside?.(shards) ?? []) {
    const beside = await createShardFile(join(target.folder, name));
    await beside.write(bytes);
    files.push({ path: `${target.prefix}${name}`, rows: 0, ...(await beside.close()) });
  }
  return files;
}
