import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import type { FilesOptions } from "./index.ts";

/** Paths of the options, of either spelling. */
export function configuredPaths(options: Pick<FilesOptions, "path" | "paths">): string[] {
  return [options.path ?? [], options.paths ?? []].flat();
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

let own: string | undefined;

/** A folder of this process for what must be unpacked, readable by nobody else, removed when the process ends. */
export function ownScratch(): string {
  if (own === undefined) {
    const folder = mkdtempSync(join(tmpdir(), "millrace-files-"));
    chmodSync(folder, 0o700);
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
    own = folder;
  }
  return own;
}

/** What the engine must be let into: the files, the fixed part of globs, and the folder for unpacked files. */
export function localFolders(options: FilesOptions, folder: string): string[] {
  return [
    ...configuredPaths(options).flatMap((path) => {
      const literal = resolve(folder, path);
      return globCharacters.test(path) ? [literal, resolve(folder, globBase(path))] : [literal];
    }),
    ownScratch(),
  ];
}
