import { messageOf, MillraceError, type EnricherInput } from "../../core/index.ts";
import { deathReason, runInSandbox } from "../../sandbox/index.ts";
import { withFile } from "../shared/scratch.ts";
import type { PixelsSpec } from "./read.ts";

/** Source when this runs from source, JavaScript when it runs from the build. */
const module = new URL(import.meta.url.endsWith(".ts") ? "./read.ts" : "./read.js", import.meta.url);

/** Red, green and blue of a byte, row by row, or why it is no image. */
export type Pixels = Uint8Array | { problem: string };

/** Decodes images in a process that can be killed; one that is damaged, or that kills it each time, is a problem in its place. */
export async function pixelsOf(
  inputs: readonly EnricherInput[],
  spec: PixelsSpec,
  signal: AbortSignal | undefined,
): Promise<Pixels[]> {
  const found: Pixels[] = [];
  while (found.length < inputs.length) {
    const rest = inputs.slice(found.length);
    const before = found.length;
    const bytes = Buffer.concat(rest.map(({ asset }) => asset!.bytes));
    try {
      await withFile(bytes, "images", async (path) => {
        const lengths = rest.map(({ asset }) => asset!.bytes.length);
        const job = { module, input: [path, lengths, spec], file: rest[0]!.asset!.uri, path, native: true };
        let pending: Uint8Array[] = [];
        for await (const output of runInSandbox({ ...job, ...(signal ? { signal } : {}) })) {
          if (output instanceof Uint8Array) {
            // Its memory is used again for what comes next.
            pending.push(new Uint8Array(output));
            continue;
          }
          const { problem } = output.message as { problem?: string };
          found.push(problem === undefined ? new Uint8Array(Buffer.concat(pending)) : { problem });
          pending = [];
        }
      });
    } catch (error) {
      if (!(error instanceof MillraceError) || deathReason(error) === undefined) throw error;
      // Alone, so that no other is blamed, and the sandbox tries it as often as it tries a file.
      if (rest.length > 1) found.push(...(await pixelsOf([inputs[found.length]!], spec, signal)));
      else found.push({ problem: messageOf(error) });
    }
    if (found.length === before) throw new MillraceError("internal", "the decoder of images gave no answer");
  }
  return found;
}
