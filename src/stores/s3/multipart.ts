import { randomUUID } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { type Entry, MillraceError, forEachLimited, isMillraceError } from "../../core/index.ts";
import type { Bucket } from "./bucket.ts";
import { assertChecksum, checksumOf } from "./checksum.ts";
import { writeKey } from "./get.ts";
import { keyOf } from "./paths.ts";
import { type Head, headObject } from "./read.ts";

const mebibyte = 1024 * 1024;
/** What is larger is written in parts of this size, so many at once; together they bound the memory of one upload. */
export const partBytes = 8 * mebibyte;
const partsAtOnce = 4;
const maximumParts = 10_000;
/** How often an upload is begun anew because S3 refused to put its parts together. */
const maximumUploads = 4;

/** Bytes that can be read again: a try of a part may be repeated. */
export interface PartSource {
  size: number;
  read(offset: number, length: number): Promise<Uint8Array>;
}

interface Upload {
  Bucket: string;
  Key: string;
  UploadId: string | undefined;
}

/** Replaces what is there by many requests. Nothing can be seen before the last one; a failed upload is aborted. */
export async function uploadObject(bucket: Bucket, path: string, source: PartSource): Promise<Entry> {
  for (let attempt = 1; attempt <= maximumUploads; attempt++) {
    const entry = await uploadOnce(bucket, path, source);
    if (entry !== undefined) return entry;
  }
  throw new MillraceError("conflict", `\`${path}\` could not be put together in ${maximumUploads} uploads`, {
    temporary: true,
    where: { store: "s3", file: path },
    hint: "run again; if it stays, look for a lifecycle rule that aborts uploads after less than a day",
  });
}

/** Undefined when S3 wants the whole upload anew. */
async function uploadOnce(bucket: Bucket, path: string, source: PartSource): Promise<Entry | undefined> {
  const { client, common } = bucket;
  const object = { ...common, Key: keyOf(bucket.root, path) };
  const id = randomUUID();
  const { UploadId } = await bucket.call("write", path, (options) =>
    client.send(
      new CreateMultipartUploadCommand({
        ...object,
        ...bucket.encryption,
        Metadata: { [writeKey]: id },
        ...(bucket.checksums === "crc32" && { ChecksumAlgorithm: "CRC32" }),
      }),
      options,
    ),
  );
  const upload = { ...object, UploadId };
  try {
    const parts = await sendParts(bucket, path, source, upload);
    const head = await complete(bucket, path, id, () =>
      bucket.once("write", path, (options) =>
        client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts } }), options),
      ),
    );
    if (head === undefined) {
      await abort(bucket, path, upload);
      return undefined;
    }
    if (head.size === source.size) {
      return { path, size: head.size, modified: head.modified, ...(head.etag && { etag: head.etag }) };
    }
    throw new MillraceError("corrupt", `\`${path}\` has ${head.size} bytes after ${source.size} were sent`, {
      where: { store: "s3", file: path },
    });
  } catch (error) {
    await abort(bucket, path, upload);
    throw error;
  }
}

/** What cannot be aborted is removed by the lifecycle rule that the guide names; the error that led here says more. */
async function abort(bucket: Bucket, path: string, upload: Upload): Promise<void> {
  await bucket
    .call("write", path, (options) => bucket.client.send(new AbortMultipartUploadCommand(upload), options))
    .catch(() => undefined);
}

async function sendParts(bucket: Bucket, path: string, source: PartSource, upload: Upload): Promise<CompletedPart[]> {
  const length = Math.max(partBytes, Math.ceil(source.size / maximumParts));
  const parts: CompletedPart[] = Array.from({ length: Math.ceil(source.size / length) }, () => ({}));
  await forEachLimited(parts, partsAtOnce, async (part, index) => {
    const offset = index * length;
    const bytes = await source.read(offset, Math.min(length, source.size - offset));
    const input = {
      ...upload,
      PartNumber: index + 1,
      Body: bytes,
      ContentLength: bytes.byteLength,
      ...checksumOf(bucket, bytes),
    };
    await bucket.again(async () => {
      const reply = await bucket.once("write", path, (options) =>
        bucket.client.send(new UploadPartCommand(input), options),
      );
      assertChecksum(path, bytes, reply);
      Object.assign(part, {
        PartNumber: index + 1,
        ETag: reply.ETag,
        ...(reply.ChecksumCRC32 && { ChecksumCRC32: reply.ChecksumCRC32 }),
      });
    });
  });
  return parts;
}

/**
 * The object as it is after `send`. A lost reply is no loss: what is there tells by its id whether it is ours. Undefined when S3
 * refuses with 409, or the upload is gone without having become the object.
 */
async function complete(
  bucket: Bucket,
  path: string,
  id: string,
  send: () => Promise<unknown>,
): Promise<Head | undefined> {
  return bucket.again(async () => {
    let failure: MillraceError | undefined;
    try {
      await send();
    } catch (error) {
      if (!isMillraceError(error) || (!error.temporary && error.code !== "conflict")) throw error;
      failure = error;
    }
    const head = await headObject(bucket, path).catch((error: unknown) => {
      if (failure === undefined || !isMillraceError(error) || error.code !== "not-found") throw error;
      return undefined;
    });
    if (head?.writer === id) return head;
    if (failure === undefined) return notOurs(path);
    if (failure.code === "conflict") return undefined;
    throw failure;
  });
}

/** Somebody wrote the same name after us. */
function notOurs(path: string): never {
  throw new MillraceError("conflict", `\`${path}\` was replaced by somebody else while it was written`, {
    where: { store: "s3", file: path },
    hint: "run again; files of a dataset are never replaced, so something else writes below this prefix",
  });
}
