import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  isMillraceError,
  MillraceError,
  retry,
  type Column,
  type Cursor,
  type CursorValue,
  type Source,
  type SourceContext,
} from "../../core/index.ts";
import video from "../../formats/video/index.ts";
import { findPrograms } from "../../sandbox/index.ts";
import { grouped } from "../assets/grouped.ts";
import { assetRows, type ComingAsset } from "../assets/read.ts";
import type { KinesisVideoOptions } from "./index.ts";
import { joinFragments } from "./matroska.ts";
import { compareNumbers, openArchive, type Fragment } from "./service.ts";

/** Fragments that follow each other: one asset. */
interface Segment {
  numbers: string[];
  bytes: number;
  /** Milliseconds since the epoch, by the clock of the camera. */
  began: number;
}

interface PartSpec {
  segments: Segment[];
  columns: Column[];
}

const partBytes = 256 * 1024 ** 2;
/** What is asked for at once, and in memory for a while. */
const segmentBytes = 64 * 1024 ** 2;
const fragmentsAtOnce = 1000;
/** A pause between fragments that is longer begins another segment. */
const gapMs = 500;
/** Fragments are listed once they are whole: one that began earlier may be listed after one that began later. */
const overlapMs = 120_000;

export async function open(options: KinesisVideoOptions, context: SourceContext): Promise<Source> {
  const { connection } = context;
  const format = video.options.safeParse(options.options ?? {});
  if (!format.success) {
    const [issue] = format.error.issues;
    throw new MillraceError("config", `\`options\` of the stream: ${issue!.path.join(".")}: ${issue!.message}`, {
      where: { connection },
      hint: "`millrace describe format video` lists them",
    });
  }
  const converter = (await video.load()).open(format.data).converter!;
  const own = converter.columns!;
  const archive = await openArchive(options, connection);
  const scratch = join(context.scratch ?? tmpdir(), "kinesis-video");

  return {
    async check(signal) {
      findPrograms(["ffmpeg", "ffprobe"]);
      const now = Date.now();
      await archive.list(now - 60_000, now, signal);
    },

    async *streams() {
      yield { name: "archive", columns: [...own], key: [], cursors: [] };
    },

    async plan(request, { after, signal, peek }) {
      if (request.query !== undefined)
        throw new MillraceError("unsupported", "a stream of video has no query language");
      if (request.stream !== "archive") {
        throw new MillraceError("not-found", `\`${connection}\` has no stream \`${request.stream}\``, {
          where: { connection },
          hint: "its stream is `archive`",
        });
      }
      const columns = own.filter(({ name }) => request.columns?.includes(name) !== false);
      if (peek === true) return { columns, key: [], parts: [], ...(after === undefined ? {} : { cursor: after }) };
      findPrograms(["ffmpeg", "ffprobe"]);
      const position = positionOf(after);
      const since =
        position === undefined ? Date.parse(options.since ?? "1970-01-01T00:00:00Z") : position.arrived - overlapMs;
      const listed = await archive.list(since, Date.now(), signal);
      const fragments = listed.filter(
        ({ number }) => position === undefined || compareNumbers(number, position.number) > 0,
      );
      const last = fragments.at(-1);
      const cursor: Cursor | undefined =
        last === undefined ? after : { version: 1, number: last.number, arrived: last.arrived };
      const parts = grouped(
        segmentsOf(fragments, options.segment_s * 1000),
        request.partBytes ?? partBytes,
        ({ bytes }) => bytes,
      );
      return {
        columns,
        key: [],
        parts: parts.map((segments, index) => ({
          id: `kinesis-video-${String(index + 1).padStart(5, "0")}`,
          bytes: segments.reduce((sum, { bytes }) => sum + bytes, 0),
          spec: { segments, columns } as unknown as Record<string, CursorValue>,
        })),
        ...(cursor === undefined ? {} : { cursor }),
      };
    },

    async read(part, _request, { signal, keep }) {
      const { segments, columns } = part.spec as unknown as PartSpec;
      async function* coming(): AsyncGenerator<ComingAsset> {
        for (const segment of segments) {
          const again = signal === undefined ? {} : { signal };
          const { files, missing: late } = await retry(() => mediaOf(segment.numbers), again);
          const second = late.length === 0 ? { files: [], missing: [] } : await retry(() => mediaOf(late), again);
          files.push(...second.files);
          const { missing } = second;
          for (const [index, bytes] of files.entries()) {
            yield assetOf(segment, bytes, files.length > 1 ? `-${index + 1}` : "");
          }
          // They were listed, and went with the retention of the stream since then.
          for (const number of missing) {
            const uri = `${connection}/${number}`;
            const problem = `the fragment ${number} is no longer in the stream`;
            yield {
              name: uri,
              uri,
              size: 0,
              modified: segment.began,
              problem,
              hold: () => Promise.reject(new Error(problem)),
            };
          }
        }
      }
      const mediaOf = async (numbers: readonly string[]): Promise<{ files: Buffer[]; missing: string[] }> => {
        const bytes = await archive.media(numbers, signal).catch((error: unknown) => {
          if (isMillraceError(error) && error.code === "not-found") return Buffer.alloc(0);
          throw error;
        });
        const { files, numbers: given } = joinFragments(bytes);
        return { files, missing: numbers.filter((number) => !given.includes(number)) };
      };
      const assetOf = ({ numbers, began }: Segment, bytes: Buffer, tail: string): ComingAsset => {
        const stamp = new Date(began).toISOString().replaceAll(/[-:]/g, "");
        const name = `${stamp}-${numbers[0]}${tail}.mkv`;
        const uri = `${connection}/${name}`;
        return {
          name: uri,
          uri,
          size: bytes.length,
          modified: began,
          identity: uri,
          async hold() {
            await mkdir(scratch, { recursive: true });
            const path = join(scratch, `${crypto.randomUUID()}.mkv`);
            await writeFile(path, bytes);
            return {
              file: { path, name, size: bytes.length, modified: began },
              release: () => rm(path, { force: true }),
            };
          },
        };
      };
      return assetRows(coming(), {
        converter,
        columns,
        formatOptions: format.data,
        assets: options.assets,
        limits: options,
        signal,
        keep,
      });
    },

    async [Symbol.asyncDispose]() {
      archive.close();
    },
  };
}

function positionOf(after: Cursor | undefined): { number: string; arrived: number } | undefined {
  if (after === undefined) return undefined;
  if (after["version"] !== 1) {
    throw new MillraceError("unsupported", `the cursor of the stream has version ${JSON.stringify(after["version"])}`, {
      hint: "use the version of Millrace that wrote it, or a newer one",
    });
  }
  return { number: after["number"] as string, arrived: after["arrived"] as number };
}

/** Fragments that follow each other without a gap, up to a length. */
function segmentsOf(fragments: readonly Fragment[], milliseconds: number): Segment[] {
  const segments: (Segment & { end: number })[] = [];
  for (const fragment of fragments) {
    const last = segments.at(-1);
    const follows =
      last !== undefined &&
      Math.abs(fragment.produced - last.end) <= gapMs &&
      fragment.produced + fragment.milliseconds - last.began <= milliseconds &&
      last.bytes + fragment.bytes <= segmentBytes &&
      last.numbers.length < fragmentsAtOnce;
    const end = fragment.produced + fragment.milliseconds;
    if (follows) {
      last.numbers.push(fragment.number);
      last.bytes += fragment.bytes;
      last.end = end;
    } else segments.push({ numbers: [fragment.number], bytes: fragment.bytes, began: fragment.produced, end });
  }
  return segments.map(({ numbers, bytes, began }) => ({ numbers, bytes, began }));
}
