import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { enrichAll, type EnricherInput } from "../../src/core/index.ts";
import definition from "../../src/enrichers/rekognition/index.ts";
import { openLake } from "../../src/index.ts";
import fileSystem from "../../src/stores/fs/index.ts";
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
      { features: ["labels", "text", "moderation", "faces"], price_image: 0.25, max_cost: 5 },
    );
    await using lake = await openLake({ folder: place });
    const told: unknown[] = [];
    const report = await lake.run("seen", {
      onCost(estimate) {
        expect(double.paid).toEqual({});
        told.push(estimate);
      },
    });
    expect(told).toEqual([{ enricher: "rekognition", inputs: 2, cost: 2, currency: "USD", maximum: 5 }]);
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

  test("a run that is killed between two features of an image pays for none twice", { timeout: 60_000 }, async () => {
    const files = { "a.png": await picture(1), "b.png": await picture(2), "c.png": await picture(3) };
    const place = await placeOf(files, { format: "images" }, { connections: 1, features: ["labels", "text"] });
    const child = spawn(process.execPath, millraceArguments(["run", "seen"]), { cwd: place, stdio: "ignore" });
    const ended = once(child, "exit");
    let texts = 0;
    double.onCall = (operation) => {
      if (operation === "DetectText" && ++texts === 2) child.kill("SIGKILL");
    };
    expect((await ended)[1]).toBe("SIGKILL");
    double.onCall = undefined;
    expect(double.paid["DetectLabels"]).toBe(2);
    await using lake = await openLake({ folder: place });
    expect(await lake.run("seen")).toMatchObject({ written: 3, rejected: 0 });
    expect(double.paid["DetectLabels"]).toBe(3);
    // The answer to the second never came back.
    expect(double.paid["DetectText"]).toBe(4);
    const { rows } = await lake.query("select sha256, rekognition_labels[1].name as name from seen order by uri");
    expect(rows).toEqual(
      Object.values(files).map((bytes) => ({ sha256: sha256Of(bytes), name: labelsOf(sha256Of(bytes))[0]!.Name })),
    );
    expect(await readdir(place, { recursive: true })).not.toContainEqual(expect.stringMatching(/\.note$/));
  });

  test("a job is known by its id, and started again once the service has forgotten it", async () => {
    const memory = new Map<number, string>();
    const notes = {
      read: async (index: number) => memory.get(index),
      write: async (index: number, note: string) => void memory.set(index, note),
    };
    const driver = await definition.load();
    const bucket = { name: "assets", endpoint: store.endpoint };
    const given = { endpoint: double.endpoint, credentials, bucket, poll_s: 0.01, timeout_s: 0.02 };
    await using hasty = await driver.open(definition.options.parse(given), { connection: "x", folder });
    const film = inputOf(Buffer.concat([Buffer.from("\0\0\0\x18ftypmp42"), Buffer.alloc(100)]), "film.mp4");
    double.patience = 1_000_000;
    await expect(hasty.enrich([film], { notes })).rejects.toMatchObject({ code: "timeout", temporary: true });
    const [id] = double.jobs.keys();
    expect(JSON.parse(memory.get(0)!)).toMatchObject({ jobs: { labels: id } });

    double.patience = 0;
    const started: string[] = [];
    double.onCall = (operation) => void started.push(operation);
    expect(await hasty.enrich([film], { notes })).toMatchObject([{ cost: expect.any(Number) as number }]);
    expect(started).toEqual(["GetLabelDetection", "GetLabelDetection"]);

    double.jobs.clear();
    started.length = 0;
    expect(await hasty.enrich([film], { notes })).toMatchObject([{ cost: expect.any(Number) as number }]);
    expect(started).toEqual(["GetLabelDetection", "StartLabelDetection", "GetLabelDetection", "GetLabelDetection"]);
  });

  test("what is rejected for want of a bucket is asked about once there is one", async () => {
    const files = await fileSystem.load();
    await using answers = await files.open({ path: "answers" }, { connection: "lake", folder });
    const cache = { store: answers, folder: "seen/answers" };
    const large = inputOf(
      Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), Buffer.alloc(6 * 1024 ** 2)]),
      "a.png",
    );
    const driver = await definition.load();
    const answerOf = async (more: Row) => {
      const options = definition.options.parse({ endpoint: double.endpoint, credentials, ...more });
      await using enricher = await driver.open(options, { connection: "x", folder });
      return (await enrichAll(enricher, [large], { batch: 1, cache })).answers;
    };
    expect(await answerOf({})).toMatchObject([{ rejected: expect.stringContaining("`bucket`") as string }]);
    const bucket = { name: "assets", endpoint: store.endpoint };
    expect(await answerOf({ bucket })).toMatchObject([{ cost: 0.001 }]);
    expect(double.paid).toEqual({ DetectLabels: 1 });
  });

  test("a video whose length nobody knows is not taken to cost as little as an image", async () => {
    const driver = await definition.load();
    const given = { endpoint: double.endpoint, credentials, features: ["labels", "faces"] };
    await using enricher = await driver.open(definition.options.parse(given), { connection: "x", folder });
    const video = inputOf(Buffer.alloc(480_000), "film.mp4");
    video.asset!.mediaType = "video/mp4";
    expect(enricher.estimate!([video]).cost).toBeCloseTo(0.2, 9);
    expect(enricher.estimate!([{ ...video, values: { duration_s: 6 } }]).cost).toBeCloseTo(0.02, 9);
    expect(enricher.estimate!([inputOf(Buffer.from("x"), "a.png")]).cost).toBeCloseTo(0.002, 9);
  });

  test("a budget is for all parts of a run together", { timeout: 60_000 }, async () => {
    const files = Object.fromEntries(
      await Promise.all(
        Array.from({ length: 4 }, async (_, index) => [`${index}.png`, await picture(index * 50)] as const),
      ),
    );
    // A part for each image; two of them are paid for.
    const place = await placeOf(files, { format: "images", part_bytes: 1 }, { price_image: 0.001, max_cost: 0.002 });
    await using lake = await openLake({ folder: place });
    await expect(lake.run("seen")).rejects.toMatchObject({ code: "limit" });
    expect(double.paid["DetectLabels"]).toBe(2);
  });
});
