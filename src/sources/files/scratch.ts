import { randomUUID } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import type { FilesOptions } from "./index.ts";

/** Paths of the options, of either spelling. */
export function configuredPaths(options: Pick<FilesOptions, "path" | "paths">): string[] {
  return [options.path ?? [], options.paths ?? []].flat();
}

/** `s3://bucket/…`: a path in a store. */
export function isAddress(path: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(path);
}

/** A file behind a URL. */
export function isWebAddress(path: string): boolean {
  return /^https?:\/\//i.test(path);
}

export const globCharacters = /[*?[\]{}]/;

/** The folder that all matches of a glob lie in. */
export function globBase(pattern: string): string {
  const absolute = isAbsolute(pattern);
  const segments = pattern.split("/");
  const first = segments.findIndex((segment) => globCharacters.test(segment));
  if (first === -1) return pattern;
  const base = segments.slice(0, first).join("/");
  return base === "" ? (absolute ? "/" : ".") : base;
}

// A name that nobody can guess; the folder is made when there is something to unpack.
const own = join(tmpdir(), `millrace-files-${randomUUID()}`);
let isMade = false;

/** The name of a folder of this process for what must be unpacked. */
export function ownScratch(): string {
  return own;
}

/** Makes a scratch folder; the process's own is readable by nobody else and removed when the process ends. */
export function makeScratch(folder: string): void {
  if (folder !== own) {
    mkdirSync(folder, { recursive: true });
    return;
  }
  if (isMade) return;
  mkdirSync(own, { mode: 0o700 });
  isMade = true;
  process.once("exit", () => rmSync(own, { recursive: true, force: true }));
}

/** What the engine must be let into: the files, the fixed part of globs, and the folder for unpacked files. */
export function localFolders(options: FilesOptions, folder: string): string[] {
  return [
    ...(options.store === undefined ? configuredPaths(options) : []).flatMap((path) => {
      if (isAddress(path)) return [];
      const literal = resolve(folder, path);
      return globCharacters.test(path) ? [literal, resolve(folder, globBase(path))] : [literal];
    }),
    ...(options.urls === undefined ? [] : [resolve(folder, options.urls.path)]),
    ownScratch(),
  ];
}
