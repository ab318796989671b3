import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLake, type Lake } from "../../src/index.ts";
import { requireFfmpeg, type Ffmpeg } from "../services/ffmpeg.ts";

const corpora = join(import.meta.dirname, "../../../shared/corpora");
const here = existsSync(corpora);

interface Fact {
  duration_s: number | null;
  container: string | null;
  streams?: { codec_type: string; codec_name?: string; sample_rate?: string; channels?: number }[];
}
const factsOf = (folder: string): Record<string, Fact> =>
  (JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as { files: Record<string, Fact> }).files;

let folder: string;
let ffmpeg: Ffmpeg;
beforeAll(async () => {
  ffmpeg = await requireFfmpeg();
  folder = await mkdtemp(join(tmpdir(), "millrace-audio-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let count = 0;
async function lakeOf(from: Record<string, unknown>): Promise<Lake> {
  const place = join(folder, `lake-${count++}`);
  await mkdir(place);
  const flows = { calls: { from: { format: "audio", ...from } } };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
  return openLake({ folder: place });
}

/** The rows and what was rejected of a run over files. */
async function read(path: string, options: Record<string, unknown> = {}) {
  await using lake = await lakeOf({ path, options, assets: { keep: false } });
  const report = await lake.run("calls");
  expect(report.read).toBe(report.written + report.rejected);
  const { rows } = await lake.query("select * from calls order by uri, start_s");
  const rejected = report.rejected === 0 ? [] : (await lake.query("select origin, reason from calls__rejected")).rows;
  return { rows, rejected: rejected as { origin: string; reason: string }[] };
}

/** A tone, then nothing, then noise that is clipped, at rates and layouts of one's choice. */
const scenario = (rate: number, layout: string): string[] => [
  "-f",
  "lavfi",
  "-i",
  `sine=frequency=997:sample_rate=${rate}:duration=4`,
  "-f",
  "lavfi",
  "-i",
  `anullsrc=sample_rate=${rate}:channel_layout=mono:duration=4`,
  "-f",
  "lavfi",
  "-i",
  `anoisesrc=sample_rate=${rate}:duration=2:seed=7:amplitude=0.9`,
  "-filter_complex",
  `[2]volume=6dB[n];[0]volume=-10dB[t];[t]aformat=channel_layouts=mono[a];[1]atrim=duration=4[b];[a][b][n]concat=n=3:v=0:a=1,aformat=channel_layouts=${layout}`,
];

describe("audio", () => {
  test.skipIf(!here)("facts agree with those of ffprobe, and what cannot be heard is rejected", async () => {
    const path = join(corpora, "good/audio");
    const facts = factsOf(path);
    const { rows, rejected } = await read(`${path}/*`);
    expect(rows.length + rejected.length).toBe((await readdir(path)).length);
    expect(rows.length).toBeGreaterThan(30);
    for (const row of rows) {
      const name = basename(String(row["uri"]));
      const fact = facts[name]!;
      const stream = fact.streams?.find((each) => each.codec_type === "audio");
      expect([name, row["container"], row["codec"]]).toEqual([name, fact.container, stream?.codec_name ?? null]);
      if (stream?.sample_rate !== undefined)
        expect([name, row["sample_rate"]]).toEqual([name, Number(stream.sample_rate)]);
      if (stream?.channels !== undefined) expect([name, row["channels"]]).toEqual([name, stream.channels]);
      if (fact.duration_s !== null) expect(row["duration_s"]).toBeCloseTo(fact.duration_s, 2);
      if (stream?.codec_name !== undefined) expect(row["decoded_s"]).toBeGreaterThanOrEqual(0);
    }
    for (const { origin, reason } of rejected) {
      expect(reason.length).toBeGreaterThan(10);
      const heard = facts[basename(origin)]?.streams?.some((each) => each.codec_type === "audio") ?? false;
      // What ffprobe finds a stream in and we refuse has no frame that this ffmpeg decodes.
      if (heard) expect(`${origin}: ${reason}`).toMatch(/sample size code|Input buffer exhausted/);
    }
  });

  test.skipIf(!here)("hostile files end in rows or rejected records", async () => {
    const path = join(corpora, "hostile/audio");
    const { rows, rejected } = await read(`${path}/*`);
    expect(rows.length + rejected.length).toBe((await readdir(path)).length);
    for (const { reason } of rejected) expect(reason).not.toMatch(/died|nobody caught/);
  });

  test.each([
    [8_000, "mono", "wav", "pcm_s16le"],
    [44_100, "stereo", "flac", "flac"],
    [48_000, "5.1", "wav", "pcm_f32le"],
    [96_000, "stereo", "wav", "pcm_s24le"],
  ])("measures at %i Hz, %s, agree with those of ffmpeg", async (rate, layout, extension, codec) => {
    const path = join(folder, `measured-${rate}-${layout}.${extension}`);
    await ffmpeg.make(...scenario(rate, layout), "-c:a", codec, path);
    const { words } = await ffmpeg.make("-i", path, "-af", "astats=measure_perchannel=none,ebur128", "-f", "null", "-");
    const said = (pattern: RegExp): number =>
      Number(pattern.exec(words.slice(words.lastIndexOf("Overall")))?.[1] ?? pattern.exec(words)![1]);
    const [row] = (await read(path)).rows;
    expect(row!["loudness"]).toBeCloseTo(Number([...words.matchAll(/I:\s+(-?[\d.]+) LUFS/g)].at(-1)![1]), 0.9);
    expect(row!["peak"]).toBeCloseTo(said(/Peak level dB: (-?[\d.]+)/), 1);
    expect(row!["rms"]).toBeCloseTo(said(/RMS level dB: (-?[\d.]+)/), 1);
    expect(row!["silence"]).toBeCloseTo(0.4, 1);
    expect(row!["duration_s"]).toBeCloseTo(10, 3);
    expect(row!["decoded_s"]).toBeCloseTo(10, 3);
    if (codec !== "pcm_f32le") expect(row!["clipping"]).toBeGreaterThan(0.001);
    expect(row!["problem"]).toBeNull();
  });

  test("samples are those of ffmpeg, whole, in pieces, and without measures", async () => {
    const path = join(folder, "kept.mp3");
    await ffmpeg.make(...scenario(44_100, "stereo"), "-b:a", "128k", path);
    const { output } = await ffmpeg.make("-i", path, "-ac", "1", "-ar", "16000", "-f", "s16le", "-");
    const dataOf = (row: Record<string, unknown>): Buffer => {
      const file = Buffer.from(row["samples"] as Uint8Array);
      expect(file.toString("latin1", 0, 4) + file.toString("latin1", 8, 16)).toBe("RIFFWAVEfmt ");
      expect([file.readUInt32LE(4) + 8, file.readUInt32LE(24), file.readUInt32LE(40) + 44]).toEqual([
        file.length,
        16_000,
        file.length,
      ]);
      return file.subarray(44);
    };
    for (const measures of [true, false]) {
      const [whole] = (await read(path, { samples: true, measures })).rows;
      expect(dataOf(whole!).equals(output)).toBe(true);
      const { rows } = await read(path, { samples: true, rows: "segment", segment_s: 3, measures });
      expect(rows.map((row) => row["start_s"])).toEqual([0, 3, 6, 9]);
      expect(Buffer.concat(rows.map(dataOf)).equals(output)).toBe(true);
      expect(rows.at(-1)!["decoded_s"]).toBeCloseTo(10, 0);
      expect((whole!["loudness"] === null) === !measures).toBe(true);
    }
    const [headers] = (await read(path, { measures: false })).rows;
    expect(headers).toMatchObject({ codec: "mp3", sample_rate: 44_100, decoded_s: null, samples: null });
  });

  test("silence has no loudness, a segment its own measures, and too long a row is refused", async () => {
    const path = join(folder, "parts.flac");
    await ffmpeg.make(...scenario(48_000, "mono"), path);
    const { rows } = await read(path, { rows: "segment", segment_s: 2 });
    expect(rows.map((row) => row["silence"])).toEqual([0, 0, 1, 1, 0]);
    expect(rows.map((row) => row["loudness"] === null)).toEqual([false, false, true, true, false]);
    expect(rows[2]).toMatchObject({ peak: null, rms: null, clipping: 0 });
    const long = join(folder, "long.flac");
    await ffmpeg.make("-f", "lavfi", "-i", "anullsrc=sample_rate=8000:channel_layout=mono:duration=300", long);
    const { rejected } = await read(long, { samples: true });
    expect(rejected[0]!.reason).toMatch(/more than \d+ bytes a row/);
    expect((await read(long, { samples: true, rows: "segment" })).rows).toHaveLength(10);
  });

  test("lists that name other files are no recordings, whatever they are called", async () => {
    const place = join(folder, "lists");
    await mkdir(place);
    await writeFile(join(place, "a.mp3"), "#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n");
    await writeFile(join(place, "b.mp4"), "ffconcat version 1.0\nfile '/etc/passwd'\n");
    await writeFile(join(place, "c.wav"), "[playlist]\nFile1=http://127.0.0.1:1/a.mp3\n");
    const { rows, rejected } = await read(`${place}/*`);
    expect(rows).toEqual([]);
    expect(rejected.map(({ reason }) => reason.endsWith("text/plain, neither audio nor video"))).toEqual([
      true,
      true,
      true,
    ]);
  });

  test("a machine without ffmpeg is told so before anything is read", async () => {
    const path = process.env["PATH"];
    await using lake = await lakeOf({ path: join(folder, "parts.flac") });
    try {
      process.env["PATH"] = join(folder, "nothing");
      await expect(lake.run("calls")).rejects.toMatchObject({ code: "unsupported", hint: /apt-get install ffmpeg/ });
    } finally {
      process.env["PATH"] = path;
    }
  });
});
