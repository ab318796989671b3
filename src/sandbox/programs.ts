import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { MillraceError } from "../core/errors.ts";

/** Where programs come from, for those that are not there. */
const sources: Record<string, string> = {
  ffmpeg: "install ffmpeg 5.1 or newer: `apt-get install ffmpeg`, `brew install ffmpeg`",
  ffprobe: "install ffmpeg 5.1 or newer: `apt-get install ffmpeg`, `brew install ffmpeg`",
  tesseract: "install tesseract: `apt-get install tesseract-ocr`, `brew install tesseract`",
};

function find(name: string): string | undefined {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    if (folder === "") continue;
    const path = resolve(join(folder, name));
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // The next folder may have it.
    }
  }
  return undefined;
}

/** Absolute paths of programs by their names, as the environment finds them. Throws `unsupported` for one that is not installed. */
export function findPrograms(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => {
      const path = find(name);
      if (path !== undefined) return [name, path];
      throw new MillraceError("unsupported", `the program \`${name}\` is needed and not installed`, {
        hint: sources[name] ?? `install \`${name}\`, or put its folder into PATH`,
      });
    }),
  );
}
