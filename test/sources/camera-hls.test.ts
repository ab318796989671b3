import { createCipheriv, createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { millraceArguments } from "../cli/millrace.ts";
import { requireFfmpeg, type Ffmpeg } from "../services/ffmpeg.ts";

type Row = Record<string, unknown>;

let ffmpeg: Ffmpeg;
let folder = "";
let server: Server;
let origin = "";
/** What the server has, by path. */
const files = new Map<string, Buffer | (() => string)>();
/** Asked before each answer; true: it has answered by itself. */
let disturb: ((path: string, response: ServerResponse) => boolean) | undefined;
const asked: string[] = [];

/** 12 seconds, cut into segments of 1 second: of MPEG-TS, and of fragmented MP4. */
const seconds = 12;
let segments: Buffer[] = [];
let truth: string[] = [];

function answer(request: IncomingMessage, response: ServerResponse): void {
  const path = new URL(request.url!, origin).pathname;
  asked.push(path);
  if (disturb?.(path, response) === true) return;
  const content = files.get(path);
  if (content === undefined) {
    response.writeHead(404).end();
    return;
  }
  const body = typeof content === "function" ? Buffer.from(content()) : content;
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  if (from === undefined) response.writeHead(200, { "content-length": body.length }).end(body);
  else {
    const part = body.subarray(Number(from), Number(to) + 1);
    const range = `bytes ${from}-${Number(from) + part.length - 1}/${body.length}`;
    response.writeHead(206, { "content-length": part.length, "content-range": range }).end(part);
  }
}

/** MD5 of each frame of the video, in order. */
async function framesOf(...paths: string[]): Promise<string[]> {
  const frames: string[] = [];
  for (const path of paths) {
    const { output } = await ffmpeg.make("-v", "error", "-i", path, "-map", "0:v", "-f", "framemd5", "-");
    frames.push(
      ...output
        .toString()
        .split("\n")
        .filter((line) => /^\d/.test(line))
        .map((line) => line.split(",").at(-1)!.trim()),
    );
  }
  return frames;
}

beforeAll(async () => {
  ffmpeg = await requireFfmpeg();
  folder = await mkdtemp(join(tmpdir(), "millrace-hls-"));
  const input = [
    "-f",
    "lavfi",
    "-i",
    `testsrc2=size=160x120:rate=10:duration=${seconds}`,
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-g",
    "10",
    "-keyint_min",
    "10",
    "-sc_threshold",
    "0",
    "-bf",
    "0",
  ];
  const hls = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "0"];
  await mkdir(join(folder, "made"));
  await ffmpeg.make(
    ...input,
    ...hls,
    "-hls_segment_filename",
    join(folder, "made/s%d.ts"),
    join(folder, "made/ts.m3u8"),
  );
  await ffmpeg.make(
    ...input,
    ...hls,
    "-hls_segment_type",
    "fmp4",
    "-hls_fmp4_init_filename",
    "init.mp4",
    "-hls_segment_filename",
    join(folder, "made/f%d.m4s"),
    join(folder, "made/mp4.m3u8"),
  );
  for (const name of await readdir(join(folder, "made")))
    files.set(`/made/${name}`, await readFile(join(folder, "made", name)));
  segments = Array.from({ length: seconds }, (_, index) => files.get(`/made/s${index}.ts`) as Buffer);
  await writeFile(join(folder, "all.ts"), Buffer.concat(segments));
  truth = await framesOf(join(folder, "all.ts"));
  expect(new Set(truth).size).toBe(10 * seconds);
  server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}, 300_000);
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true, force: true });
});

