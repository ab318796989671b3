import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { EnricherInput } from "../../src/core/index.ts";
import definition from "../../src/enrichers/transcribe/index.ts";
import { openLake } from "../../src/index.ts";
import { millraceArguments } from "../cli/millrace.ts";
import { enricherContract } from "../contracts/enricher.ts";
import { startMoto } from "../services/moto.ts";
import type { S3Server } from "../services/s3-server.ts";
import { startTranscribe, wordsOf, type TranscribeDouble } from "../services/transcribe.ts";

type Row = Record<string, unknown>;

const secret = "s3cret-of-the-account";
const credentials = { access_key_id: "AKIDEXAMPLE", secret_access_key: secret };
const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A tone of some seconds, as WAV of 8 kHz and 16 bits. */
function tone(pitch: number, seconds = 1, channels = 1): Buffer {
  const rate = 8000;
  const data = Buffer.alloc(rate * seconds * channels * 2);
  for (let at = 0; at < data.length / 2; at++)
    data.writeInt16LE(Math.round(8000 * Math.sin((2 * Math.PI * pitch * Math.floor(at / channels)) / rate)), at * 2);
  const head = Buffer.alloc(44);
  head.write("RIFF", 0, "latin1");
  head.writeUInt32LE(36 + data.length, 4);
  head.write("WAVEfmt ", 8, "latin1");
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(channels, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate * channels * 2, 28);
  head.writeUInt16LE(channels * 2, 32);
  head.writeUInt16LE(16, 34);
  head.write("data", 36, "latin1");
  head.writeUInt32LE(data.length, 40);
  return Buffer.concat([head, data]);
}
const inputOf = (bytes: Uint8Array, uri: string): EnricherInput => {
  const sha256 = sha256Of(bytes);
  return {
    hash: sha256,
    asset: { uri, mediaType: "audio/wav", size: bytes.length, sha256, modified: 0, bytes },
    values: {},
  };
};

enricherContract({
  name: "transcribe",
  definition: definition as never,
  fails: true,
  async start() {
    const moto = await startMoto();
    await moto.bucket("recordings");
    const double = await startTranscribe(moto);
    // The service gives the job that it has to whoever asks again: what is asked, and not what is paid, is counted.
    let asked = 0;
    double.onCall = (operation) => {
      if (operation === "StartTranscriptionJob" && double.failNext === undefined) asked++;
    };
    const bucket = { name: "recordings", endpoint: moto.endpoint };
    const options = { endpoint: double.endpoint, credentials, bucket, poll_s: 0.01 };
    return {
      options,
      otherOptions: { ...options, speakers: 4 },
      secrets: [secret],
      columns: [{ name: "bytes", type: "binary" }],
      good: [300, 500, 700].map((pitch) => inputOf(tone(pitch), `${pitch}.wav`)),
      unfit: [inputOf(Buffer.from("no recording at all, but text"), "a.wav")],
      wrong: [
        {
          what: "a server that is not there",
          options: { ...options, endpoint: "http://127.0.0.1:1" },
          code: "unreachable",
        },
      ],
      asked: () => asked,
      async fail() {
        double.failNext = "UnknownException";
      },
      async [Symbol.asyncDispose]() {
        expect(double.problems).toEqual([]);
        await double[Symbol.asyncDispose]();
        await moto[Symbol.asyncDispose]();
      },
    };
  },
});

