import { randomUUID } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { copyFile, link, lstat, mkdir, open as openHandle, readdir, rename, rm, rmdir, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import {
  type Entry,
  MillraceError,
  type RandomAccess,
  type Store,
  type StoreContext,
  isMillraceError,
  systemCode,
} from "../../core/index.ts";
import { assertInside, assertStorePath, fileError, temporaryFolder } from "./paths.ts";

/** Temporary files older than this belong to no living writer. */
const staleTemporaryMs = 24 * 3600 * 1000;

/**
 * A folder as a store. A file appears under its name complete and fsynced, or not at all: it is written beside, then linked
 * (exactly one of several writers wins, also over NFS) or renamed, and the folder is fsynced before the promise resolves.
 */
export async function open(options: { path: string }, context: StoreContext): Promise<Store> {
  const root = resolve(context.folder, options.path);
  const temporary = join(root, temporaryFolder);

  const locate = async (path: string): Promise<string> => {
    assertStorePath(path);
    const file = join(root, path);
    await assertInside(root, file);
    return file;
  };

  const writeTemporary = async (bytes: Uint8Array): Promise<{ file: string; stats: Stats }> => {
    const file = join(temporary, randomUUID());
    const handle = await makingFolder(temporary, () => openHandle(file, "wx", 0o644));
    try {
      await handle.writeFile(bytes);
      await handle.sync();
      return { file, stats: await handle.stat() };
    } catch (error) {
      await rm(file, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
  };

  const write: Store["write"] = async (path, bytes, { ifAbsent = false } = {}) => {
    assertStorePath(path);
    try {
      await mkdir(root, { recursive: true });
      const file = await locate(path);
      const { file: staged, stats } = await writeTemporary(bytes);
      try {
        await makingFolder(dirname(file), () => (ifAbsent ? link(staged, file) : rename(staged, file)));
      } finally {
        if (ifAbsent) await rm(staged, { force: true });
      }
      await syncFolder(dirname(file));
      return entryOf(path, stats);
    } catch (error) {
      if (ifAbsent) throw conditionalError(error, path);
      throw fileError(error, path, "write");
    }
  };

  const adopt: Store["adopt"] = async (source, path) => {
    assertStorePath(path);
    try {
      await mkdir(root, { recursive: true });
      const file = await locate(path);
      const stats = await syncFile(source);
      if (resolve(source) !== file) {
        try {
          await makingFolder(dirname(file), () => rename(source, file));
        } catch (error) {
          if (systemCode(error) !== "EXDEV") throw error;
          await copyAcross(source, file);
        }
      }
      await syncFolder(dirname(file));
      return entryOf(path, stats);
    } catch (error) {
      throw fileError(error, path, "bring in");
    }
  };

  /** The file is on another device: copied beside the target first, so that it too appears complete. */
  const copyAcross = async (source: string, file: string): Promise<void> => {
    const staged = join(temporary, randomUUID());
    try {
      await makingFolder(temporary, () => copyFile(source, staged, constants.COPYFILE_EXCL));
      await syncFile(staged);
      await makingFolder(dirname(file), () => rename(staged, file));
    } catch (error) {
      await rm(staged, { force: true });
      throw error;
    }
    await syncFolder(dirname(file));
    await unlink(source);
  };

  const openFile = async (path: string): Promise<RandomAccess> => {
    try {
      const file = await locate(path);
      const handle = await openHandle(file, constants.O_RDONLY | constants.O_NOFOLLOW);
      const stats = await handle.stat();
      if (!stats.isFile()) {
        await handle.close();
        throw new MillraceError("not-found", `\`${path}\` is not a file`, { where: { file: path } });
      }
      return {
        size: stats.size,
        async read(offset, length, signal) {
          signal?.throwIfAborted();
          const bytes = new Uint8Array(length);
          for (let done = 0; done < length;) {
            const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
            if (bytesRead === 0) {
              throw new MillraceError(
                "corrupt",
                `\`${path}\` ends at byte ${offset + done}, before the ${length} bytes asked for at ${offset}`,
                { where: { file: path } },
              );
            }
            done += bytesRead;
          }
          return bytes;
        },
        [Symbol.asyncDispose]: async () => handle.close(),
      };
    } catch (error) {
      throw fileError(error, path, "read");
    }
  };

  return {
    url: root,
    write,
    adopt,
    open: openFile,
    async read(path) {
      await using file = await openFile(path);
      return await file.read(0, file.size);
    },
    async *list(prefix) {
      const start = prefix.replace(/\/+$/, "");
      if (start !== "") assertStorePath(start);
      if (start !== "" && (await exists(root))) await assertInside(root, join(root, start, "x"));
      yield* walk(root, start);
    },
    async remove(path) {
      try {
        const file = await locate(path);
        await unlink(file);
        await syncFolder(dirname(file));
      } catch (error) {
        if (systemCode(error) !== "ENOENT") throw fileError(error, path, "remove");
      }
    },
    uri: (path) => (path === "" ? root : join(root, path)),
    local(path) {
      if (path !== "") assertStorePath(path);
      return join(root, path);
    },
    async check() {
      const probe = `millrace-probe-${randomUUID()}`;
      const bytes = new TextEncoder().encode("probe");
      try {
        await write(probe, bytes, { ifAbsent: true });
        const second = await write(probe, bytes, { ifAbsent: true }).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (!isMillraceError(second) || second.code !== "already-exists") {
          throw new MillraceError(
            "unsupported",
            `\`${root}\` does not keep a conditional create from succeeding twice`,
            {
              hint: "datasets need it to commit; use a file system with hard links",
            },
          );
        }
      } finally {
        await rm(join(root, probe), { force: true });
      }
      await removeStale(temporary);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function conditionalError(error: unknown, path: string): MillraceError {
  const code = systemCode(error);
  if (code === "EEXIST") {
    return new MillraceError("already-exists", `\`${path}\` exists already`, { where: { file: path }, cause: error });
  }
  const syscall = (error as { syscall?: unknown }).syscall;
  if (syscall === "link" && ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].includes(code ?? "")) {
    return new MillraceError("unsupported", `the file system of \`${path}\` has no hard links, which commits need`, {
      cause: error,
      where: { file: path },
      hint: "use ext4, xfs, btrfs, APFS, NTFS or NFS",
    });
  }
  return fileError(error, path, "write");
}

async function exists(file: string): Promise<boolean> {
  return lstat(file).then(
    () => true,
    () => false,
  );
}

function entryOf(path: string, stats: Stats): Entry {
  return { path, size: stats.size, modified: stats.mtimeMs };
}

/** Runs `action`; when the folder is absent, makes it durably and runs `action` again. */
async function makingFolder<T>(folder: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
  const first = await mkdir(folder, { recursive: true });
  if (first !== undefined) {
    for (let current = dirname(folder); current.length >= dirname(first).length; current = dirname(current)) {
      await syncFolder(current);
      if (current === dirname(current)) break;
    }
  }
  return action();
}

async function syncFile(file: string): Promise<Stats> {
  const handle = await openHandle(file, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await handle.sync();
    return await handle.stat();
  } finally {
    await handle.close();
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await openHandle(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Files below a folder. One folder is in memory at a time; what vanishes while we look is left out. */
async function* walk(root: string, prefix: string): AsyncGenerator<Entry> {
  let entries;
  try {
    entries = await readdir(join(root, prefix), { withFileTypes: true });
  } catch (error) {
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return;
    throw fileError(error, prefix === "" ? root : prefix, "list");
  }
  for (const entry of entries) {
    if (prefix === "" && entry.name === temporaryFolder) continue;
    const path = prefix === "" ? entry.name : `${prefix}/${entry.name}`;
    if (entry.isDirectory()) {
      yield* walk(root, path);
    } else if (entry.isFile()) {
      const stats = await lstat(join(root, path)).catch(() => undefined);
      if (stats) yield entryOf(path, stats);
    }
  }
}

async function removeStale(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names) {
    const file = join(folder, name);
    const stats = await lstat(file).catch(() => undefined);
    if (stats && Date.now() - stats.mtimeMs > staleTemporaryMs) await rm(file, { force: true });
  }
  await rmdir(folder).catch(() => undefined);
}