let count = 0;
async function placeOf(path: string, camera: Row = {}): Promise<string> {
  const place = await mkdtemp(join(folder, `place-${count++}-`));
  const allow_hosts = [origin.replace("http://", "")];
  const live = {
    source: "camera",
    url: `${origin}${path}`,
    duration_s: 30,
    segment_s: 4,
    stall_s: 2,
    allow_hosts,
    options: { every_s: 1, size: 64 },
    ...camera,
  };
  const flows = { frames: { from: { connection: "live", stream: "live" } } };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", connections: { live }, flows }));
  return place;
}
const recordings = async (place: string): Promise<string[]> =>
  (await readdir(join(place, "captures/live")))
    .filter((name) => /^\d.*\.(ts|mp4)$/.test(name))
    .toSorted()
    .map((name) => join(place, "captures/live", name));
async function run(place: string): Promise<Row[]> {
  await using lake = await openLake({ folder: place });
  await lake.run("frames");
  return (
    await lake.query(
      "select uri, problem, time_s, epoch_ms(recorded_at)::double as began from frames order by uri, time_s",
    )
  ).rows as Row[];
}

describe("a playlist that has an end", () => {
  const master = (path: string): string =>
    `#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\nnone.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=90000,RESOLUTION=160x120\n${path}\n`;

  test.each(["ts", "mp4"])("is recorded whole: %s", { timeout: 30_000 }, async (kind) => {
    files.set("/master.m3u8", Buffer.from(master(`made/${kind}.m3u8`)));
    const place = await placeOf("/master.m3u8");
    const rows = await run(place);
    expect(rows.length).toBe(seconds);
    expect(rows.every(({ problem }) => problem === null)).toBe(true);
    const kept = await recordings(place);
    expect(kept).toHaveLength(3);
    if (kind === "ts")
      expect(Buffer.concat(await Promise.all(kept.map((path) => readFile(path)))).equals(Buffer.concat(segments))).toBe(
        true,
      );
    expect(await framesOf(...kept)).toEqual(truth);
    // Nothing of it is new.
    expect(await run(place)).toHaveLength(seconds);
  });

  test("in ranges of one file, encrypted, with dates of its own", { timeout: 30_000 }, async () => {
    const key = createHash("md5").update("key").digest();
    const lines = ["#EXTM3U", "#EXT-X-VERSION:4", "#EXT-X-TARGETDURATION:1", "#EXT-X-MEDIA-SEQUENCE:41"];
    const parts: Buffer[] = [];
    let at = 0;
    for (const [index, segment] of segments.entries()) {
      const own = index % 2 === 0 ? Buffer.alloc(16, index) : undefined;
      const vector = own ?? Buffer.alloc(16);
      if (own === undefined) vector.writeBigUInt64BE(BigInt(41 + index), 8);
      const cipher = createCipheriv("aes-128-cbc", key, vector);
      const coded = Buffer.concat([cipher.update(segment), cipher.final()]);
      lines.push(`#EXT-X-KEY:METHOD=AES-128,URI="/key"${own === undefined ? "" : `,IV=0x${own.toString("hex")}`}`);
      if (index % 4 === 0) lines.push(`#EXT-X-PROGRAM-DATE-TIME:2024-02-03T04:05:${String(10 + index)}.500Z`);
      lines.push("#EXTINF:1.0,", `#EXT-X-BYTERANGE:${coded.length}@${at}`, "coded.bin");
      parts.push(coded);
      at += coded.length;
    }
    files.set("/key", key);
    files.set("/coded.bin", Buffer.concat(parts));
    files.set("/coded.m3u8", Buffer.from([...lines, "#EXT-X-ENDLIST", ""].join("\n")));
    const place = await placeOf("/coded.m3u8");
    const rows = await run(place);
    expect(await framesOf(...(await recordings(place)))).toEqual(truth);
    expect([...new Set(rows.map(({ began }) => began))]).toEqual(
      [10, 14, 18].map((second) => Date.parse(`2024-02-03T04:05:${second}.500Z`)),
    );
  });

  test("that is none, or cannot be decrypted, is told of", async () => {
    files.set("/page.m3u8", Buffer.from("<html>log in</html>"));
    files.set(
      "/drm.m3u8",
      Buffer.from(
        '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI="/key"\n#EXTINF:1,\nmade/s0.ts\n#EXT-X-ENDLIST\n',
      ),
    );
    await expect(run(await placeOf("/page.m3u8"))).rejects.toMatchObject({ code: "parse" });
    await expect(run(await placeOf("/drm.m3u8"))).rejects.toMatchObject({ code: "unsupported" });
    await expect(run(await placeOf("/none.m3u8"))).rejects.toMatchObject({ code: "not-found" });
    await expect(run(await placeOf("/page.m3u8", { allow_hosts: [] }))).rejects.toMatchObject({ code: "permission" });
  });
});

