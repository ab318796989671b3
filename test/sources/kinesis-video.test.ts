import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { requireAwsModel, type AwsModel } from "../services/aws-model.ts";
import { requireFfmpeg, type Ffmpeg } from "../services/ffmpeg.ts";

type Row = Record<string, unknown>;

/** Times of the service are seconds. */
const start = Date.parse("2026-11-20T08:00:00Z") / 1000;
const seconds = 2;

let ffmpeg: Ffmpeg;
let models: Record<"control" | "archive", AwsModel>;
let folder = "";
let server: Server;
let origin = "";
let fragments: { number: string; at: number; bytes: Buffer }[] = [];
let calls: string[] = [];
let problems: unknown[] = [];
/** Answers in place of the service; true when it has. */
let disturb: ((operation: string, body: Row, response: ServerResponse) => boolean) | undefined;

const sized = (id: string, content: Buffer): Buffer => {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(0x10000000 | content.length);
  return Buffer.concat([Buffer.from(id, "hex"), head, content]);
};
const tagsOf = (tags: Record<string, string>): Buffer =>
  sized(
    "1254c367",
    sized(
      "7373",
      Buffer.concat(
        Object.entries(tags).map(([name, text]) =>
          sized("67c8", Buffer.concat([sized("45a3", Buffer.from(name)), sized("4487", Buffer.from(text))])),
        ),
      ),
    ),
  );
/** As producers write them: clusters whose length nobody has said. */
const withoutLengths = (bytes: Buffer): Buffer => {
  const parts: Buffer[] = [];
  let from = 0;
  for (let at = bytes.indexOf("1f43b675", 0, "hex"); at >= 0; at = bytes.indexOf("1f43b675", at + 4, "hex")) {
    const length = Math.clz32(bytes[at + 4]!) - 23;
    parts.push(bytes.subarray(from, at + 4), Buffer.from("01ffffffffffffff", "hex"));
    from = at + 4 + length;
  }
  return Buffer.concat([...parts, bytes.subarray(from)]);
};
const mediaOf = (number: string): Buffer => {
  const { bytes, at } = fragments.find((each) => each.number === number)!;
  return Buffer.concat([
    bytes,
    tagsOf({
      AWS_KINESISVIDEO_FRAGMENT_NUMBER: number,
      AWS_KINESISVIDEO_SERVER_TIMESTAMP: String(at + 1),
      AWS_KINESISVIDEO_PRODUCER_TIMESTAMP: String(at),
    }),
  ]);
};

