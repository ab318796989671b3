import { stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { MillraceError } from "../core/index.ts";

/** Names that are looked for, in this order. */
export const configNames = [
  "millrace.yaml",
  "millrace.yml",
  "millrace.ts",
  "millrace.mts",
  "millrace.mjs",
  "millrace.js",
];

async function kindOf(path: string): Promise<"file" | "folder" | undefined> {
  try {
    const found = await stat(path);
    return found.isDirectory() ? "folder" : "file";
  } catch {
    return undefined;
  }
}

async function inFolder(folder: string): Promise<string | undefined> {
  for (const name of configNames) {
    const path = join(folder, name);
    if ((await kindOf(path)) === "file") return path;
  }
  return undefined;
}

/**
 * The absolute path of the configuration: `given` (a file, or a folder that holds one), or the nearest one found upward from `start`.
 * Throws `config`.
 */
export async function locateConfig(given: string | undefined, start: string): Promise<string> {
  if (given !== undefined) {
    const path = resolve(start, given);
    const kind = await kindOf(path);
    if (kind === "file") return path;
    const found = kind === "folder" ? await inFolder(path) : undefined;
    if (found !== undefined) return found;
    throw new MillraceError("config", `there is no configuration at \`${given}\``, {
      hint: "`millrace init my-lake` makes a folder with one",
      where: { file: path },
    });
  }
  for (let folder = resolve(start); ; folder = dirname(folder)) {
    const found = await inFolder(folder);
    if (found !== undefined) return found;
    if (folder === dirname(folder)) break;
  }
  throw new MillraceError("config", "there is no `millrace.yaml` in this folder or in one above it", {
    hint: "`millrace init my-lake` makes one, `--config <file>` names one",
    where: { file: resolve(start) },
  });
}
