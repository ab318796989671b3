import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, open, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { createGzip, type Gzip } from "node:zlib";

/** A file of an export. */
export interface ExportedFile {
  /** Relative to the export, with `/`. */
  path: string;
  rows: number;
  bytes: number;
  /** Lower-case hexadecimal. */
  sha256: string;
}

/** A file that is being written: hashed on the way, durable when `close` resolves. */
export interface ShardFile {
  /** The bytes may be used again when the promise resolves. */
  write(bytes: Uint8Array): Promise<void>;
  close(): Promise<{ bytes: number; sha256: string }>;
  /** Closes it as it is, after an error. */
  abandon(): Promise<void>;
}

export async function createShardFile(path: string, options: { gzip?: boolean } = {}): Promise<ShardFile> {
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, "wx");
  const hash = createHash("sha256");
  let length = 0;
  const put = async (bytes: Uint8Array): Promise<void> => {
    hash.update(bytes);
    length += bytes.length;
    await writeAll(file, bytes);
  };
  const finish = async (): Promise<{ bytes: number; sha256: string }> => {
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    return { bytes: length, sha256: hash.digest("hex") };
  };
  if (options.gzip !== true) return { write: put, close: finish, abandon: () => file.close() };

  const gzip: Gzip = createGzip();
  const out: Buffer[] = [];
  gzip.on("data", (chunk: Buffer) => out.push(chunk));
  const drain = async (): Promise<void> => {
    for (const chunk of out.splice(0)) await put(chunk);
  };
  return {
    async write(bytes) {
      await new Promise<void>((resolve, reject) => {
        gzip.write(bytes, (error) => (error ? reject(error) : resolve()));
      });
      await drain();
    },
    async close() {
      const ended = once(gzip, "end");
      gzip.end();
      await ended;
      await drain();
      return finish();
    },
    async abandon() {
      gzip.destroy();
      await file.close();
    },
  };
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let at = 0;
  while (at < bytes.length) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
}
