import type { Readable } from "node:stream";
import {
  GetObjectCommand,
  type GetObjectCommandOutput,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
} from "@aws-sdk/client-s3";
import { MillraceError, type RandomAccess, throwIfAborted } from "../../core/index.ts";
import type { Bucket } from "./bucket.ts";
import { assertChecksum } from "./checksum.ts";
import { isWordless, s3Error } from "./errors.ts";
import { keyOf } from "./paths.ts";

/** Metadata of an object that tells which write made it. */
export const writeKey = "millrace-write";

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
    return headOf(path, reply, reply.ContentLength);
  } catch (error) {
    if (!isWordless(error)) throw error;
    return headByRange(bucket, path, error);
  }
}

/** The reply to HEAD has no body, and so a refusal of it no reason: the same asked with GET has one, or the answer itself. */
async function headByRange(bucket: Bucket, path: string, refused: unknown): Promise<Head> {
  const input = { ...bucket.common, Key: keyOf(bucket.root, path), Range: "bytes=0-0" };
  const reply = await bucket
    .once("read", path, (options) => bucket.client.send(new GetObjectCommand(input), options))
    .catch((error: unknown) => {
      throw isWordless(error) ? refused : error;
    });
  discard(reply);
  const [, size] = /\/(\d+)$/.exec(reply.ContentRange ?? "") ?? [];
  return headOf(path, reply, size === undefined ? reply.ContentLength : Number(size));
}

function headOf(path: string, reply: HeadObjectCommandOutput, size: number | undefined): Head {
  if (size === undefined) throw broken(path, "the server does not say how long it is");
  return {
    size,
    modified: reply.LastModified?.getTime() ?? Date.now(),
    etag: reply.ETag,
    writer: reply.Metadata?.[writeKey],
  };
}

/** Length and checksum, where the server sends one, are verified. */
export async function readObject(bucket: Bucket, path: string): Promise<Uint8Array> {
  const input = { ...bucket.common, Key: keyOf(bucket.root, path), ChecksumMode: "ENABLED" } as const;
  return bucket.again(async () => {
    const reply = await bucket.once("read", path, (options) =>
      bucket.client.send(new GetObjectCommand(input), options),
    );
    const bytes = await readBody(bucket, path, reply, reply.ContentLength);
    assertChecksum(path, bytes, reply);
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
    const input = { ...bucket.common, Key: keyOf(bucket.root, path), Range: `bytes=${offset}-${last}` };
    const reply = await bucket.once(
      "read",
      path,
      (options) => bucket.client.send(new GetObjectCommand({ ...input, ...(etag && { IfMatch: etag }) }), options),
      signal,
    );
    const range = `bytes ${offset}-${last}/${size}`;
    const isWhole = reply.ContentRange === undefined && length === size;
    if (!isWhole && reply.ContentRange !== range) {
      discard(reply);
      throw broken(path, `the server sent \`${reply.ContentRange ?? "the whole"}\` instead of \`${range}\``);
    }
    return readBody(bucket, path, reply, length, signal);
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
  reply: GetObjectCommandOutput,
  length: number | undefined,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  if (length === undefined || (reply.ContentLength !== undefined && reply.ContentLength !== length)) {
    discard(reply);
    throw broken(
      path,
      `the server announced ${reply.ContentLength ?? "no number of"} bytes instead of ${length ?? "one"}`,
    );
  }
  const bytes = new Uint8Array(length);
  const body = reply.Body as Readable;
  const stop = (): void => void body.destroy();
  const idle = setTimeout(() => {
    body.destroy(Object.assign(new Error("the body stopped coming"), { code: "ETIMEDOUT" }));
  }, bucket.timeoutMs);
  signal?.addEventListener("abort", stop, { once: true });
  let done = 0;
  try {
    throwIfAborted(signal);
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      if (done + chunk.length > length) throw broken(path, `more than the ${length} announced bytes came`);
      bytes.set(chunk, done);
      done += chunk.length;
      idle.refresh();
    }
  } catch (error) {
    throwIfAborted(signal);
    throw s3Error(error, "read", path, bucket.name);
  } finally {
    clearTimeout(idle);
    signal?.removeEventListener("abort", stop);
    body.destroy();
  }
  throwIfAborted(signal);
  if (done < length) throw broken(path, `only ${done} of ${length} bytes came`);
  return bytes;
}

function discard(reply: GetObjectCommandOutput): void {
  (reply.Body as Readable | undefined)?.destroy();
}

/** A reply that is not what was asked for; another try may get the right one. */
function broken(path: string, what: string): MillraceError {
  return new MillraceError("unreachable", `\`${path}\` did not arrive whole: ${what}`, {
    temporary: true,
    where: { store: "s3", file: path },
    hint: "a proxy between here and the store may change what is sent",
  });
}
