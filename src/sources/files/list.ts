import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, matchesGlob, relative, resolve, sep } from "node:path";
import { MillraceError, suggestion, systemCode, throwIfAborted } from "../../core/index.ts";
import type { Found } from "./places.ts";
import { globBase, globCharacters } from "./scratch.ts";

/** The files of paths, folders and globs, each once, by name. Throws `not-found` for a path that does not exist or a glob without a match. */
export async function listFiles(patterns: readonly string[], folder: string, signal?: AbortSignal): Promise<Found[]> {
  throwIfAborted(signal);
  const found = new Map<string, Found>();
  for (const pattern of patterns) {
    const before = found.size;
    for await (const path of expand(pattern, folder)) {
      throwIfAborted(signal);
      if (found.has(path)) continue;
      const { size, mtimeMs } = await stat(path);
      found.set(path, { path, name: nameOf(path, folder), size, modified: Math.trunc(mtimeMs) });
    }
    if (found.size === before && globCharacters.test(pattern)) {
      throw new MillraceError("not-found", `no file matches \`${pattern}\``, {
        where: { file: pattern },
        hint: `relative paths are taken from \`${folder}\``,
      });
    }
  }
  // By code unit, so that every machine has the same order.
  return [...found.values()].sort((left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0));
}

export function nameOf(path: string, folder: string): string {
  const short = relative(folder, path);
  return short === "" || short.startsWith("..") ? path : short.split(sep).join("/");
}

async function* expand(pattern: string, folder: string): AsyncGenerator<string> {
  const literal = resolve(folder, pattern);
  const kind = await kindOf(literal);
  if (kind === "file") {
    yield literal;
    return;
  }
  if (kind === "folder") {
    yield* walk(literal, await realpath(literal), () => true);
    return;
  }
  if (kind === "other") {
    throw new MillraceError("unsupported", `\`${pattern}\` is neither a file nor a folder`, {
      where: { file: pattern },
    });
  }
  if (!globCharacters.test(pattern)) {
    const siblings = await readdir(dirname(literal)).catch(() => []);
    throw new MillraceError("not-found", `\`${pattern}\` does not exist`, {
      where: { file: pattern },
      hint:
        siblings.length > 0 ? suggestion(basename(literal), siblings) : `relative paths are taken from \`${folder}\``,
    });
  }
  const base = resolve(folder, globBase(pattern));
  if ((await kindOf(base)) !== "folder") {
    throw new MillraceError("not-found", `the folder \`${globBase(pattern)}\` of \`${pattern}\` does not exist`, {
      where: { file: pattern },
      hint: `relative paths are taken from \`${folder}\``,
    });
  }
  const rest = relative(base, literal);
  yield* walk(
    base,
    await realpath(base),
    (path) => matchesGlob(relative(base, path), rest),
    rest.includes("**") ? Infinity : rest.split(sep).length,
  );
}

async function kindOf(path: string): Promise<"file" | "folder" | "other" | "absent"> {
  try {
    const entry = await stat(path);
    return entry.isFile() ? "file" : entry.isDirectory() ? "folder" : "other";
  } catch (cause) {
    if (["ENOENT", "ENOTDIR", "ENAMETOOLONG"].includes(systemCode(cause) ?? "")) return "absent";
    throw new MillraceError("permission", `\`${path}\` cannot be read: ${systemCode(cause)}`, {
      where: { file: path },
      cause,
    });
  }
}

/** Names that begin with `.` or `_` are left out: temporary files and markers of other tools (`_SUCCESS`, `.crc`). */
async function* walk(
  folder: string,
  root: string,
  wanted: (path: string) => boolean,
  depth = Infinity,
): AsyncGenerator<string> {
  let entries;
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (cause) {
    throw new MillraceError("permission", `the folder \`${folder}\` cannot be listed: ${systemCode(cause)}`, {
      where: { file: folder },
      cause,
    });
  }
  entries.sort((left, right) => (left.name < right.name ? -1 : 1));
  for (const entry of entries) {
    if (entry.name.startsWith(".") || entry.name.startsWith("_")) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (depth > 1) yield* walk(path, root, wanted, depth - 1);
      continue;
    }
    if (!wanted(path)) continue;
    if (entry.isFile()) {
      yield path;
      continue;
    }
    if (!entry.isSymbolicLink()) continue;
    const target = await realpath(path).catch(() => undefined);
    if (target === undefined || !(target === root || target.startsWith(root + sep))) {
      throw new MillraceError("permission", `the link \`${path}\` leads out of \`${root}\``, {
        where: { file: path },
        hint: "name the file itself in `path`, or remove the link",
      });
    }
    if ((await lstat(target)).isFile()) yield path;
  }
}
