import { runInSandbox } from "./run.ts";

/** What a file is wrapped in. `none`: only its encoding changes. */
export type Container = "none" | "gzip" | "zstd" | "bzip2" | "zip";

export interface UnpackOptions {
  path: string;
  container: Container;
  /** `zip`: the entry. */
  member?: string;
  /** A label of the WHATWG encoding standard; the bytes become UTF-8, strictly. */
  encoding?: string;
  maximumBytes: number;
  /** Unpacked to packed, counted beyond the first MiB. */
  maximumRatio: number;
  maximumEntries: number;
}

export interface ArchiveEntry {
  name: string;
  size: number;
  packed: number;
  /** CRC-32, 8 hexadecimal digits. */
  crc: string;
  encrypted: boolean;
}

const unpacker = new URL(import.meta.url.endsWith(".ts") ? "./unpack.ts" : "./unpack.js", import.meta.url);

/** The unpacked bytes of a file, in a child process within limits. Throws `parse`, `limit`, `timeout`; all name `file`. */
export async function* unpack(
  file: string,
  options: UnpackOptions,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const output of runInSandbox({
    module: unpacker,
    input: [options],
    file,
    path: options.path,
    ...(signal ? { signal } : {}),
  })) {
    if (output instanceof Uint8Array) yield output;
  }
}

/** The files of a zip archive, without reading them. Folders are left out. Errors as `unpack`. */
export async function listArchive(
  file: string,
  options: Omit<UnpackOptions, "container">,
  signal?: AbortSignal,
): Promise<ArchiveEntry[]> {
  const input = [{ ...options, container: "zip", list: true }];
  for await (const output of runInSandbox({
    module: unpacker,
    input,
    file,
    path: options.path,
    ...(signal ? { signal } : {}),
  })) {
    if (!(output instanceof Uint8Array)) return output.message as ArchiveEntry[];
  }
  return [];
}
