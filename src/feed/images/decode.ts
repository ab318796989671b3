import { randomUUID } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MillraceError } from "../../core/index.ts";
import { deathReason, runInSandbox } from "../../sandbox/index.ts";
import type { ImageOptions } from "./spec.ts";

/** Source when this runs from source, JavaScript when it runs from the build. */
const module = new URL(import.meta.url.endsWith(".ts") ? "./child.ts" : "./child.js", import.meta.url);

/** Changes when the same bytes may give other samples: part of what makes a cache another one. */
export async function decoderVersion(): Promise<string> {
  // Loaded where nothing is decoded: only to be asked for its version.
  const { default: sharp } = await import("sharp");
  return `vips ${sharp.versions.vips}`;
}

/** Samples of an image, a byte each, or why it is none. */
export type Decoded = Uint8Array | MillraceError;

/**
 * Decodes images in a process that can be killed. An image that is damaged, or that kills the decoder each time, is an error in its place;
 * `folder` is for the bytes on their way. Throws `timeout` and `limit` where the machine is what could not: another might.
 */
export async function decodeImages(
  images: readonly Uint8Array[],
  spec: Required<ImageOptions>,
  folder: string,
  nameOf: (image: number) => string,
  signal?: AbortSignal,
): Promise<Decoded[]> {
  const decoded: Decoded[] = [];
  while (decoded.length < images.length) {
    const first = decoded.length;
    const rest = images.slice(first);
    const path = join(folder, randomUUID());
    await writeFile(path, rest);
    let pending: Uint8Array[] = [];
    try {
      const input = [path, rest.map(({ length }) => length), spec];
      const job = { module, input, file: nameOf(first), path, native: true, ...(signal ? { signal } : {}) };
      for await (const output of runInSandbox(job)) {
        if (output instanceof Uint8Array) {
          pending.push(output);
          continue;
        }
        const { problem } = output.message as { problem?: string };
        decoded.push(problem === undefined ? joined(pending) : damaged(problem));
        pending = [];
      }
    } catch (error) {
      const reason = deathReason(error);
      if (!(error instanceof MillraceError) || reason === undefined) throw error;
      const culprit = decoded.length;
      // Alone, so that no other image is blamed, and the sandbox tries it as often as it tries a file.
      if (rest.length > 1) {
        const alone = await decodeImages([images[culprit]!], spec, folder, () => nameOf(culprit), signal);
        decoded.push(...alone);
      } else if (reason === "deadline" || reason === "memory") throw error;
      else decoded.push(error);
    } finally {
      await rm(path, { force: true });
    }
  }
  return decoded;
}

const damaged = (problem: string): MillraceError => new MillraceError("parse", problem);

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? new Uint8Array(parts[0]!) : new Uint8Array(Buffer.concat(parts));
}
