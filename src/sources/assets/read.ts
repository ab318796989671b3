import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import type * as z from "zod";
import type { assetsOptions } from "../../core/asset-options.ts";
import {
  isMillraceError,
  messageOf,
  MillraceError,
  sniffMediaType,
  throwIfAborted,
  type AssetFacts,
  type Column,
  type Encoding,
  type Converter,
  type ErrorCode,
  type FileRef,
  type KeepAsset,
  type Payload,
  type RejectedRecord,
} from "../../core/index.ts";
import { convertJob, poisonIdentity, poisoned, type ParseLimits } from "./job.ts";
import { together } from "./together.ts";

/** Errors that say something of one asset, so that the others go on without it. */
const ownFaults: ReadonlySet<ErrorCode> = new Set(["parse", "corrupt", "limit", "timeout", "unsupported", "value"]);
/** What one asset gives is held back up to here, so that an asset that fails leaves no rows; a larger one flows. */
const heldBytes = 32 * 1024 ** 2;
const sniffedBytes = 8192;

/** An asset on its way into rows. */
export interface ComingAsset {
  /** How people find it again: the origin of what is rejected of it. */
  name: string;
  uri: string;
  size: number;
  /** Milliseconds since the epoch. */
  modified: number;
  /** Why there is nothing to read: it is rejected for that. */
  problem?: string;
  /** What finds it again in another read of the part, where its path on this machine does not. */
  identity?: string;
  /** Brings it onto this machine, until it is released. */
  hold(): Promise<{ file: FileRef; release: () => Promise<void> }>;
}

export interface AssetReading {
  converter: Converter;
  columns: readonly Column[];
  formatOptions: Record<string, unknown>;
  assets: z.output<typeof assetsOptions>;
  limits: ParseLimits;
  signal: AbortSignal | undefined;
  keep: KeepAsset | undefined;
}

interface Facts {
  sha256: string;
  mediaType: string;
}

/** Larger files are hashed piece by piece. */
const wholeBytes = 256 * 1024;

async function look(path: string, name: string, size: number): Promise<Facts> {
  if (size <= wholeBytes) {
    // A large buffer for each of many small files is what the collector of garbage would be busy with.
    const bytes = await readFile(path);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { sha256, mediaType: sniffMediaType(bytes.subarray(0, sniffedBytes), name) };
  }
  const hash = createHash("sha256");
  const head: Buffer[] = [];
  let held = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    if (held >= sniffedBytes) continue;
    head.push(chunk.subarray(0, sniffedBytes - held));
    held += chunk.length;
  }
  return { sha256: hash.digest("hex"), mediaType: sniffMediaType(Buffer.concat(head), name) };
}

/**
 * The rows of assets, in no particular order; several are read at once, each taken from `coming` when another is done. One that cannot
 * be read is rejected with its facts, and its content is kept as that of the others.
 */
export function assetRows(coming: Iterable<ComingAsset> | AsyncIterable<ComingAsset>, reading: AssetReading): Payload {
  const { converter, columns, formatOptions, assets, limits, signal, keep } = reading;
  const keeps = assets.keep && converter.withholdsBytes !== true;
  const rejected: RejectedRecord[] = [];
  let rows = 0;

  async function* one(asset: ComingAsset): AsyncGenerator<Uint8Array, void, undefined> {
    throwIfAborted(signal);
    const { name, uri, size, modified } = asset;
    const reject = (reason: string, record: unknown): void => {
      rows++;
      rejected.push({ reason, origin: name, record: JSON.stringify(record) });
    };
    const known = { uri, size, modified };
    if (asset.problem !== undefined) return reject(asset.problem, known);
    if (size === 0) return reject("it is empty", known);
    let facts: AssetFacts | undefined;
    let release: (() => Promise<void>) | undefined;
    try {
      const ready = await asset.hold();
      release = ready.release;
      const inline = keeps && size <= assets.inline_max_bytes;
      facts = { ...known, ...(await look(ready.file.path, name, size)), inline };
      if (keeps && !inline && keep !== undefined) facts.object = await keep(ready.file.path, facts.sha256, size);
      const identity = poisonIdentity(ready.file, limits, asset.identity);
      const dead = poisoned.get(identity);
      if (dead !== undefined) {
        poisoned.delete(identity);
        return reject(dead, facts);
      }
      const input = { ...formatOptions, columns: [...columns], asset: facts };
      let held: Uint8Array[] = [];
      let length = 0;
      let flows = false;
      let ofAsset = 0;
      const refused: RejectedRecord[] = [];
      try {
        for await (const output of convertJob(converter, ready.file, input, limits, signal)) {
          if (output instanceof Uint8Array) {
            held.push(output);
            length += output.length;
            flows ||= length > heldBytes;
            if (flows) yield* held.splice(0);
          } else {
            const message = output.message as { rejected?: RejectedRecord; rows?: number };
            if (message.rejected !== undefined) refused.push(message.rejected);
            if (message.rows !== undefined) ofAsset = message.rows;
          }
        }
      } catch (error) {
        if (!flows || !isMillraceError(error) || !ownFaults.has(error.code)) throw error;
        // Some of its rows are on their way: the part is read again, and then it is told of as a whole.
        poisoned.set(identity, messageOf(error));
        throw new MillraceError("parse", messageOf(error), { where: { file: name }, cause: error });
      }
      yield* held;
      rows += ofAsset;
      rejected.push(...refused);
    } catch (error) {
      if (!isMillraceError(error) || !ownFaults.has(error.code) || poisonOf(error)) throw error;
      reject(error.message, facts ?? known);
    } finally {
      await release?.();
    }
  }

  return {
    form: "bytes",
    format: "csv",
    columns: [...columns],
    encodings: Object.fromEntries(
      columns.flatMap(({ name, type }): [string, Encoding][] =>
        typeof type !== "string" ? [[name, "json"]] : type === "binary" ? [[name, "hex"]] : [],
      ),
    ),
    chunks: together(coming, one, availableParallelism()),
    rows: () => rows,
    rejected: () => rejected,
  };
}

/** True for the error that asks for the part to be read again. */
function poisonOf(error: MillraceError): boolean {
  return error.cause instanceof MillraceError && error.message === error.cause.message;
}
