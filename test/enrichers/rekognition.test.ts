import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { EnricherInput } from "../../src/core/index.ts";
import definition from "../../src/enrichers/rekognition/index.ts";
import { openLake } from "../../src/index.ts";
import { millraceArguments } from "../cli/millrace.ts";
import { enricherContract } from "../contracts/enricher.ts";
import { requireFfmpeg } from "../services/ffmpeg.ts";
import { startMoto } from "../services/moto.ts";
import { labelsOf, startRekognition, type RekognitionDouble } from "../services/rekognition.ts";
import type { S3Server } from "../services/s3-server.ts";

type Row = Record<string, unknown>;

const secret = "s3cret-of-the-account";
const credentials = { access_key_id: "AKIDEXAMPLE", secret_access_key: secret };
const picture = (shade: number, side = 32): Promise<Buffer> =>
  sharp({
    create: {
      width: side,
      height: side,
      channels: 3,
      background: { r: shade, g: 90, b: 20 },
      noise: { type: "gaussian", mean: shade, sigma: 20 },
    },
  })
    .png()
    .toBuffer();
const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const inputOf = (bytes: Uint8Array, uri: string): EnricherInput => {
  const sha256 = sha256Of(bytes);
  return {
    hash: sha256,
    asset: { uri, mediaType: "image/png", size: bytes.length, sha256, modified: 0, bytes },
    values: {},
  };
};

enricherContract({
  name: "rekognition",
  definition: definition as never,
  fails: true,
  async start() {
    const double = await startRekognition(undefined as never);
    const options = { endpoint: double.endpoint, credentials };
    return {
      options,
      otherOptions: { ...options, min_confidence: 80 },
      secrets: [secret],
      columns: [{ name: "bytes", type: "binary" }],
      good: await Promise.all([10, 120, 240].map(async (shade) => inputOf(await picture(shade), `${shade}.png`))),
      unfit: [
        inputOf(Buffer.from("no image at all, but text"), "a.png"),
        inputOf(Buffer.from("\x89PNG\r\n\x1a\nbroken", "latin1"), "b.png"),
      ],
      wrong: [
        {
          what: "a server that is not there",
          options: { ...options, endpoint: "http://127.0.0.1:1" },
          code: "unreachable",
        },
      ],
      asked: () => double.paid["DetectLabels"] ?? 0,
      async fail() {
        // One that the SDK does not try again by itself.
        double.failNext = "UnknownException";
      },
      async [Symbol.asyncDispose]() {
        expect(double.problems).toEqual([]);
        await double[Symbol.asyncDispose]();
      },
    };
  },
});

