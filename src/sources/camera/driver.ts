import { join, resolve } from "node:path";
import {
  MillraceError,
  throwIfAborted,
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
import { beginCapture, type Capture } from "./capture.ts";
import { playlistAt, recordHls, salvage } from "./hls.ts";
import type { CameraOptions } from "./index.ts";
import { probeRtsp, recordRtsp } from "./rtsp.ts";
import { Spool, type Recording } from "./spool.ts";

/** The recordings of one part. */
interface PartSpec {
  recordings: Recording[];
  columns: Column[];
}

const partBytes = 1024 ** 3;
const uriOf = (connection: string, name: string): string => `${connection}/${name}`;

/**
 * A run records first, and then reads what lies in the spool: recordings of a run that died are read by the next one. What a committed version has
 * is removed from the spool when the run after it begins.
 */
export async function open(options: CameraOptions, context: SourceContext): Promise<Source> {
  const { connection } = context;
  const spool = new Spool(
    resolve(context.folder, options.spool ?? join("captures", connection)),
    options.spool_max_bytes,
  );
  const isPlaylist = /^https?:/.test(options.url);
  const format = video.options.safeParse(options.options ?? {});
  if (!format.success) {
    const [issue] = format.error.issues;
    throw new MillraceError("config", `\`options\` of the camera: ${issue!.path.join(".")}: ${issue!.message}`, {
      where: { connection },
      hint: "`millrace describe format video` lists them",
    });
  }
  const converter = (await video.load()).open(format.data).converter!;
  const own = converter.columns!;

  const check = async (capture: Capture): Promise<void> => {
    findPrograms(["ffmpeg", "ffprobe"]);
    if (isPlaylist) await playlistAt(capture, new URL(options.url));
    else await probeRtsp(capture);
  };
  const record = async (signal: AbortSignal | undefined): Promise<void> => {
    findPrograms(["ffmpeg", "ffprobe"]);
    if (!(await spool.hasRoom())) return;
    const capture = beginCapture(options, spool, signal);
    await (isPlaylist ? recordHls(capture) : recordRtsp(capture));
    throwIfAborted(signal);
  };

  return {
    async check(signal) {
      await check(beginCapture(options, spool, signal));
    },

    async *streams() {
      yield { name: "live", columns: [...own], key: [], cursors: [] };
    },

    async plan(request, { after, signal, peek }) {
      if (request.query !== undefined) throw new MillraceError("unsupported", "a camera has no query language");
      if (request.stream !== "live") {
        throw new MillraceError("not-found", `a camera has no stream \`${request.stream}\``, {
          where: { connection },
          hint: "its stream is `live`",
        });
      }
      const columns = own.filter(({ name }) => request.columns?.includes(name) !== false);
      if (peek === true) return { columns, key: [], parts: [], ...(after === undefined ? {} : { cursor: after }) };
      await takeOver(spool);
      await spool.remove(committed(after));
      await record(signal);
      const recordings = await spool.list();
      const parts = grouped(recordings, request.partBytes ?? partBytes, ({ size }) => size).map((group, index) => ({
        id: `camera-${String(index + 1).padStart(5, "0")}`,
        bytes: group.reduce((sum, { size }) => sum + size, 0),
        spec: { recordings: group, columns } as unknown as Record<string, CursorValue>,
      }));
      return { columns, key: [], parts, cursor: { version: 1, recordings: recordings.map(({ name }) => name) } };
    },

    async read(part, _request, { signal, keep }) {
      const { recordings, columns } = part.spec as unknown as PartSpec;
      const coming = ({ name, size, began }: Recording): ComingAsset => ({
        name: uriOf(connection, name),
        uri: uriOf(connection, name),
        size,
        modified: began,
        async hold() {
          const path = await spool.pathOf(name, size);
          return { file: { path, name, size, modified: began }, release: async () => undefined };
        },
      });
      return assetRows(recordings.map(coming), {
        converter,
        columns,
        formatOptions: format.data,
        assets: options.assets,
        limits: options,
        signal,
        keep,
      });
    },

    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** What a process left that died while it recorded. */
async function takeOver(spool: Spool): Promise<void> {
  for (const { path, began } of await spool.left()) {
    if (path.endsWith(".mkv")) {
      await spool.finish(path, began, "rtsp-cut");
      continue;
    }
    const whole = await salvage(path);
    if (whole === undefined) await spool.discard(path);
    else {
      await spool.finish(path, whole.began, `hls-${whole.first}-${whole.last}`);
      await spool.advance(whole.last);
    }
  }
}

/** Recordings that the version at the cursor has. */
function committed(after: Cursor | undefined): string[] {
  if (after === undefined) return [];
  if (after["version"] !== 1) {
    throw new MillraceError("unsupported", `the cursor of the camera has version ${JSON.stringify(after["version"])}`, {
      hint: "use the version of Millrace that wrote it, or a newer one",
    });
  }
  return after["recordings"] as string[];
}
