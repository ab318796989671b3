import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { availableParallelism } from "node:os";
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
  type KeepAsset,
  type Payload,
  type RejectedRecord,
} from "../../core/index.ts";
import { convertJob, poisonIdentity, poisoned } from "./convert.ts";
import type { Reading } from "./members.ts";
import { unchanged, type PartFile, type PartSpec } from "./parts.ts";
import { fileRef } from "./shapes.ts";

/** Errors that say something of one asset, so that the others go on without it. */
const ownFaults: ReadonlySet<ErrorCode> = new Set(["parse", "corrupt", "limit", "timeout", "unsupported", "value"]);
/** What one asset gives is held back up to here, so that an asset that fails leaves no rows; a larger one flows. */
const heldBytes = 32 * 1024 ** 2;
const sniffedBytes = 8192;

interface Facts {
  sha256: string;
  mediaType: string;
}

async function look(path: string, name: string): Promise<Facts> {
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
 * The rows of the assets of a part, in no particular order; several are read at once. One that cannot be read is rejected with its
 * facts, and its content is kept as that of the others.
 */
export function readAssets(
  converter: Converter,
  spec: PartSpec,
  reading: Reading,
  { signal, keep }: { signal?: AbortSignal; keep?: KeepAsset },
): Payload {
  const { options, place } = reading;
  const { assets } = options;
  const keeps = assets.keep && converter.withholdsBytes !== true;
  const columns: readonly Column[] = spec.columns;
  const rejected: RejectedRecord[] = [];
  let rows = 0;

  async function* one(file: PartFile): AsyncGenerator<Uint8Array, void, undefined> {
    throwIfAborted(signal);
    const reject = (reason: string, record: unknown): void => {
      rows++;
      rejected.push({ reason, origin: file.name, record: JSON.stringify(record) });
    };
    const uri = place.id === "" ? file.name : `${place.id}/${file.name}`;
    const known = { uri, size: file.size, modified: file.modified };
    if (file.size === 0) return reject("it is empty", known);
    let facts: AssetFacts | undefined;
    let release: (() => Promise<void>) | undefined;
    try {
      const wrapping = await unchanged(file, false, place);
      const ready = await fileRef({ ...file, wrapping, format: spec.format }, reading, signal);
      release = ready.release;
      const inline = keeps && file.size <= assets.inline_max_bytes;
      facts = { ...known, ...(await look(ready.file.path, file.name)), inline };
      if (keeps && !inline && keep !== undefined) {
        facts.object = await keep(ready.file.path, facts.sha256, file.size);
      }
      const identity = poisonIdentity(ready.file, options);
      const dead = poisoned.get(identity);
      if (dead !== undefined) {
        poisoned.delete(identity);
        return reject(dead, facts);
      }
      const input = { ...spec.options, columns: [...columns], asset: facts };
      let held: Uint8Array[] = [];
      let length = 0;
      let flows = false;
      let ofAsset = 0;
      const refused: RejectedRecord[] = [];
      try {
        for await (const output of convertJob(converter, ready.file, input, options, signal)) {
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
        throw new MillraceError("parse", messageOf(error), { where: { file: file.name }, cause: error });
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
    chunks: together(
      spec.files.map((file) => () => one(file)),
      availableParallelism(),
    ),
    rows: () => rows,
    rejected: () => rejected,
  };
}

/** True for the error that asks for the part to be read again. */
function poisonOf(error: MillraceError): boolean {
  return error.cause instanceof MillraceError && error.message === error.cause.message;
}

/** What up to `width` iterations give, as it comes. Each is begun when another has ended. */
async function* together<T>(
  makers: readonly (() => AsyncGenerator<T, void, undefined>)[],
  width: number,
): AsyncGenerator<T, void, undefined> {
  type Turn = { from: AsyncGenerator<T, void, undefined>; result: IteratorResult<T, void> };
  const running = new Map<AsyncGenerator<T, void, undefined>, Promise<Turn>>();
  let next = 0;
  const advance = (from: AsyncGenerator<T, void, undefined>): void => {
    const turn = from.next().then((result) => ({ from, result }));
    // Whoever stops early does not look at the others.
    turn.catch(() => undefined);
    running.set(from, turn);
  };
  try {
    for (;;) {
      while (running.size < width && next < makers.length) advance(makers[next++]!());
      if (running.size === 0) return;
      const { from, result } = await Promise.race(running.values());
      if (result.done) running.delete(from);
      else {
        yield result.value;
        advance(from);
      }
    }
  } finally {
    for (const [from, turn] of running) {
      await turn.catch(() => undefined);
      await from.return().catch(() => undefined);
    }
  }
}
