import type { Readable } from "node:stream";
import { HeadObjectCommand } from "@aws-sdk/client-s3";
import { MillraceError, type RandomAccess, throwIfAborted } from "../../core/index.ts";
import type { Bucket } from "./bucket.ts";
import { assertChecksum } from "./checksum.ts";
import { isWordless, s3Error } from "./errors.ts";
import { type Got, getObject, writeKey } from "./get.ts";
import { keyOf } from "./paths.ts";

export interface Head {
  size: number;
  modified: number;
  etag: string | undefined;
  /** The write that made it, when it was one of ours. */
  writer: string | undefined;
}

/** One try: who asks knows what it means when there is no answer. Throws `not-found`. */
export async function headObject(bucket: Bucket, path: string): Promise<Head> {
  const input = { ...bucket.common, Key: keyOf(bucket.root, path) };
  try {
    const reply = await bucket.once("read", path, (options) =>
      bucket.client.send(new HeadObjectCommand(input), options),
    );
    const { LastModified: modified, ETag: etag, Metadata, ContentLength } = reply;
    return headOf(path, { modified, etag, writer: Metadata?.[writeKey] }, ContentLength);
  } catch (error) {
    if (!isWordless(error)) throw error;
    return headByRange(bucket, path, error);
  }
}

/** The reply to HEAD has no body, and so a refusal of it no reason: the same asked with GET has one, or the answer itself. */
async function headByRange(bucket: Bucket, path: string, refused: unknown): Promise<Head> {
  const got = await getObject(bucket, path, { range: "bytes=0-0" }).catch((error: unknown) => {
    throw isWordless(error) ? refused : error;
  });
  got.body.destroy();
  const [, size] = /\/(\d+)$/.exec(got.range ?? "") ?? [];
  return headOf(path, got, size === undefined ? got.length : Number(size));
}

function headOf(
  path: string,
  { modified, etag, writer }: Pick<Got, "modified" | "etag" | "writer">,
  size: number | undefined,
): Head {
  if (size === undefined) throw broken(path, "the server does not say how long it is");
  return { size, modified: modified?.getTime() ?? Date.now(), etag, writer };
}

/** Length and checksum, where the server sends one, are verified. */
export async function readObject(bucket: Bucket, path: string): Promise<Uint8Array> {
  return bucket.again(async () => {
    const got = await getObject(bucket, path, { checksum: true });
    const bytes = await readBody(bucket, path, got, got.length);
    assertChecksum(path, bytes, got);
    return bytes;
  });
}

/** Every range is of the object that was there when it was opened: another one is `conflict`. */
export async function openObject(bucket: Bucket, path: string): Promise<RandomAccess> {
  const { size, modified, etag } = await bucket.again(() => headObject(bucket, path));
  const where = { store: "s3", file: path };
  const read = async (offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> => {
    throwIfAborted(signal);
    if (offset + length > size) {
      throw new MillraceError(
        "corrupt",
        `\`${path}\` ends at byte ${size}, before the ${length} bytes asked for at ${offset}`,
        { where },
      );
    }
    if (length === 0) return new Uint8Array();
    const last = offset + length - 1;
    const got = await getObject(bucket, path, { range: `bytes=${offset}-${last}`, etag }, signal);
    const range = `bytes ${offset}-${last}/${size}`;
    const isWhole = got.range === undefined && length === size;
    if (!isWhole && got.range !== range) {
      got.body.destroy();
      throw broken(path, `the server sent \`${got.range ?? "the whole"}\` instead of \`${range}\``);
    }
    return readBody(bucket, path, got, length, signal);
  };
  return {
    size,
    modified,
    ...(etag && { etag }),
    read: (offset, length, signal) =>
      bucket.again(
        () =>
          read(offset, length, signal).catch((error: unknown) => {
            // With If-Match the same refusal means something else than when writing.
            if (!(error instanceof MillraceError) || error.code !== "already-exists") throw error;
            throw new MillraceError("conflict", `\`${path}\` was replaced while it was read`, {
              cause: error.cause,
              where,
              hint: "run again; files of a dataset are never replaced, so something else writes below this prefix",
            });
          }),
        signal,
      ),
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** Exactly `length` bytes of the body; less, more, or nothing for too long is an error. */
async function readBody(
  bucket: Bucket,
  path: string,
  { body, length: announced }: Got,
  length: number | undefined,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  if (length === undefined || (announced !== undefined && announced !== length)) {
    body.destroy();
    throw broken(path, `the server announced ${announced ?? "no number of"} bytes instead of ${length ?? "one"}`);
  }
  // Not from the pool of buffers, and not filled with zeros: it is returned only when every byte was written.
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
  let done = 0;
  try {
    throwIfAborted(signal);
    await eachChunk(body, bucket.timeoutMs, signal, (chunk) => {
      if (done + chunk.length > length) throw broken(path, `more than the ${length} announced bytes came`);
      bytes.set(chunk, done);
      done += chunk.length;
    });
  } catch (error) {
    throwIfAborted(signal);
    throw s3Error(error, "read", path, bucket.name);
  } finally {
    body.destroy();
  }
  throwIfAborted(signal);
  if (done < length) throw broken(path, `only ${done} of ${length} bytes came`);
  return bytes;
}

/** By events: an iterator over a body takes as much time again as the body itself. */
async function eachChunk(
  body: Readable,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  take: (chunk: Uint8Array) => void,
): Promise<void> {
  const stop = (): void => void body.destroy();
  const idle = setTimeout(() => {
    body.destroy(Object.assign(new Error("the body stopped coming"), { code: "ETIMEDOUT" }));
  }, timeoutMs);
  signal?.addEventListener("abort", stop, { once: true });
  try {
    await new Promise<void>((resolve, reject) => {
      body.on("data", (chunk: Uint8Array) => {
        idle.refresh();
        try {
          take(chunk);
        } catch (error) {
          body.destroy();
          reject(error as Error);
        }
      });
      body.once("error", reject);
      // Also after `destroy`, which ends nothing.
      body.once("close", resolve);
      body.once("end", resolve);
    });
  } finally {
    clearTimeout(idle);
    signal?.removeEventListener("abort", stop);
  }
}

/** A reply that is not what was asked for; another try may get the right one. */
function broken(path: string, what: string): MillraceError {
  return new MillraceError("unreachable", `\`${path}\` did not arrive whole: ${what}`, {
    temporary: true,
    where: { store: "s3", file: path },
    hint: "a proxy between here and the store may change what is sent",
  });
}