/** A live playlist of a window of 4 segments, which goes on each time that it is asked for. */
function live(path: string, step = 1): { newest: () => number } {
  let newest = 3;
  files.set(path, () => {
    const end = Math.min(Math.floor(newest), seconds - 1);
    const first = Math.max(0, end - 3);
    const list = Array.from({ length: end - first + 1 }, (_, index) => `#EXTINF:1.0,\nmade/s${first + index}.ts`);
    newest += step;
    const tail = newest > seconds + 2 ? "#EXT-X-ENDLIST\n" : "";
    return `#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:${first}\n${list.join("\n")}\n${tail}`;
  });
  return { newest: () => newest };
}

test(
  "of a live playlist each segment is recorded once, though every kind of request fails in turn",
  { timeout: 60_000 },
  async () => {
    live("/live.m3u8", 2);
    const faults = { refused: 0, cut: 0, silent: 0 };
    let requests = 0;
    disturb = (path, response) => {
      if (!path.endsWith(".ts") && !path.endsWith("live.m3u8")) return false;
      requests++;
      if (requests % 6 === 2) {
        faults.refused++;
        response.writeHead(503, { "retry-after": "0" }).end();
        return true;
      }
      if (requests % 6 === 4 && path.endsWith(".ts")) {
        faults.cut++;
        const body = files.get(path) as Buffer;
        response.writeHead(200, { "content-length": body.length });
        response.write(body.subarray(0, body.length / 2), () => response.destroy());
        return true;
      }
      if (requests === 9) {
        faults.silent++;
        return true;
      }
      return false;
    };
    try {
      const place = await placeOf("/live.m3u8", { stall_s: 1 });
      const rows = await run(place);
      expect(await framesOf(...(await recordings(place)))).toEqual(truth);
      expect(rows).toHaveLength(seconds);
      expect(faults.refused).toBeGreaterThan(1);
      expect(faults.cut).toBeGreaterThan(1);
      expect(faults.silent).toBe(1);
    } finally {
      disturb = undefined;
    }
  },
);

test(
  "a process that is killed has each segment in this version or the next, and none in both",
  { timeout: 60_000 },
  async () => {
    const place = await placeOf("/killed.m3u8", { segment_s: 2 });
    live("/killed.m3u8", 0.5);
    let wanted = 3;
    let kills = 0;
    for (; wanted < seconds; wanted += 5) {
      const child = spawn(process.execPath, millraceArguments(["run", "frames"]), { cwd: place, stdio: "ignore" });
      const ended = once(child, "exit");
      const [target] = [`/made/s${wanted}.ts`];
      await new Promise<void>((resolve) => {
        disturb = (path, response) => {
          if (path !== target) return false;
          // In the middle of a segment.
          const body = files.get(path) as Buffer;
          response.writeHead(200, { "content-length": body.length });
          response.write(body.subarray(0, body.length / 2), () => resolve());
          return true;
        };
      });
      child.kill("SIGKILL");
      await ended;
      disturb = undefined;
      kills++;
    }
    expect(kills).toBe(2);
    const rows = await run(place);
    expect(rows).toHaveLength(seconds);
    expect(await framesOf(...(await recordings(place)))).toEqual(truth);
  },
);