/** The calls of the service that we make, by its own description of them. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const body = JSON.parse(Buffer.concat(chunks).toString() || "{}") as Row;
  const path = new URL(request.url!, origin).pathname;
  const model = path === "/getDataEndpoint" ? models.control : models.archive;
  const operation = model.operationAt(request.method!, path) ?? path;
  calls.push(operation);
  try {
    expect(request.headers.authorization).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/us-east-1\/kinesisvideo\/aws4_request/,
    );
    model.assertInput(operation, body);
  } catch (problem) {
    problems.push(problem);
  }
  if (disturb?.(operation, body, response) === true) return;
  const json = (value: Row): void => {
    try {
      model.assertOutput(operation, value);
    } catch (problem) {
      problems.push(problem);
    }
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  };
  if (operation === "GetDataEndpoint") return json({ DataEndpoint: `${origin}/` });
  if (operation === "ListFragments") {
    const { StartTimestamp: from, EndTimestamp: to } = (
      body["FragmentSelector"] as { TimestampRange: { StartTimestamp: number; EndTimestamp: number } }
    ).TimestampRange;
    const all = fragments.filter(({ at }) => at + 1 >= from && at + 1 <= to);
    // Pages of three, in no order.
    const begin = Number(body["NextToken"] ?? 0);
    const page = all.toReversed().slice(begin, begin + 3);
    return json({
      Fragments: page.map(({ number, at, bytes }) => ({
        FragmentNumber: number,
        FragmentSizeInBytes: bytes.length,
        ProducerTimestamp: at,
        ServerTimestamp: at + 1,
        FragmentLengthInMilliseconds: seconds * 1000,
      })),
      ...(begin + 3 < all.length ? { NextToken: String(begin + 3) } : {}),
    });
  }
  const wanted = (body["Fragments"] as string[]).filter((number) => fragments.some((each) => each.number === number));
  response.writeHead(200, { "content-type": "video/webm" }).end(Buffer.concat(wanted.map(mediaOf)));
}

let made: Buffer[] = [];
beforeAll(async () => {
  ffmpeg = await requireFfmpeg();
  models = {
    control: await requireAwsModel("kinesisvideo"),
    archive: await requireAwsModel("kinesis-video-archived-media"),
  };
  folder = await mkdtemp(join(tmpdir(), "millrace-kinesis-video-"));
  for (let index = 0; index < 10; index++) {
    const { output } = await ffmpeg.make(
      "-v",
      "error",
      "-f",
      "lavfi",
      "-i",
      `testsrc2=size=160x120:rate=10:duration=${10 * seconds}`,
      "-ss",
      String(index * seconds),
      "-t",
      String(seconds),
      "-c:v",
      "libx264",
      "-preset",
      "ultrafast",
      "-g",
      "10",
      "-output_ts_offset",
      String(index * seconds),
      "-f",
      "matroska",
      "-live",
      "1",
      "-",
    );
    made.push(output);
  }
  server = createServer((request, response) => void answer(request, response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}, 300_000);
beforeEach(() => {
  // The seventh came after a pause.
  fragments = made.map((bytes, index) => ({
    number: `9134385233318150666${String(8_100_000_000_000_000_000n + BigInt(index) * 7n)}`,
    at: start + index * seconds + (index >= 6 ? 60 : 0),
    bytes: index % 2 === 0 ? bytes : withoutLengths(bytes),
  }));
  calls = [];
  problems = [];
  disturb = undefined;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true, force: true });
});

let count = 0;
async function placeOf(options: Row = {}): Promise<string> {
  const place = await mkdtemp(join(folder, `place-${count++}-`));
  const dock = {
    source: "kinesis-video",
    stream: "loading-dock",
    endpoint: origin,
    credentials: { access_key_id: "AKIDEXAMPLE", secret_access_key: "s3cret-of-the-account" },
    segment_s: 6,
    options: { every_s: 1, size: 64 },
    assets: { inline_max_bytes: 1_000_000 },
    ...options,
  };
  const flows = { cctv: { from: { connection: "dock", stream: "archive" } } };
  await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", connections: { dock }, flows }));
  return place;
}
async function run(place: string): Promise<{ rows: Row[]; rejected: Row[] }> {
  await using lake = await openLake({ folder: place });
  await lake.run("cctv");
  const all =
    "select uri, problem, time_s, bytes, epoch_ms(recorded_at)::double / 1000 as began from cctv order by uri, time_s";
  const rows = (await lake.query(all)).rows as Row[];
  const rejected = ((await lake.query("select * from cctv__rejected").catch(() => ({ rows: [] }))) as { rows: Row[] })
    .rows;
  return { rows, rejected };
}

test(
  "all fragments are read once, those that follow each other together, by the clock of the camera",
  { timeout: 60_000 },
  async () => {
    const later = fragments.splice(8);
    const place = await placeOf();
    const { rows } = await run(place);
    expect(problems).toEqual([]);
    expect(rows).toHaveLength(8 * seconds);
    expect(rows.every(({ problem }) => problem === null)).toBe(true);
    // Three fragments each, and two after the pause.
    expect([...new Set(rows.map(({ began }) => began))]).toEqual([start, start + 6, start + 72]);
    expect(calls.filter((call) => call === "ListFragments")).toHaveLength(3);
    expect(calls.filter((call) => call === "GetMediaForFragmentList")).toHaveLength(3);

    // The frames are those that went in.
    const [first] = rows.filter(({ bytes }) => bytes !== null);
    await writeFile(join(place, "first.mkv"), first!["bytes"] as Uint8Array);
    const { output, words } = await ffmpeg.make(
      "-v",
      "error",
      "-i",
      join(place, "first.mkv"),
      "-map",
      "0:v",
      "-f",
      "framemd5",
      "-",
    );
    expect(words).toBe("");
    const one = async (bytes: Buffer): Promise<string[]> => {
      await writeFile(join(place, "one.mkv"), bytes);
      const made = await ffmpeg.make("-v", "error", "-i", join(place, "one.mkv"), "-map", "0:v", "-f", "framemd5", "-");
      return hashesOf(made.output);
    };
    const hashesOf = (text: Buffer): string[] =>
      text
        .toString()
        .split("\n")
        .filter((line) => /^\d/.test(line))
        .map((line) => line.split(",").at(-1)!.trim());
    const wanted: string[] = [];
    for (const bytes of made.slice(0, 3)) wanted.push(...(await one(bytes)));
    expect(hashesOf(output)).toEqual(wanted);

    fragments.push(...later);
    expect((await run(place)).rows).toHaveLength(10 * seconds);
    expect((await run(place)).rows).toHaveLength(10 * seconds);
    expect(problems).toEqual([]);
  },
);

test(
  "throttling and cut answers are asked again; what has gone with the retention is told of",
  { timeout: 60_000 },
  async () => {
    const fired = { throttled: 0, cut: 0 };
    const gone = fragments[4]!.number;
    disturb = (operation, _body, response) => {
      if (operation === "GetDataEndpoint") return false;
      if (fired.throttled < 2 && calls.length % 2 === 0) {
        fired.throttled++;
        response
          .writeHead(400, { "x-amzn-errortype": "ClientLimitExceededException" })
          .end(JSON.stringify({ Message: "slow down" }));
        return true;
      }
      if (operation !== "GetMediaForFragmentList") return false;
      // It goes after it was listed.
      fragments = fragments.filter(({ number }) => number !== gone);
      if (fired.cut++ === 0) {
        const whole = mediaOf(fragments[0]!.number);
        response.writeHead(200, { "content-type": "video/webm" }).end(whole.subarray(0, whole.length / 2));
        return true;
      }
      return false;
    };
    const { rows, rejected } = await run(await placeOf());
    expect(fired.throttled).toBe(2);
    expect(fired.cut).toBeGreaterThan(1);
    expect(rows).toHaveLength(9 * seconds);
    expect(rejected).toMatchObject([{ reason: `the fragment ${gone} is no longer in the stream` }]);
  },
);

test("who may not, and what is not there, is told of without a secret", { timeout: 60_000 }, async () => {
  const place = await placeOf();
  for (const [type, status, code] of [
    ["NotAuthorizedException", 401, "permission"],
    ["ResourceNotFoundException", 404, "not-found"],
    ["InvalidArgumentException", 400, "unsupported"],
  ] as const) {
    disturb = (_operation, _body, response) => {
      response.writeHead(status, { "x-amzn-errortype": type }).end(JSON.stringify({ Message: "no" }));
      return true;
    };
    const error = (await run(place).catch((reason: unknown) => reason)) as Error;
    expect(error).toMatchObject({ code });
    expect(JSON.stringify([error, error.message])).not.toContain("s3cret");
  }
  expect(await readFile(join(place, "millrace.yaml"), "utf8")).toContain("loading-dock");
});
