import { forEachLimited, throwIfAborted } from "../core/index.ts";
import {
  displaced,
  manifestName,
  pendingBytes,
  pendingName,
  type ExportSubject,
  type Occupied,
} from "../feed/export/manifest.ts";

/** A place that no rename brings a whole export to: a prefix of a bucket, a folder that is a mount. */
export interface Pieces {
  /** How people name it. */
  name: string;
  occupied(): Promise<Occupied>;
  write(path: string, bytes: Uint8Array): Promise<void>;
  /** Brings a file of the stage to its place, whole. */
  put(path: string): Promise<void>;
  remove(path: string): Promise<void>;
}

/**
 * The files of an export one by one, the manifest last. Until then a note lies there that says which files are of it, so that an export
 * that was cut off is known for what it is, and the next one takes its place.
 */
export async function publishPieces(
  pieces: Pieces,
  paths: readonly string[],
  made: ExportSubject,
  options: { force: boolean; signal?: AbortSignal | undefined },
): Promise<void> {
  const old = displaced(await pieces.occupied(), made, pieces.name, options.force);
  await pieces.write(pendingName, pendingBytes(made, [...new Set([...paths, ...old])]));
  // Without its manifest the earlier export is none any more, whatever happens next.
  await pieces.remove(manifestName);
  const begun: string[] = [];
  const put = async (path: string): Promise<void> => {
    begun.push(path);
    await pieces.put(path);
  };
  try {
    for (const path of old) if (!paths.includes(path) && path !== pendingName) await pieces.remove(path);
    await forEachLimited(paths.slice(0, -1), 4, async (path) => {
      throwIfAborted(options.signal);
      await put(path);
    });
    await put(paths.at(-1)!);
  } catch (error) {
    await withdraw(pieces, begun).catch(() => undefined);
    throw error;
  }
  await pieces.remove(pendingName);
}

async function withdraw(pieces: Pieces, paths: readonly string[]): Promise<void> {
  for (const path of paths.toReversed()) await pieces.remove(path);
  await pieces.remove(pendingName);
}
