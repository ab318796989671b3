import { type FileHandle, open as openFile, rm } from "node:fs/promises";
import { DeleteObjectCommand } from "@aws-sdk/client-s3";
import {
  type Entry,
  MillraceError,
  type Store,
  type StoreContext,
  asMillraceError,
  isMillraceError,
  systemCode,
  throwIfAborted,
} from "../../core/index.ts";
import { type Bucket, openBucket } from "./bucket.ts";
import { failureName } from "./errors.ts";
import { listFolders, listObjects } from "./list.ts";
import { partBytes, uploadObject } from "./multipart.ts";
import type { S3Options } from "./options.ts";
import { keyOf, probeName } from "./paths.ts";
import { openObject, readObject } from "./read.ts";
import { createObject, putObject } from "./write.ts";

/**
 * A bucket, or a folder in one, as a store. An object appears complete and durable or not at all, whoever asks.
 * Requests are tried again in here and not around the store: whether a conditional create may be repeated is known only to the one
 * who sent it.
 */
export async function open(options: S3Options, context: StoreContext): Promise<Store> {
  const bucket = await openBucket(options, context.folder);
  const url = `s3://${bucket.name}${bucket.root === "" ? "" : `/${bucket.root.slice(0, -1)}`}`;

  const remove: Store["remove"] = async (path) => {
    const input = { ...bucket.common, Key: keyOf(bucket.root, path) };
    await bucket
      .call("remove", path, (sending) => bucket.client.send(new DeleteObjectCommand(input), sending))
      .catch(ignoreAbsent);
  };

  return {
    url,
    open: (path) => openObject(bucket, path),
    read: (path) => readObject(bucket, path),
    async write(path, bytes, { ifAbsent = false } = {}) {
      if (ifAbsent) return createObject(bucket, path, bytes);
      if (bytes.byteLength <= partBytes) return putObject(bucket, path, bytes);
      return uploadObject(bucket, path, {
        size: bytes.byteLength,
        read: async (offset, length) => bytes.subarray(offset, offset + length),
      });
    },
    async adopt(file, path) {
      keyOf(bucket.root, path);
      try {
        const entry = await sendFile(bucket, file, path);
        await rm(file);
        return entry;
      } catch (error) {
        throw asMillraceError(error, { file: path }, systemCode(error) === "ENOENT" ? "not-found" : "unreachable");
      }
    },
    list: (prefix, leftOut) => listObjects(bucket, prefix, leftOut),
    folders: () => listFolders(bucket),
    remove,
    uri: (path) => (path === "" ? url : `${url}/${path}`),
    async check(signal) {
      throwIfAborted(signal);
      await assertConditional(bucket, signal);
    },
    async [Symbol.asyncDispose]() {
      bucket.close();
    },
  };
}

async function sendFile(bucket: Bucket, file: string, path: string): Promise<Entry> {
  await using handle = await openFile(file, "r");
  const before = await handle.stat();
  const source = {
    size: before.size,
    read: (offset: number, length: number) => readExactly(handle, path, offset, length),
  };
  const entry =
    before.size <= partBytes
      ? await putObject(bucket, path, await source.read(0, before.size))
      : await uploadObject(bucket, path, source);
  const after = await handle.stat();
  if (after.size !== before.size || after.mtimeMs !== before.mtimeMs) throw changed(path);
  return entry;
}

async function readExactly(handle: FileHandle, path: string, offset: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(length);
  for (let done = 0; done < length;) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) throw changed(path);
    done += bytesRead;
  }
  return bytes;
}

function changed(path: string): MillraceError {
  return new MillraceError("corrupt", `the local file for \`${path}\` changed while it was sent`, {
    where: { store: "s3", file: path },
    hint: "run again; nothing was committed",
  });
}

/**
 * Proves that a second create is refused. The name is always the same, so that a principal who may not delete leaves one object
 * and not one at every check; who finds it there has the proof at once.
 */
async function assertConditional(bucket: Bucket, signal: AbortSignal | undefined): Promise<void> {
  const bytes = new TextEncoder().encode("Proves that conditional writes work. May be deleted.");
  const isRefused = async (): Promise<boolean> => {
    throwIfAborted(signal);
    try {
      await createObject(bucket, probeName, bytes);
      return false;
    } catch (error) {
      if (isMillraceError(error) && error.code === "already-exists") return true;
      throw error;
    }
  };
  if (await isRefused()) return;
  try {
    if (await isRefused()) return;
    throw new MillraceError("unsupported", `the server of \`${bucket.name}\` lets a conditional create succeed twice`, {
      where: { store: "s3" },
      hint: "datasets cannot be committed safely there; use a server that honours `If-None-Match: *`",
    });
  } finally {
    const input = { ...bucket.common, Key: bucket.root + probeName };
    await bucket
      .call("remove", probeName, (options) => bucket.client.send(new DeleteObjectCommand(input), options))
      .catch((error: unknown) => {
        // Deleting is for whoever collects garbage; writers need not have it.
        if (!isMillraceError(error) || error.code !== "permission") ignoreAbsent(error);
      });
  }
}

function ignoreAbsent(error: unknown): void {
  if (!isMillraceError(error) || error.code !== "not-found" || failureName(error) === "NoSuchBucket") throw error;
}
