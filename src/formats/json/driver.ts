import { open as openFile } from "node:fs/promises";
import { MillraceError, type FileRef, type Format, type Inferred } from "../../core/index.ts";
import type { JsonOptions } from "../json-options.ts";
import { openJson } from "../json-text.ts";

export function open(options: JsonOptions): Format {
  const format = openJson(options, false);
  return {
    ...format,
    native: {
      ...format.native!,
      async infer(file, engine): Promise<Inferred> {
        const structure =
          options.structure === "auto" && !["gzip", "zstd"].includes(options.compression)
            ? await structureOf(file)
            : options.structure;
        const inferred = await openJson({ ...options, structure }, false).native!.infer!(file, engine);
        return { ...inferred, options: { ...inferred.options, structure } };
      },
    },
  };
}

const edgeBytes = 4096;

/**
 * What a document is by its first and last characters. The engine takes an array that was cut behind a comma for a whole one, so
 * the end must fit the beginning. Throws `parse` where it does not.
 */
async function structureOf(file: FileRef): Promise<"array" | "concatenated"> {
  const handle = await openFile(file.path);
  try {
    const { size } = await handle.stat();
    const edge = async (position: number): Promise<string> => {
      const { buffer, bytesRead } = await handle.read(
        Buffer.alloc(Math.min(edgeBytes, size)),
        0,
        Math.min(edgeBytes, size),
        position,
      );
      return buffer.toString("latin1", 0, bytesRead);
    };
    // White space of JSON only: RFC 8259, section 2.
    const first = /[^ \t\r\n]/.exec(await edge(0))?.[0];
    const last = /([^ \t\r\n])[ \t\r\n]*$/.exec(await edge(Math.max(0, size - edgeBytes)))?.[1];
    const refuse = (what: string): never => {
      throw new MillraceError("parse", `\`${file.name}\` ${what}`, {
        where: { file: file.name },
        hint: "the file is damaged or was cut off",
      });
    };
    if (size <= edgeBytes && first === undefined) refuse("holds no JSON value");
    if (first === "[" && last !== "]") refuse("begins an array that does not end");
    if (first === "{" && last !== "}") refuse("begins with an object and does not end with one");
    return first === "[" ? "array" : "concatenated";
  } finally {
    await handle.close();
  }
}
