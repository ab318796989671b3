import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, truncate, writeFile, copyFile, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { requireFfmpeg, type Ffmpeg } from "../services/ffmpeg.ts";

const corpora = join(import.meta.dirname, "../../../shared/corpora");
const here = existsSync(corpora);

interface Fact {
  duration_s: number | null;
  container: string | null;
  streams?: { codec_type: string; codec_name?: string; width?: number; height?: number }[];
}

let folder: string;
let ffmpeg: Ffmpeg;
beforeAll(async () => {
  ffmpeg = await requireFfmpeg();
  folder = await mkdtemp(join(tmpdir(), "millrace-video-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let count = 0;
type Row = Record<string, unknown>;

/** The rows and what was rejected of a run over files. */
async function read(
  path: string,
  options: Row = {},
): Promise<{ rows: Row[]; rejected: { origin: string; reason: string }[] }> {
  const place = join(folder, `lake-${count++}`);
  await mkdir(place);
  const flows = { films: { from: { path, format: "video", options, assets: { keep: false } } } };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
  await using lake = await openLake({ folder: place });
  const report = await lake.run("films");
  expect(report.read).toBe(report.written + report.rejected);
  const { rows } = await lake.query("select * from films order by uri, frame");
  const rejected = report.rejected === 0 ? [] : (await lake.query("select origin, reason from films__rejected")).rows;
  return { rows: rows as Row[], rejected: rejected as { origin: string; reason: string }[] };
}
const times = (rows: Row[]): number[] => rows.map((row) => Math.round(Number(row["time_s"]) * 1000) / 1000);

describe("video", () => {
  test.skipIf(!here)("facts agree with those of ffprobe, and what cannot be seen is rejected", async () => {
    const path = join(corpora, "good/video");
    const { files } = JSON.parse(readFileSync(join(path, "expected.json"), "utf8")) as { files: Record<string, Fact> };
    const { rows, rejected } = await read(`${path}/*`, { rows: "video" });
    expect(rows.length + rejected.length).toBe((await readdir(path)).length);
    expect(rows.length).toBeGreaterThan(20);
    for (const row of rows) {
      const name = basename(String(row["uri"]));
      const fact = files[name]!;
      const stream = fact.streams!.find((each) => each.codec_type === "video")!;
      expect([name, row["container"], row["codec"]]).toEqual([name, fact.container, stream.codec_name ?? null]);
      const turned = Math.abs(Number(row["rotation"])) % 180 === 90;
      const size = turned ? [row["height"], row["width"]] : [row["width"], row["height"]];
      expect([name, ...size]).toEqual([name, stream.width, stream.height]);
      expect([name, (row["image"] === null) === (row["problem"] === "there is no decoder for it")]).toEqual([
        name,
        true,
      ]);
    }
    for (const { origin, reason } of rejected) {
      const stream = files[basename(origin)]?.streams?.find((each) => each.codec_type === "video");
      // The frames of these files are made up, or cut: they test containers.
      if (stream !== undefined) expect(`${basename(origin)}: ${reason}`).toMatch(/^(libwebm-|sample_fragmented_uuid)/);
    }
  });

  test.skipIf(!here)("hostile files end in rows or rejected records", async () => {
    const path = join(corpora, "hostile/video");
    const { rows, rejected } = await read(`${path}/*`);
    expect(new Set([...rows.map((row) => row["uri"]), ...rejected.map(({ origin }) => origin)]).size).toBe(
      (await readdir(path)).length,
    );
    for (const { reason } of rejected) expect(reason).not.toMatch(/died|nobody caught|JSON at/);
  });

  test("frames at a rate, at key frames and at changes of scene, each with its time", async () => {
    // Three colours for two seconds each, and a counter in the corner; a key frame every 50 frames.
    const path = join(folder, "scenes.mkv");
    const parts = ["red", "gray", "white"].map((colour) => [
      "-f",
      "lavfi",
      "-i",
      `color=${colour}:size=320x180:rate=25:duration=2`,
    ]);
    await ffmpeg.make(
      ...parts.flat(),
      "-filter_complex",
      "[0][1][2]concat=n=3:v=1:a=0",
      "-c:v",
      "mpeg4",
      "-q:v",
      "2",
      "-g",
      "50",
      "-sc_threshold",
      "1000000000",
      path,
    );
    const frames = (await read(path)).rows;
    expect(times(frames)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(frames.map((row) => row["frame"])).toEqual([0n, 1n, 2n, 3n, 4n, 5n]);
    const bright = frames.map((row) => Number(row["brightness"]));
    expect(bright[0]).toBeCloseTo(0.2126, 1);
    expect(bright[2]).toBeCloseTo(0.5, 1);
    expect(bright[5]).toBeCloseTo(1, 1);
    for (const row of frames) {
      const { width, height, format } = await sharp(row["image"] as Uint8Array).metadata();
      expect([format, width, height]).toEqual(["jpeg", 320, 180]);
      expect(row).toMatchObject({ width: 320, height: 180, frame_rate: 25, problem: null });
    }
    const keys = (await ffmpeg.probe(
      path,
      "-skip_frame",
      "nokey",
      "-show_frames",
      "-show_entries",
      "frame=pts_time",
    )) as { frames: { pts_time: string }[] };
    expect(times((await read(path, { rows: "key" })).rows)).toEqual(
      keys.frames.map(({ pts_time }) => Number(pts_time)),
    );
    expect(times((await read(path, { rows: "scene", scene_change: 0.2 })).rows)).toEqual([0, 2, 4]);
    expect(times((await read(path, { every_s: 0.4 })).rows)).toEqual(
      Array.from({ length: 15 }, (_, index) => Math.round(index * 400) / 1000),
    );
    const headers = (await read(path, { frames: false })).rows;
    expect(headers).toHaveLength(1);
    expect(headers[0]).toMatchObject({ frame: null, image: null, codec: "mpeg4", container: "matroska,webm" });
  });

  test("a frame is the picture that ffmpeg gives, smaller when it is larger than asked for", async () => {
    const path = join(folder, "pattern.mp4");
    await ffmpeg.make(
      "-f",
      "lavfi",
      "-i",
      "testsrc2=size=640x360:rate=10:duration=2",
      "-f",
      "lavfi",
      "-i",
      "sine=duration=2",
      "-c:v",
      "mpeg4",
      "-q:v",
      "2",
      "-c:a",
      "aac",
      "-metadata",
      "title=Pattern",
      path,
    );
    const { output } = await ffmpeg.make(
      "-ss",
      "1",
      "-i",
      path,
      "-frames:v",
      "1",
      "-f",
      "rawvideo",
      "-pix_fmt",
      "rgb24",
      "-",
    );
    const [, second] = (await read(path, { size: 0, quality: 2 })).rows;
    expect(second).toMatchObject({ width: 640, height: 360, audio_codec: "aac", title: "Pattern" });
    const { data, info } = await sharp(second!["image"] as Uint8Array)
      .raw()
      .toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([640, 360]);
    let difference = 0;
    for (let index = 0; index < output.length; index++) difference += Math.abs(output[index]! - data[index]!);
    // Of 255; what JPEG loses.
    expect(difference / output.length).toBeLessThan(4);
    const [small] = (await read(path, { size: 100 })).rows;
    const { width, height } = await sharp(small!["image"] as Uint8Array).metadata();
    expect([width, height]).toEqual([100, 56]);
  });

  test("a video that is cut has the frames that are there, and says what is wrong", async () => {
    const whole = join(folder, "whole.mkv");
    await ffmpeg.make(
      "-f",
      "lavfi",
      "-i",
      "testsrc2=size=320x240:rate=25:duration=8",
      "-c:v",
      "mpeg4",
      "-q:v",
      "3",
      "-g",
      "25",
      whole,
    );
    const cut = join(folder, "cut.mkv");
    await copyFile(whole, cut);
    await truncate(cut, Math.floor((await stat(cut)).size / 2));
    expect((await read(whole)).rows).toHaveLength(8);
    const { rows } = await read(cut);
    expect(rows.length).toBeGreaterThan(2);
    expect(rows.length).toBeLessThan(7);
    expect(rows.at(-1)!["duration_s"]).toBeCloseTo(8, 0);
  });

  test("too many pixels are refused before a frame is decoded", async () => {
    const path = join(folder, "large.mkv");
    await ffmpeg.make("-f", "lavfi", "-i", "color=black:size=1920x1080:rate=1:duration=1", "-c:v", "mpeg4", path);
    const { rejected } = await read(path, { max_pixels: 1_000_000 });
    expect(rejected[0]!.reason).toMatch(/1920 × 1080 pixels/);
  });
});
