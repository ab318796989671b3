import { stat } from "node:fs/promises";
import {
  isMillraceError,
  messageOf,
  MillraceError,
  throwIfAborted,
  unpackedBytes,
  withinLimits,
  type FileRef,
} from "../../core/index.ts";
import type { FilesOptions } from "./index.ts";
import { isPlain, limitsOf, type Wrapping } from "./members.ts";

/** A compressed file that the engine unpacks itself. */
export interface Packed {
  file: FileRef;
  compression: "gzip" | "zstd";
}

/** The file as one that the engine unpacks, or undefined. */
export function packedOf(file: FileRef, format: string, wrapping: Wrapping): Packed | undefined {
  const { container } = wrapping;
  return isPlain(format, wrapping) && (container === "gzip" || container === "zstd")
    ? { file, compression: container }
    : undefined;
}

/**
 * Unpacks files to nowhere. The engine takes whatever bytes come out: it neither compares them with the checksum of the file nor
 * minds how many they are. Throws `parse` for a file that is damaged and `limit` for one that unpacks to too much, naming it.
 */
export async function verifyPacked(
  packed: readonly Packed[],
  options: FilesOptions,
  signal: AbortSignal,
): Promise<void> {
  for (const { file, compression } of packed) {
    try {
      const { size } = await stat(file.path);
      for await (const chunk of withinLimits(size, unpackedBytes(file.path, compression), limitsOf(options))) {
        void chunk;
        throwIfAborted(signal);
      }
    } catch (error) {
      if (isMillraceError(error)) throw error.at({ file: file.name });
      throw new MillraceError("parse", `\`${file.name}\` is damaged: ${messageOf(error)}`, {
        where: { file: file.name },
        hint: "fetch it again from where it came from",
        cause: error,
      });
    }
  }
}
