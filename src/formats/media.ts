import { spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { MillraceError } from "../core/index.ts";

/** Paths of the programs, as the converter's option `programs` has them. */
export interface Programs {
  ffmpeg: string;
  ffprobe: string;
}

/**
 * The one demuxer that may read each kind of file, by its content. Never guessed by ffmpeg: playlists and lists of other files are
 * formats to it, and would make it open what they name.
 */
const demuxers: Record<string, string> = {
  "audio/wav": "wav",
  "audio/mpeg": "mp3",
  "audio/flac": "flac",
  "audio/ogg": "ogg",
  "audio/mp4": "mov",
  "audio/aac": "aac",
  "audio/amr": "amr",
  "audio/aiff": "aiff",
  "video/mp4": "mov",
  "video/quicktime": "mov",
  "video/3gpp": "mov",
  "video/x-matroska": "matroska",
  "video/webm": "matroska",
  "video/mp2t": "mpegts",
  "video/x-msvideo": "avi",
  "video/x-flv": "flv",
};

/** Arguments that name the input. Throws `unsupported` for content that is neither audio nor video. */
export function inputOf(path: string, mediaType: string): string[] {
  const demuxer = Object.hasOwn(demuxers, mediaType) ? demuxers[mediaType]! : undefined;
  if (demuxer === undefined) throw new MillraceError("unsupported", `it is ${mediaType}, neither audio nor video`);
  // `file` alone: what a file refers to elsewhere is not fetched.
  return ["-protocol_whitelist", "file", "-f", demuxer, "-i", `file:${path}`];
}

export interface MediaStream {
  index: number;
  codec_type?: string;
  codec_name?: string;
  profile?: string;
  sample_fmt?: string;
  sample_rate?: string;
  channels?: number;
  channel_layout?: string;
  bit_rate?: string;
  width?: number;
  height?: number;
  pix_fmt?: string;
  avg_frame_rate?: string;
  nb_frames?: string;
  tags?: Record<string, string>;
  disposition?: { attached_pic?: number };
  side_data_list?: { rotation?: number }[];
}

export interface Probe {
  format: { format_name?: string; duration?: string; bit_rate?: string; tags?: Record<string, string> };
  streams: MediaStream[];
}

/** Bytes of what a program may say. */
const maximumWords = 16 * 1024 ** 2;

/** What the container says of itself. Throws `parse` for what is none. */
export async function probe(programs: Programs, input: readonly string[]): Promise<Probe> {
  const options = ["-v", "error", "-hide_banner", "-show_format", "-show_streams", "-of", "json"];
  const { outputs, ended } = start(programs.ffprobe, [...options, ...input], 1);
  const chunks: Buffer[] = [];
  let held = 0;
  for await (const chunk of outputs[0]! as AsyncIterable<Buffer>) {
    held += chunk.length;
    if (held > maximumWords) throw new MillraceError("limit", "its description is longer than 16 MiB");
    chunks.push(chunk);
  }
  const { code, words } = await ended;
  // What it writes of a file that it cannot read is no JSON.
  const { format, streams } = (code === 0 ? JSON.parse(Buffer.concat(chunks).toString()) : {}) as Partial<Probe>;
  if (format === undefined) throw new MillraceError("parse", complaintOf(words) ?? "it has no streams");
  return { format, streams: streams ?? [] };
}

/** Characters of what a program says that are kept. */
const keptWords = 65_536;

export interface Running {
  /** What it writes to `pipe:1`, `pipe:3`, `pipe:4` … All must be read, or it waits. */
  outputs: Readable[];
  /** What it has said so far. */
  words: () => string;
  ended: Promise<{ code: number | null; words: string }>;
}

/** Starts a program with so many outputs. It ends with this process. */
export function start(
  program: string,
  options: readonly string[],
  outputs: number,
  onLine?: (line: string) => void,
): Running {
  const more = Array.from({ length: outputs - 1 }, () => "pipe" as const);
  const child = spawn(program, options, { stdio: ["ignore", "pipe", "pipe", ...more], env: {} });
  let words = "";
  let rest = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!.slice(-keptWords);
    for (const line of lines) {
      onLine?.(line);
      // What was said first says most. With levels only errors are complaints.
      const isComplaint = onLine === undefined || /\[(error|fatal|panic)\]/.test(line);
      if (isComplaint && words.length < keptWords) words += `${line}\n`;
    }
  });
  const ended = new Promise<{ code: number | null; words: string }>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, words }));
  });
  // Whoever reads the outputs learns of it first.
  ended.catch(() => undefined);
  return { outputs: [child.stdout!, ...(child.stdio.slice(3) as Readable[])], words: () => words, ended };
}

/** The first thing that ffmpeg has to say against a file, without addresses of its memory. */
export function complaintOf(words: string): string | undefined {
  for (const line of words.split("\n")) {
    const text = line
      .replaceAll(/\[[^\]]* @ 0x[0-9a-f]+\] ?/g, "")
      .replaceAll(/\[(error|fatal|warning|panic)\] ?/g, "")
      .replace(/^file:\S*: /, "")
      .trim();
    if (text !== "" && !/^\[info\]|^Last message repeated/.test(text)) return text.slice(0, 300);
  }
  return undefined;
}

/** Numbers of ffprobe are text, or missing, or `N/A`. */
export function numberOf(text: string | undefined): number | null {
  const value = Number(text ?? "N/A");
  return Number.isFinite(value) ? value : null;
}

/** `30000/1001` as a number. */
export function ratioOf(text: string | undefined): number | null {
  const [, over, under] = /^(\d+)\/(\d+)$/.exec(text ?? "") ?? [];
  const value = Number(over) / Number(under);
  return Number.isFinite(value) && value > 0 ? value : null;
}

/** Tags of container and stream with names in lower case, those of the container first. */
export function tagsOf(...sets: (Record<string, string> | undefined)[]): Map<string, string> {
  const tags = new Map<string, string>();
  for (const set of sets) {
    for (const [name, value] of Object.entries(set ?? {})) {
      const key = name.toLowerCase();
      if (!tags.has(key) && tags.size < 200) tags.set(key, value.replaceAll("\0", "").slice(0, 4_000));
    }
  }
  return tags;
}

/** Tells the parent now and then that work goes on. */
export function createPulse(intervalMs = 1_000): () => boolean {
  let last = performance.now();
  return () => {
    const now = performance.now();
    if (now - last < intervalMs) return false;
    last = now;
    return true;
  };
}