describe("rekognition: runs", () => {
  let folder = "";
  let store: S3Server;
  let double: RekognitionDouble;
  let count = 0;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-rekognition-"));
    store = await startMoto();
    await store.bucket("assets");
  }, 300_000);
  beforeEach(async () => {
    double = await startRekognition(store.client());
    return async () => {
      expect(double.problems).toEqual([]);
      await double[Symbol.asyncDispose]();
    };
  });
  afterAll(async () => {
    await store[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  async function placeOf(files: Record<string, Uint8Array>, from: Row, enrich: Row): Promise<string> {
    const place = join(folder, `place-${count++}`);
    await mkdir(join(place, "in"), { recursive: true });
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(place, "in", name), bytes);
    const bucket = { name: "assets", endpoint: store.endpoint };
    const step = { enricher: "rekognition", endpoint: double.endpoint, credentials, bucket, poll_s: 0.02, ...enrich };
    const flows = { seen: { from: { path: "in/*", ...from }, enrich: [step] } };
    await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
    return place;
  }

  test("all features of images, small and large, with what they cost", { timeout: 60_000 }, async () => {
    // Noise does not shrink: more than 5 MiB.
    const [small, large] = [await picture(100), await picture(100, 1600)];
    expect(large.length).toBeGreaterThan(5 * 1024 ** 2);
    const place = await placeOf(
      { "a.png": small, "b.png": large },
      { format: "images" },
      { features: ["labels", "text", "moderation", "faces"], price_image: 0.25 },
    );
    await using lake = await openLake({ folder: place });
    const report = await lake.run("seen");
    expect(report.enriched).toEqual([{ enricher: "rekognition", rows: 2, asked: 2, cost: 2 }]);
    expect(double.paid).toEqual({ DetectLabels: 2, DetectText: 2, DetectModerationLabels: 2, DetectFaces: 2 });
    const { rows } = await lake.query(
      "select sha256, rekognition_labels[1].name as name, rekognition_labels[1].boxes[1].width as width, rekognition_labels[1].parents as parents, rekognition_labels[1].time_s as at, rekognition_text[1].text as words, rekognition_moderation[1].name as alcohol, rekognition_faces[1].emotion as emotion, rekognition_faces[1].age_high as age, rekognition_model as model from seen order by uri",
    );
    for (const [index, bytes] of [small, large].entries()) {
      const hash = sha256Of(bytes);
      expect(rows[index]).toEqual({
        sha256: hash,
        name: labelsOf(hash)[0]!.Name,
        width: 0.3,
        parents: ["Thing"],
        at: null,
        words: hash.slice(0, 4),
        alcohol: "Alcohol",
        emotion: "happy",
        age: 30,
        model: '{"labels":"3.0","text":"3.0","moderation":"7.0"}',
      });
    }
  });

  test("a run that is killed pays for no image twice, nor for a video", { timeout: 60_000 }, async () => {
    const ffmpeg = await requireFfmpeg();
    const { output: film } = await ffmpeg.make(
      "-v",
      "error",
      "-f",
      "lavfi",
      "-i",
      "testsrc2=size=160x120:rate=10:duration=4",
      "-c:v",
      "libx264",
      "-preset",
      "ultrafast",
      "-movflags",
      "frag_keyframe+empty_moov",
      "-f",
      "mp4",
      "-",
    );
    const place = await placeOf(
      { "film.mp4": film },
      { format: "video", options: { rows: "video" }, assets: { inline_max_bytes: 10_000_000 } },
      {},
    );
    // It dies while the job runs.
    double.patience = 1_000_000;
    let asked = 0;
    const waits = new Promise<void>((resolve) => {
      double.onCall = (operation) => {
        if (operation === "GetLabelDetection" && ++asked === 3) resolve();
      };
    });
    const child = spawn(process.execPath, millraceArguments(["run", "seen"]), { cwd: place, stdio: "ignore" });
    await waits;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    double.patience = 0;
    await using lake = await openLake({ folder: place });
    const report = await lake.run("seen");
    expect(double.paid).toEqual({ StartLabelDetection: 1 });
    expect(report.enriched![0]!.cost).toBeCloseTo((4 / 60) * 0.1, 9);
    const { rows } = await lake.query(
      "select rekognition_labels[1].name as name, [l.time_s for l in rekognition_labels] as times from seen",
    );
    expect(rows).toEqual([{ name: labelsOf(sha256Of(film))[0]!.Name, times: [0.5, 0.5, 3, 3] }]);

    // Of images, those whose answer came are known, though others of the same call failed.
    const files = Object.fromEntries(
      await Promise.all(
        Array.from({ length: 12 }, async (_, index) => [`${index}.png`, await picture(index * 20)] as const),
      ),
    );
    const many = await placeOf(files, { format: "images" }, { connections: 1 });
    let calls = 0;
    double.onCall = () => {
      if (++calls === 8) double.failNext = "LimitExceededException";
    };
    await using other = await openLake({ folder: many });
    // The part is tried again by itself, and asks for what is left.
    await other.run("seen");
    expect(double.failNext).toBeUndefined();
    expect(calls).toBe(13);
    expect(double.paid["DetectLabels"]).toBe(12);
  });

  test(
    "a video that the service gives up is rejected with its reason; a budget is kept to",
    { timeout: 60_000 },
    async () => {
      const ffmpeg = await requireFfmpeg();
      const { output: film } = await ffmpeg.make(
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=160x120:rate=10:duration=1",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-movflags",
        "frag_keyframe+empty_moov",
        "-f",
        "mp4",
        "-",
      );
      double.patience = -1;
      const place = await placeOf(
        { "film.mp4": film },
        { format: "video", options: { rows: "video" }, assets: { inline_max_bytes: 10_000_000 } },
        {},
      );
      await using lake = await openLake({ folder: place });
      expect(await lake.run("seen")).toMatchObject({ rejected: 1 });
      const { rows } = await lake.query("select reason from seen__rejected");
      expect(rows).toEqual([{ reason: "rekognition: the service gave up: the codec is not supported" }]);

      const poor = await placeOf(
        { "a.png": await picture(1), "b.png": await picture(2) },
        { format: "images" },
        { max_cost: 0.0001 },
      );
      await using other = await openLake({ folder: poor });
      await expect(other.run("seen")).rejects.toMatchObject({ code: "limit" });
      expect(double.paid["DetectLabels"]).toBeUndefined();
    },
  );
});
