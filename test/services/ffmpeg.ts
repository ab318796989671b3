import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { requireProgram } from "./install.ts";

const execute = promisify(execFile);

/** ffmpeg, which makes recordings for tests and says what others hold. */
export interface Ffmpeg {
  /** Runs `ffmpeg`; gives what it writes to `-` and what it says. */
  make(...options: string[]): Promise<{ output: Buffer; words: string }>;
  /** What `ffprobe` says of a file, as JSON. */
  probe(path: string, ...options: string[]): Promise<Record<string, unknown>>;
}

/** Throws `unreachable` when it cannot be had. */
export async function requireFfmpeg(): Promise<Ffmpeg> {
  const program = { service: "ffmpeg", packages: ["ffmpeg"] };
  const ffmpeg = await requireProgram({ ...program, name: "ffmpeg" });
  const ffprobe = await requireProgram({ ...program, name: "ffprobe" });
  return {
    async make(...options) {
      const all = ["-nostdin", "-hide_banner", "-nostats", "-y", ...options];
      const { stdout, stderr } = await execute(ffmpeg, all, { encoding: "buffer", maxBuffer: 2 ** 30 });
      return { output: stdout, words: stderr.toString() };
    },
    async probe(path, ...options) {
      const { stdout } = await execute(ffprobe, ["-v", "error", "-of", "json", ...options, path], {
        maxBuffer: 2 ** 26,
      });
      return JSON.parse(stdout) as Record<string, unknown>;
    },
  };
}