describe("transcribe: runs", () => {
  let folder = "";
  let moto: S3Server;
  let double: TranscribeDouble;
  let count = 0;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-transcribe-"));
    moto = await startMoto();
    await moto.bucket("recordings");
  }, 300_000);
  beforeEach(async () => {
    double = await startTranscribe(moto);
    return async () => {
      expect(double.problems).toEqual([]);
      await double[Symbol.asyncDispose]();
    };
  });
  afterAll(async () => {
    await moto[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  async function placeOf(files: Record<string, Uint8Array>, enrich: Row = {}): Promise<string> {
    const place = join(folder, `place-${count++}`);
    await mkdir(join(place, "in"), { recursive: true });
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(place, "in", name), bytes);
    const bucket = { name: "recordings", endpoint: moto.endpoint };
    const step = { enricher: "transcribe", endpoint: double.endpoint, credentials, bucket, poll_s: 0.02, ...enrich };
    const flows = { calls: { from: { path: "in/*", format: "audio" }, enrich: [step] } };
    await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows }));
    return place;
  }

  test("text, language, turns and cost of recordings", { timeout: 60_000 }, async () => {
    const recording = tone(440, 20);
    const place = await placeOf(
      { "a.wav": recording },
      { speakers: 3, redact: true, languages: ["en-GB", "de-DE"], price_minute: 0.6 },
    );
    await using lake = await openLake({ folder: place });
    const report = await lake.run("calls");
    expect(report.enriched![0]!.cost).toBeCloseTo(0.2, 6);
    expect(double.last).toMatchObject({
      MediaFormat: "wav",
      IdentifyLanguage: true,
      LanguageOptions: ["en-GB", "de-DE"],
      ContentRedaction: { RedactionType: "PII", RedactionOutput: "redacted" },
      Settings: { ShowSpeakerLabels: true, MaxSpeakerLabels: 3 },
    });
    const [a, b, c] = wordsOf(sha256Of(recording));
    const { rows } = await lake.query(
      "select transcript_text as said, transcript_language as language, transcript_confidence as sure, transcript_segments as turns from calls",
    );
    expect(JSON.parse(JSON.stringify(rows))).toEqual([
      {
        said: `${a} ${b}. ${c}.`,
        language: "en-GB",
        sure: 0.9,
        turns: [
          { speaker: "spk_0", start_s: 0.1, end_s: 1, text: `${a} ${b}.`, sentiment: null },
          { speaker: "spk_1", start_s: 4, end_s: 4.4, text: `${c}.`, sentiment: null },
        ],
      },
    ]);
  });

  test("call analytics: roles and sentiment", { timeout: 60_000 }, async () => {
    const recording = tone(330, 2, 2);
    const place = await placeOf(
      { "a.wav": recording },
      { calls: { role: "arn:aws:iam::123456789012:role/transcribe" }, language: "en-US" },
    );
    await using lake = await openLake({ folder: place });
    await lake.run("calls");
    const { rows } = await lake.query(
      "select [s.speaker || ' ' || s.sentiment for s in transcript_segments] as turns, transcript_confidence as sure from calls",
    );
    expect(rows).toEqual([
      { turns: ["agent neutral", "customer negative", "customer negative"], sure: expect.closeTo(0.8, 9) as number },
    ]);
  });

  test("a run that is killed waits for the same job, and nobody pays for it twice", { timeout: 60_000 }, async () => {
    const place = await placeOf({ "a.wav": tone(880, 2) });
    double.isEndless = true;
    let asked = 0;
    const waits = new Promise<void>((resolve) => {
      double.onCall = (operation) => {
        if (operation === "GetTranscriptionJob" && ++asked === 3) resolve();
      };
    });
    const child = spawn(process.execPath, millraceArguments(["run", "calls"]), { cwd: place, stdio: "ignore" });
    await waits;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
    double.isEndless = false;
    await using lake = await openLake({ folder: place });
    await lake.run("calls");
    expect(double.paid).toBe(1);
    expect((await lake.query("select count(transcript_text)::int as n from calls")).rows).toEqual([{ n: 1 }]);
  });

  test(
    "a job that fails rejects its recording, or the run when it is not the recording's fault",
    { timeout: 60_000 },
    async () => {
      double.failure = "Unsupported audio format: the sample rate of 800 Hz";
      const place = await placeOf({ "a.wav": tone(550, 1) });
      await using lake = await openLake({ folder: place });
      expect(await lake.run("calls")).toMatchObject({ rejected: 1 });
      double.failure = "The S3 URI that you provided can't be accessed. Make sure that you have read permission";
      const other = await placeOf({ "a.wav": tone(560, 1) });
      await using again = await openLake({ folder: other });
      await expect(again.run("calls")).rejects.toMatchObject({ code: "permission" });
      // Once that is mended, it is asked again under the same name.
      double.failure = undefined;
      await again.run("calls");
      expect((await again.query("select count(transcript_text)::int as n from calls")).rows).toEqual([{ n: 1 }]);
    },
  );
});
