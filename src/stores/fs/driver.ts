import { randomUUID } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  linkSync,
  openSync,
  read,
  realpathSync,
  renameSync,
  rmdirSync,
  type Stats,
  unlinkSync,
} from "node:fs";
import { copyFile, readdir, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import {
  MillraceError,
  type RandomAccess,
  type Store,
  type StoreContext,
  isMillraceError,
  messageOf,
  systemCode,
  throwIfAborted,
} from "../../core/index.ts";
import { assertInside, makingFolder, readSmall, smallBytes, syncFile, syncFolder, writeAll } from "./files.ts";
import { entryOf, removeStale, walk } from "./listing.ts";
import { assertStorePath, fileError, temporaryFolder } from "./paths.ts";

const readAt = promisify(read);

/**
 * A folder as a store. A file appears under its name complete and fsynced, or not at all: it is written beside, then linked
 * (exactly one of several writers wins, also over NFS) or renamed, and the folder is fsynced before the promise resolves.
 */
export async function open(options: { path: string }, context: StoreContext): Promise<Store> {
  const root = resolve(context.folder, options.path);
  const temporary = join(root, temporaryFolder);

  /** The root with its own links resolved; they are the user's and are followed. */
  let top: string | undefined;
  const locate = (path: string): string => {
    assertStorePath(path);
    const file = join(root, path);
    try {
      top ??= realpathSync.native(root);
    } catch (error) {
      if (systemCode(error) !== "ENOENT") throw error;
      return file;
    }
    assertInside(root, top, file);
    return file;
  };

  const write: Store["write"] = async (path, bytes, { ifAbsent = false, durable = true, fresh = false } = {}) => {
    assertStorePath(path);
    try {
      const file = locate(path);
      const folder = dirname(file);
      // Written in place, a file and its name reach the device in one step instead of two.
      const staged = fresh ? file : join(temporary, randomUUID());
      const descriptor = await makingFolder(dirname(staged), () => openSync(staged, "wx", 0o644));
      let left = true;
      try {
        const stats = await writeAll(descriptor, bytes, durable);
        if (!fresh) await makingFolder(folder, () => (ifAbsent ? linkSync(staged, file) : renameSync(staged, file)));
        left = ifAbsent && !fresh;
        if (durable) await syncFolder(folder).catch((error: unknown) => Promise.reject(undurable(error, path)));
        return entryOf(path, stats);
      } finally {
        closeSync(descriptor);
        if (left) unlinkSync(staged);
      }
    } catch (error) {
      if (ifAbsent || fresh) throw conditionalError(error, path);
      throw fileError(error, path, "write");
    }
  };

  const adopt: Store["adopt"] = async (source, path) => {
    assertStorePath(path);
    try {
      const file = locate(path);
      const stats = await syncFile(source);
      if (resolve(source) !== file) {
        try {
          await makingFolder(dirname(file), () => renameSync(source, file));
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
      closeSync(await makingFolder(temporary, () => openSync(staged, "wx", 0o644)));
      await copyFile(source, staged);
      await syncFile(staged);
      await makingFolder(dirname(file), () => renameSync(staged, file));
    } catch (error) {
      await rm(staged, { force: true });
      throw error;
    }
    await syncFolder(dirname(file));
    unlinkSync(source);
  };

  /** Opens a file without following a link. */
  const opened = (path: string): { descriptor: number; stats: Stats } => {
    const descriptor = openSync(locate(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stats = fstatSync(descriptor);
    if (stats.isFile()) return { descriptor, stats };
    closeSync(descriptor);
    throw new MillraceError("not-found", `\`${path}\` is not a file`, { where: { file: path } });
  };

  const openFile = async (path: string): Promise<RandomAccess> => {
    try {
      const { descriptor, stats } = opened(path);
      return {
        size: stats.size,
        modified: stats.mtimeMs,
        read: (offset, length, signal) => readRange(descriptor, path, offset, length, signal),
        [Symbol.asyncDispose]: async () => closeSync(descriptor),
      };
    } catch (error) {
      throw fileError(error, path, "read");
    }
  };

  /** Folders are nothing by themselves, as in a store of objects: a listing would go through all that ever was. A writer makes its own again. */
  const removeEmpty = (folder: string): void => {
    try {
      for (; folder.includes("/"); folder = dirname(folder)) rmdirSync(join(root, folder));
    } catch {
      // It is not empty.
    }
  };

  const remove: Store["remove"] = async (path) => {
    try {
      const file = locate(path);
      unlinkSync(file);
      await syncFolder(dirname(file));
      removeEmpty(dirname(path));
    } catch (error) {
      // ENOTDIR: a part of the path is a file, so nothing lies below it.
      if (!["ENOENT", "ENOTDIR"].includes(systemCode(error) ?? "")) throw fileError(error, path, "remove");
    }
  };

  return {
    url: root,
    write,
    adopt,
    open: openFile,
    async read(path) {
      try {
        const { descriptor, stats } = opened(path);
        try {
          if (stats.size <= smallBytes) return readSmall(descriptor, stats.size);
          return await readRange(descriptor, path, 0, stats.size);
        } finally {
          closeSync(descriptor);
        }
      } catch (error) {
        throw fileError(error, path, "read");
      }
    },
    async *list(prefix, leftOut) {
      const start = prefix.replace(/\/+$/, "");
      if (start !== "") locate(`${start}/x`);
      yield* walk(root, start, leftOut);
    },
    async folders() {
      const entries = await readdir(root, { withFileTypes: true }).catch((error: unknown) => {
        if (systemCode(error) === "ENOENT") return [];
        throw fileError(error, root, "list");
      });
      return entries.flatMap((entry) => (entry.isDirectory() && entry.name !== temporaryFolder ? [entry.name] : []));
    },
    remove,
    uri: (path) => (path === "" ? root : join(root, path)),
    local(path) {
      if (path !== "") assertStorePath(path);
      return join(root, path);
    },
    async check(signal) {
      throwIfAborted(signal);
      await assertConditional(root, { write, remove });
      await removeStale(temporary);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function readRange(
  descriptor: number,
  path: string,
  offset: number,
  length: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length;) {
    throwIfAborted(signal);
    const { bytesRead } = await readAt(descriptor, bytes, done, length - done, offset + done);
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
}

async function assertConditional(root: string, { write, remove }: Pick<Store, "write" | "remove">): Promise<void> {
  const probe = `millrace-probe-${randomUUID()}`;
  const bytes = new TextEncoder().encode("probe");
  try {
    await write(probe, bytes, { ifAbsent: true }).catch((error: unknown) => {
      // Writing makes the folder, so what does not exist after it cannot be made.
      if (!isMillraceError(error) || error.code !== "not-found") throw error;
      throw new MillraceError("config", `\`${root}\` is not a folder, and none can be made there`, {
        cause: error,
        where: { store: "fs", file: root },
        hint: "point `path` to a folder, or to a name in a folder that exists and is writable",
      });
    });
    const second: unknown = await write(probe, bytes, { ifAbsent: true }).catch((error: unknown) => error);
    if (isMillraceError(second) && second.code === "already-exists") return;
    throw new MillraceError("unsupported", `\`${root}\` lets a conditional create succeed twice`, {
      hint: "datasets cannot be committed safely there; use a file system with hard links",
    });
  } finally {
    await remove(probe);
  }
}

/** The file has its name, and whether it keeps it nobody can say: reading it back proves nothing, for it comes from memory. */
function undurable(error: unknown, path: string): MillraceError {
  return new MillraceError(
    "unknown-outcome",
    `\`${path}\` was written, but the device did not keep it: ${messageOf(error)}`,
    {
      cause: error,
      where: { store: "fs", file: path },
      temporary: true,
      hint: "look at the system's log (`dmesg`), then run again; nothing was removed",
    },
  );
}

function conditionalError(error: unknown, path: string): MillraceError {
  if (isMillraceError(error)) return error;
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
