import { randomUUID } from "node:crypto";
import { PutObjectCommand } from "@aws-sdk/client-s3";
import { type Entry, MillraceError, isMillraceError } from "../../core/index.ts";
import type { Bucket } from "./bucket.ts";
import { assertChecksum, checksumOf } from "./checksum.ts";
import { failureName, isDoubtful } from "./errors.ts";
import { writeKey } from "./get.ts";
import { keyOf } from "./paths.ts";
import { type Head, headObject } from "./read.ts";

/** One request that replaces what is there. Trying it again is harmless: the bytes are the same. */
export async function putObject(bucket: Bucket, path: string, bytes: Uint8Array): Promise<Entry> {
  const send = putter(bucket, path, bytes, false, randomUUID());
  return bucket.again(send);
}

/**
 * Creates the object; of several writers exactly one wins, the others get `already-exists`.
 *
 * Every try carries the same id in the object's metadata. When a try ends without a clear answer, or is told that the object is
 * there, the id of what is there says whether an earlier try of ours made it. A try that may still be on its way is no danger:
 * if it arrives late, the next one finds its own id. Always a single request: that is what the probe of `check` has proved.
 * Throws `unknown-outcome` when the object is not there after the last try, and may still come to be.
 */
export async function createObject(bucket: Bucket, path: string, bytes: Uint8Array): Promise<Entry> {
  const id = randomUUID();
  const send = putter(bucket, path, bytes, true, id);
  /** An earlier try may have taken effect. */
  const state = { doubtful: false };
  try {
    return await bucket.again(async () => {
      try {
        return await send();
      } catch (error) {
        if (!isMillraceError(error)) throw error;
        const isTaken = error.code === "already-exists";
        if (!isTaken && !error.temporary) throw error;
        state.doubtful ||= isDoubtful(error);
        if (isTaken || state.doubtful) {
          const found = await headOrAbsent(bucket, path);
          if (found?.writer === id) {
            return { path, size: found.size, modified: found.modified, ...(found.etag && { etag: found.etag }) };
          }
          if (found !== undefined) throw taken(path, error);
          if (isTaken && state.doubtful) throw unknownOutcome(path, error);
        }
        throw error;
      }
    });
  } catch (error) {
    if (!state.doubtful || !isMillraceError(error)) throw error;
    throw ["already-exists", "unknown-outcome"].includes(error.code) ? error : unknownOutcome(path, error);
  }
}

function putter(bucket: Bucket, path: string, bytes: Uint8Array, ifAbsent: boolean, id: string): () => Promise<Entry> {
  const input = {
    ...bucket.common,
    ...bucket.encryption,
    Key: keyOf(bucket.root, path),
    Body: bytes,
    ContentLength: bytes.byteLength,
    Metadata: { [writeKey]: id },
    ...checksumOf(bucket, bytes),
    ...(ifAbsent && { IfNoneMatch: "*" }),
  };
  return async () => {
    const reply = await bucket.once("write", path, (options) =>
      bucket.client.send(new PutObjectCommand(input), options),
    );
    assertChecksum(path, bytes, reply);
    return { path, size: bytes.byteLength, modified: Date.now(), ...(reply.ETag && { etag: reply.ETag }) };
  };
}

/** What is at the path, or undefined. */
async function headOrAbsent(bucket: Bucket, path: string): Promise<Head | undefined> {
  try {
    return await headObject(bucket, path);
  } catch (error) {
    if (isMillraceError(error) && error.code === "not-found") return undefined;
    throw error;
  }
}

function taken(path: string, error: MillraceError): MillraceError {
  return new MillraceError("already-exists", `\`${path}\` exists already`, {
    cause: error.cause,
    where: { store: "s3", file: path },
  });
}

function unknownOutcome(path: string, error: MillraceError): MillraceError {
  const name = failureName(error) ?? error.code;
  return new MillraceError(
    "unknown-outcome",
    `whether \`${path}\` was written is not known (${name}): ${error.message}`,
    {
      cause: error,
      where: { store: "s3", file: path },
      hint: "run again when the store can be reached; nothing was removed",
    },
  );
}
