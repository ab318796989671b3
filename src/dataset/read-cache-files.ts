import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { link, mkdir, open, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { MillraceError, identityOf, retry, systemCode, type KnownFile, type Store } from "../core/index.ts";

const chunkBytes = 8 << 20;

/** Beside a copy of which nobody recorded a checksum: the one that it had when it was made. */
export const checksumOf = (copy: string): string => `${copy}.sha256`;

export function asCacheError(error: unknown, folder: string): unknown {
  const code = systemCode(error) ?? "";
  if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV"].includes(code)) return error;
  return new MillraceError("unsupported", `the read cache in \`${folder}\` cannot link files: ${code}`, {
    cause: error,
    hint: "set `cache.path` to a folder on a file system with hard links (ext4, xfs, APFS, NTFS)",
  });
}

/** Never fails the write for the sake of the cache. */
export async function keepLink(
  file: string,
  shared: string,
  own: string,
  folder: string,
  use: string,
  size: number,
  maxBytes: number,
): Promise<boolean> {
  try {
    await mkdir(folder, { recursive: true });
    await mkdir(use, { recursive: true });
    await makeRoom(folder, size, maxBytes);
    await link(file, own);
    await link(file, shared).catch(() => undefined);
    return true;
  } catch {
    return false;
  }
}

/** Undefined: nobody knows what it should hold. */
export async function isWhole(path: string, file: KnownFile, shared: string): Promise<boolean | undefined> {
  const { size } = await stat(path);
  if (file.bytes !== undefined && size !== file.bytes) return false;
  const expected = file.sha256 ?? (await readFile(checksumOf(shared), "utf8").catch(() => undefined));
  if (expected === undefined) return undefined;
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest("hex") === expected;
}

/** A copy of the object as `target`, in use as `own`. Throws `corrupt` when the object itself is not what the dataset says. */
export async function download(
  store: Store,
  file: KnownFile,
  target: string,
  own: string,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<void> {
  await using object = await store.open(file.path);
  const wrong = (what: string): MillraceError =>
    new MillraceError("corrupt", `the object \`${file.path}\` ${what}`, {
      where: { file: file.path },
      hint: "millrace verify <dataset> --deep tells which versions are affected",
    });
  if (file.identity !== undefined && (identityOf(object) !== file.identity || object.size !== file.bytes)) {
    throw new MillraceError("conflict", `\`${file.path}\` has changed since it was listed`, {
      where: { file: file.path },
      hint: "run again, once nobody writes to it",
    });
  }
  if (file.bytes !== undefined && object.size !== file.bytes) {
    throw wrong(`has ${object.size} bytes, and the dataset says ${file.bytes}`);
  }
  const partial = `${target}.${process.pid}-${randomUUID().slice(0, 8)}.partial`;
  const hash = createHash("sha256");
  const output = await open(partial, "wx");
  try {
    // The name has its size before there is room for it, so that others who look for room count it.
    await output.truncate(object.size);
    await makeRoom(dirname(target), 0, maxBytes);
    const read = (offset: number): Promise<Uint8Array> | undefined =>
      offset < object.size
        ? retry(() => object.read(offset, Math.min(chunkBytes, object.size - offset), signal), signal ? { signal } : {})
        : undefined;
    let next = read(0);
    for (let offset = 0; next !== undefined;) {
      const chunk = await next;
      offset += chunk.byteLength;
      next = read(offset);
      // What was begun must not end the process while this one is written.
      next?.catch(() => undefined);
      hash.update(chunk);
      await output.writeFile(chunk);
    }
    await output.close();
    const sha256 = hash.digest("hex");
    if (file.sha256 === undefined) {
      await writeFile(`${partial}.sha256`, sha256);
      await rename(`${partial}.sha256`, checksumOf(target));
    } else if (sha256 !== file.sha256) throw wrong("has another SHA-256 than the dataset says");
    // In use before it has its name, so that nobody takes it away in between.
    await rm(own, { force: true });
    await link(partial, own);
    await rename(partial, target);
  } catch (error) {
    await output.close().catch(() => undefined);
    await rm(partial, { force: true });
    await rm(`${partial}.sha256`, { force: true });
    if (systemCode(error) === "ENOSPC") {
      throw new MillraceError("full", `the read cache cannot hold \`${file.path}\`: no space left`, {
        cause: error,
        hint: "free space, or set `cache.path` to a larger disk",
      });
    }
    throw error;
  }
}

const abandonedMs = 60 * 60_000;

interface Copy {
  path: string;
  bytes: number;
  used: number;
  free: boolean;
  coming: boolean;
}

async function copiesIn(folder: string): Promise<Copy[]> {
  for (;;) {
    const copies: Copy[] = [];
    let renamed = false;
    for (const name of await readdir(folder)) {
      if (/(?<!\.partial)\.sha256$/.test(name)) continue;
      const path = join(folder, name);
      const coming = name.includes(".partial");
      const facts = await stat(path).catch(() => undefined);
      // It has got its other name since the names were listed, and would be counted by neither.
      if (coming && facts === undefined) renamed = true;
      if (!facts?.isFile()) continue;
      if (coming && Date.now() - facts.mtimeMs > abandonedMs) await rm(path, { force: true });
      else copies.push({ path, bytes: facts.size, used: facts.mtimeMs, free: facts.nlink === 1 && !coming, coming });
    }
    if (!renamed) return copies;
  }
}

/** Takes away copies that nobody uses, those used longest ago first, until there is room. Throws `limit` when what is in use leaves none. */
export async function makeRoom(folder: string, bytes: number, maxBytes: number): Promise<void> {
  const copies = await copiesIn(folder);
  const sum = (some: typeof copies): number => some.reduce((total, copy) => total + copy.bytes, 0);
  let total = sum(copies) + bytes;
  const free = copies.filter((copy) => copy.free).toSorted((left, right) => left.used - right.used);
  if (total - sum(free) > maxBytes) {
    throw new MillraceError(
      "limit",
      `the read cache may hold ${maxBytes} bytes, and what is in use with what is asked for needs ${total - sum(free)}`,
      {
        hint: "raise `cache.maxSize` in the configuration",
        // Somebody else asks for room too, and one of us may get it.
        temporary: copies.filter((copy) => copy.coming).length > 1,
      },
    );
  }
  for (const copy of free) {
    if (total <= maxBytes) return;
    await rm(copy.path, { force: true });
    await rm(checksumOf(copy.path), { force: true });
    total -= copy.bytes;
  }
}
