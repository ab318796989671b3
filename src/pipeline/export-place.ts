import { mkdir, open, readdir, readFile, realpath, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { asMillraceError, MillraceError, systemCode } from "../core/index.ts";
import { displaced, occupiedBy, type ExportSubject, type Occupied } from "../feed/export/manifest.ts";
import { publishPieces, type Pieces } from "./export-pieces.ts";
import type { LakeHandles } from "./lake.ts";
import { makeScratch } from "./scratch.ts";

/** Where an export goes. It is made beside its place, and appears there when it is complete. */
export interface ExportPlace extends AsyncDisposable {
  /** Local folder to write in. */
  stage: string;
  /** How people name the place. */
  name: string;
  /** Moves what lies in `stage` to its place; `paths` in order, the manifest last. */
  publish(paths: readonly string[]): Promise<void>;
}

/** Throws `already-exists` for a place with files of others, `usage` for one that is no folder. */
export async function openPlace(
  lake: LakeHandles,
  to: string,
  made: ExportSubject,
  options: PlaceOptions,
): Promise<ExportPlace> {
  if (options.store !== undefined) return storePlace(lake, options.store, to, made, options);
  const address = /^[a-z][a-z0-9+.-]*:\/\/[^/]*/.exec(to)?.[0];
  return address === undefined
    ? folderPlace(resolve(to), made, options)
    : storePlace(lake, address, to.slice(address.length), made, options);
}

interface PlaceOptions {
  force: boolean;
  /** Name of a configured connection that `to` is a path in. */
  store?: string | undefined;
  signal?: AbortSignal | undefined;
}

async function folderPlace(to: string, made: ExportSubject, options: PlaceOptions): Promise<ExportPlace> {
  await assertFolder(to);
  const target = await realpath(to).catch(() => to);
  const parts = join(dirname(target), `.${basename(target)}.partial`);
  const before = await occupied(target);
  displaced(before, made, to, options.force);
  let place = await beside(target, parts);
  if (place === undefined) {
    // The folder is a mount, or what it lies in is somebody else's.
    await makeFolder(target);
    place = { parent: join(target, ".partial"), stage: await makeScratch(join(target, ".partial")) };
  }
  const { parent, stage } = place;
  return {
    stage,
    name: to,
    async publish(paths) {
      const now = await occupied(target);
      const old = displaced(now, made, to, options.force);
      if (parent === parts && old.length === now.names.length) {
        await swap(stage, target, parent);
        return;
      }
      const pieces: Pieces = {
        name: to,
        occupied: () => occupied(target),
        write: (path, bytes) => writeFile(join(target, path), bytes, { flush: true }),
        async put(path) {
          await mkdir(dirname(join(target, path)), { recursive: true });
          await rename(join(stage, path), join(target, path));
        },
        remove: (path) => rm(join(target, path), { force: true }),
      };
      await publishPieces(pieces, paths, made, options);
      await syncFolder(target);
    },
    async [Symbol.asyncDispose]() {
      await rm(stage, { recursive: true, force: true });
      // Others may be at work there.
      await rmdir(parent).catch(() => undefined);
    },
  };
}

/** All at once: a folder that is new or empty is replaced in one step, one that is not is moved away before. */
async function swap(stage: string, target: string, parent: string): Promise<void> {
  const away = join(parent, `${basename(stage)}-old`);
  try {
    await rename(stage, target);
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST"].includes(systemCode(error) ?? "")) throw error;
    await rename(target, away);
    await rename(stage, target);
    await rm(away, { recursive: true, force: true });
  }
  await syncFolder(dirname(target));
}

/** A folder for the stage from which the whole can be renamed to `target`; undefined when there can be none. */
async function beside(target: string, parts: string): Promise<{ parent: string; stage: string } | undefined> {
  await makeFolder(dirname(target));
  const [inside, outside] = await Promise.all([stat(target).catch(() => undefined), stat(dirname(target))]);
  if (inside !== undefined && inside.dev !== outside.dev) return undefined;
  try {
    return { parent: parts, stage: await makeScratch(parts) };
  } catch (error) {
    if (inside !== undefined && ["EACCES", "EPERM", "EROFS"].includes(systemCode(error) ?? "")) return undefined;
    throw asMillraceError(error, { file: parts });
  }
}

async function occupied(folder: string): Promise<Occupied> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return [];
    throw asMillraceError(error, { file: folder });
  });
  const names = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((name) => !name.startsWith(".partial/"));
  return occupiedBy(names, (name) => readFile(join(folder, name)));
}

async function assertFolder(folder: string): Promise<void> {
  for (let path = folder; ; path = dirname(path)) {
    const found = await stat(path).catch((error: unknown) => {
      if (["ENOENT", "ENOTDIR"].includes(systemCode(error) ?? "")) return undefined;
      throw asMillraceError(error, { file: path });
    });
    if (found?.isDirectory() === true) return;
    if (found !== undefined) {
      throw new MillraceError("usage", `\`${path}\` is not a folder`, { hint: "name a folder with --to" });
    }
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    const code = systemCode(cause);
    if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
      throw new MillraceError("permission", `the folder \`${folder}\` cannot be made: ${code}`, { cause });
    }
    throw asMillraceError(cause, { file: folder });
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Each file appears whole, the manifest last. `reference`: an address such as `s3://bucket`, or the name of a connection. */
async function storePlace(
  lake: LakeHandles,
  reference: string,
  path: string,
  made: ExportSubject,
  options: PlaceOptions,
): Promise<ExportPlace> {
  const prefix = path.replaceAll(/^\/+|\/+$/g, "");
  const store = await lake.storeAt(reference);
  const at = (name: string): string => (prefix === "" ? name : `${prefix}/${name}`);
  const pieces: Pieces = {
    name: store.uri(prefix),
    async occupied() {
      const names: string[] = [];
      for await (const { path: found } of store.list(prefix)) {
        names.push(prefix === "" ? found : found.slice(prefix.length + 1));
      }
      return occupiedBy(names, (name) => store.read(at(name)));
    },
    write: async (name, bytes) => void (await store.write(at(name), bytes)),
    put: async (name) => void (await store.adopt(join(stage, name), at(name))),
    remove: (name) => store.remove(at(name)),
  };
  displaced(await pieces.occupied(), made, pieces.name, options.force);
  const stage = await makeScratch(join(lake.scratch, "export"));
  return {
    stage,
    name: pieces.name,
    publish: (paths) => publishPieces(pieces, paths, made, options),
    [Symbol.asyncDispose]: () => rm(stage, { recursive: true, force: true }),
  };
}
