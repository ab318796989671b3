import { existsSync } from "node:fs";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RunReport } from "../../src/pipeline/report.ts";
import { makePlace, rowsOf, type Place } from "../pipeline/place.ts";
import { requireFfmpeg, type Ffmpeg } from "../services/ffmpeg.ts";
import { errorOf } from "../contracts/support/observe.ts";
import { ask, openTestEngine, plan, type TestEngine } from "./engine.ts";

const corpora = join(import.meta.dirname, "../../../shared/corpora/good");
const here = existsSync(corpora);

let engine: TestEngine;
let place: Place;
let ffmpeg: Ffmpeg;
beforeAll(async () => {
  ffmpeg = await requireFfmpeg();
  engine = await openTestEngine();
  place = await makePlace();
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

/** What a run over the files below a folder rejects: the reason by the name of the file. */
async function rejectedOf(
  flow: string,
  from: Record<string, unknown>,
  check: Record<string, unknown> = {},
): Promise<{ report: RunReport; reasons: Record<string, string> }> {
  await using lake = await place.open({
    [flow]: {
      from: { path: `${flow}/*`, ...from },
      checks: [{ check: "media", on_fail: "reject", ...check }],
    },
  });
  const report = await lake.run(flow);
  expect(report.status).toBe("published");
  const rows =
    report.rejected === 0
      ? []
      : await rowsOf(
          lake,
          `SELECT parse_filename(coalesce(json_extract_string(record, '$.uri'), origin)), reason FROM "${flow}__rejected"`,
        );
  return { report, reasons: Object.fromEntries(rows as [string, string][]) };
}

/** A picture with something to see: noise of all scales over a gradient. */
async function scene(file: string, change: (image: Sharp) => Sharp = (image) => image): Promise<Buffer> {
  const [width, height] = [256, 192];
  const pixels = Buffer.alloc(width * height * 3);
  for (let at = 0; at < width * height; at++) {
    const [x, y] = [at % width, Math.floor(at / width)];
    for (let band = 0; band < 3; band++) {
      const waves = Math.sin(x / (3 + band)) * Math.cos(y / 4) * 50 + (Math.floor(x / 24) % 2) * 60;
      pixels[at * 3 + band] = Math.max(0, Math.min(255, 70 + waves + (y / height) * 60));
    }
  }
  const bytes = await change(sharp(pixels, { raw: { width, height, channels: 3 } }))
    .jpeg()
    .toBuffer();
  await mkdir(join(place.folder, "photos"), { recursive: true });
  await writeFile(join(place.folder, "photos", file), bytes);
  return bytes;
}

describe("the check `media`", () => {
  test("of images finds those that are blank, blurred, dark, bright or small; damaged ones do not come so far", async () => {
    const bytes = await scene("good.jpg");
    await scene("blurred.jpg", (image) => image.blur(5));
    await scene("dark.jpg", (image) => image.linear(0.1, 0));
    await scene("bright.jpg", (image) => image.linear(0.15, 230));
    await scene("small.jpg", (image) => image.resize(80, 40, { kernel: "nearest" }));
    await scene("blank.jpg", (image) => image.linear(0, 120));
    await writeFile(join(place.folder, "photos", "cut.jpg"), bytes.subarray(0, bytes.length / 2));
    const { report, reasons } = await rejectedOf("photos", { format: "images" });
    expect(report).toMatchObject({ read: 7, written: 1, rejected: 6 });
    expect(reasons["cut.jpg"]).toContain("damaged");
    expect(reasons["blurred.jpg"]).toMatch(/^media: blurred: sharpness [\d.]+, less than 50$/);
    expect(reasons["dark.jpg"]).toMatch(/dark: brightness 0\.0\d+, less than 0\.1/);
    expect(reasons["bright.jpg"]).toMatch(/bright: brightness 0\.9\d+, more than 0\.95/);
    expect(reasons["small.jpg"]).toBe("media: low-resolution: height 40, less than 64");
    expect(reasons["blank.jpg"]).toMatch(
      /^media: blank: contrast 0(\.\d+)?, less than 0\.01; blurred: sharpness 0, less/,
    );
    const [result] = report.checks;
    expect(result).toMatchObject({
      status: "warned",
      failing: 5,
      measured: { preset: "images", blank: 1, dark: 1, bright: 1 },
    });
    expect(result!.message).toMatch(/^5 of 6 rows \(83.3 %\) of images: 1 blank \(contrast 0/);
  });

  test("of audio finds what is silent, clipped, short, or of a low rate", async () => {
    await mkdir(join(place.folder, "calls"));
    const sine = "sine=frequency=440:duration=2:sample_rate=16000";
    const make = (name: string, source: string, ...more: string[]): Promise<unknown> =>
      ffmpeg.make("-f", "lavfi", "-i", source, ...more, join(place.folder, "calls", name));
    await Promise.all([
      make("good.wav", sine),
      make("silent.wav", "anullsrc=r=16000:cl=mono", "-t", "2"),
      make("clipped.wav", sine, "-af", "volume=30dB"),
      make("short.wav", "sine=frequency=440:duration=0.1:sample_rate=16000"),
      make("low.wav", "sine=frequency=440:duration=2:sample_rate=4000"),
    ]);
    const { reasons } = await rejectedOf("calls", { format: "audio" });
    expect(reasons).toEqual({
      "silent.wav": "media: silent: share of silence 1, more than 0.95",
      "clipped.wav": expect.stringMatching(
        /^media: clipped: share of clipped samples 0\.\d+, more than 0\.001$/,
      ) as string,
      "short.wav": "media: short: seconds 0.1, less than 0.3",
      "low.wav": "media: low-rate: sample rate 4000, less than 8000",
    });
  });

  test("of video finds what is short or small; without a picture it does not come so far; its frames are images", async () => {
    await mkdir(join(place.folder, "films"));
    const make = (name: string, source: string, ...more: string[]): Promise<unknown> =>
      ffmpeg.make("-f", "lavfi", "-i", source, ...more, join(place.folder, "films", name));
    await Promise.all([
      make("good.mp4", "testsrc=size=128x96:rate=10:duration=1"),
      make("short.mp4", "testsrc=size=128x96:rate=10:duration=0.2"),
      make("small.mp4", "testsrc=size=48x96:rate=10:duration=1"),
      make("sound.mp4", "sine=frequency=440:duration=1"),
    ]);
    const { reasons } = await rejectedOf("films", { format: "video", options: { rows: "video" } });
    expect(reasons).toEqual({
      "short.mp4": "media: short: seconds 0.2, less than 0.3",
      "small.mp4": "media: low-resolution: width 48, less than 64",
      "sound.mp4": expect.stringContaining("it has no picture") as string,
    });
    await mkdir(join(place.folder, "frames"));
    await ffmpeg.make("-f", "lavfi", "-i", "color=black:size=128x96:rate=10:duration=1", "-f", "lavfi", "-i", "testsrc=size=128x96:rate=10:duration=1", "-filter_complex", "[0][1]concat", join(place.folder, "frames", "a.mp4")); // prettier-ignore
    const frames = await rejectedOf(
      "frames",
      { format: "video", options: { rows: "frame", every_s: 0.5 } },
      { preset: "images", faults: ["blank", "dark"] },
    );
    expect(frames.report).toMatchObject({ read: 4, written: 2, rejected: 2 });
  });

  test("of text finds what is short, in another language, or a picture of text", async () => {
    await mkdir(join(place.folder, "pages"));
    const english = "The committee will meet again in the autumn to decide about the budget of the coming year.";
    const german =
      "Der Ausschuss tritt im Herbst wieder zusammen, um über den Haushalt des kommenden Jahres zu entscheiden.";
    for (const [name, text] of Object.entries({ "good.txt": english, "other.txt": german, "short.txt": " Yes. " })) {
      await writeFile(join(place.folder, "pages", name), text);
    }
    const { reasons } = await rejectedOf("pages", { format: "documents" }, { languages: ["eng"] });
    expect(reasons).toEqual({
      "other.txt": "media: other-language: language deu, not eng",
      "short.txt": "media: short: characters 4, less than 20",
    });
    const scanned = await ask(
      engine,
      "(SELECT 'enough text to be a page of it' AS text, true AS needs_ocr UNION ALL SELECT NULL, false)",
      { check: "media" },
    );
    expect(scanned).toMatchObject({
      status: "failed",
      failing: 1,
      measured: { preset: "text", "needs-ocr": 1, short: 0 },
    });
  });

  test("what the decoder complains of, and what it could not decode, is said", async () => {
    const sound =
      "0.1::DOUBLE AS silence, 0.0::DOUBLE AS clipping, 0.0::DOUBLE AS start_s, 2.0::DOUBLE AS end_s, 16000 AS sample_rate";
    const relation =
      `(SELECT 'Header missing' AS problem, ${sound} UNION ALL SELECT NULL, ${sound} ` +
      "UNION ALL SELECT NULL, NULL, NULL, 0.0, NULL, 44100)";
    const result = await ask(engine, relation, { check: "media", on_fail: "warn" });
    expect(result).toMatchObject({
      status: "warned",
      failing: 2,
      measured: { preset: "audio", damaged: 1, undecoded: 1, silent: 0, short: 0 },
    });
    expect(result.message).toContain(
      "1 damaged (the decoder says: Header missing); 1 undecoded (no sound could be decoded)",
    );
  });

  test("names options and columns that do not fit", async () => {
    const text = "(SELECT 'a' AS text)";
    const asked: [string, Record<string, unknown>, string][] = [
      ["(SELECT 1 AS a)", {}, "no images, audio, video or text"],
      [text, { faults: ["blurred"] }, "`blurred`, which text cannot have"],
      [text, { min_sharpness: 3 }, "`min_sharpness` is no limit of text"],
      [text, { faults: ["other-language"] }, "`languages` does not say"],
      [text, { languages: ["eng"] }, "names the column `language`"],
      [text, { preset: "images" }, "no column that faults of images"],
      ["(SELECT 1.0::DOUBLE AS sharpness)", { min_width: 1 }, "names the column `width`"],
    ];
    for (const [relation, options, message] of asked) {
      const error = await errorOf(() => plan(engine, relation, [{ check: "media", ...options }]));
      expect([error.code, error.message.includes(message) || error.message]).toEqual(["config", true]);
    }
  });

  test.skipIf(!here)("with its defaults lets the photographs and the speech of the corpora pass", async () => {
    for (const [flow, folder, format, names] of [
      ["real-photos", "images/photos", "images", ["Landscape_7.jpg", "Landscape_8.jpg", "Portrait_1.jpg", "Portrait_5.jpg", "4.webp"]],
      ["real-speech", "audio", "audio", ["de-DE_(We_Are_At_School_x2).mp3", "en-GB_(A_Little_Bottle_Of_Water).mp3", "ja-JP_(We_Are_At_School).mp3", "ko-KR_(We_Are_Having_Class_x2).mp3"]],
    ] as const) {
      await mkdir(join(place.folder, flow));
      for (const name of names) await copyFile(join(corpora, folder, name), join(place.folder, flow, name));
      const { report, reasons } = await rejectedOf(flow, { format });
      expect(reasons).toEqual({});
      expect(report).toMatchObject({ written: names.length, checks: [{ status: "passed" }] });
    }
  }); // prettier-ignore
});
