import { createHash } from "node:crypto";
import { once } from "node:events";
import { GetObjectCommand, type S3Client } from "@aws-sdk/client-s3";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "vitest";
import { requireAwsModel } from "./aws-model.ts";

type Body = Record<string, unknown>;

/** A likeness of Rekognition, held to AWS's own description of it: what it finds is made from the hash of the content. */
export interface RekognitionDouble extends AsyncDisposable {
  endpoint: string;
  /** Calls that were answered, and so paid for, by operation. */
  paid: Record<string, number>;
  /** Requests and answers that are not as the service describes them. */
  problems: unknown[];
  /** Jobs that were started, each once. */
  jobs: Map<string, { operation: string; hash: string; asked: number }>;
  /** Answers the next call with an error of this name. */
  failNext: string | undefined;
  /** Called before each answer. */
  onCall: ((operation: string) => void) | undefined;
  /** How often a job is asked for before it is done; -1: it fails. */
  patience: number;
}

/** What it says of content with a hash. */
export const labelsOf = (hash: string) => [
  {
    Name: `Thing ${hash.slice(0, 8)}`,
    Confidence: 91.5,
    Parents: [{ Name: "Thing" }],
    Instances: [{ BoundingBox: { Left: 0.1, Top: 0.2, Width: 0.3, Height: 0.4 }, Confidence: 88 }],
  },
  { Name: "Thing", Confidence: 91.5, Parents: [], Instances: [] },
];
const textsOf = (hash: string) => [
  {
    DetectedText: hash.slice(0, 4),
    Type: "LINE",
    Id: 0,
    Confidence: 99,
    Geometry: { BoundingBox: { Left: 0, Top: 0, Width: 1, Height: 0.1 } },
  },
];
const moderationOf = () => [{ Name: "Alcohol", ParentName: "", Confidence: 70, TaxonomyLevel: 1 }];
const facesOf = () => [
  {
    BoundingBox: { Left: 0.5, Top: 0.5, Width: 0.1, Height: 0.1 },
    Confidence: 99,
    AgeRange: { Low: 20, High: 30 },
    Smile: { Value: true, Confidence: 90 },
    EyesOpen: { Value: true, Confidence: 90 },
    Emotions: [
      { Type: "CALM", Confidence: 10 },
      { Type: "HAPPY", Confidence: 85 },
    ],
    Quality: { Brightness: 60, Sharpness: 70 },
  },
];

/** Throws `unreachable` when AWS's description cannot be had. `store`: where objects of requests are. */
export async function startRekognition(store: S3Client): Promise<RekognitionDouble> {
  const model = await requireAwsModel("rekognition");
  const double = {
    paid: {},
    problems: [],
    jobs: new Map(),
    failNext: undefined,
    onCall: undefined,
    patience: 2,
  } as unknown as RekognitionDouble;
  const contentOf = async (given: Body): Promise<Buffer> => {
    if (typeof given["Bytes"] === "string") return Buffer.from(given["Bytes"], "base64");
    const { Bucket, Name } = given["S3Object"] as { Bucket: string; Name: string };
    const object = await store.send(new GetObjectCommand({ Bucket, Key: Name }));
    return Buffer.from(await object.Body!.transformToByteArray());
  };
  const answer = async (operation: string, body: Body): Promise<Body> => {
    const [, job, what] = /^(Start|Get)(.*)$/.exec(operation) ?? [];
    if (job === "Start") {
      const hash = createHash("sha256")
        .update(await contentOf(body["Video"] as Body))
        .digest("hex");
      // The same token gives the same job.
      const JobId = createHash("sha256")
        .update(`${operation} ${String(body["ClientRequestToken"])}`)
        .digest("hex");
      if (!double.jobs.has(JobId)) {
        double.jobs.set(JobId, { operation, hash, asked: 0 });
        double.paid[operation] = (double.paid[operation] ?? 0) + 1;
      }
      return { JobId };
    }
    if (job === "Get") {
      const found = double.jobs.get(String(body["JobId"]));
      if (found === undefined) throw new Error("ResourceNotFoundException");
      if (double.patience < 0) return { JobStatus: "FAILED", StatusMessage: "the codec is not supported" };
      if (found.asked++ < double.patience) return { JobStatus: "IN_PROGRESS" };
      const facts = {
        JobStatus: "SUCCEEDED",
        VideoMetadata: {
          Codec: "h264",
          DurationMillis: 4000,
          Format: "QuickTime / MOV",
          FrameRate: 10,
          FrameHeight: 120,
          FrameWidth: 160,
        },
      };
      const isSecond = body["NextToken"] === "second";
      const Timestamp = isSecond ? 3000 : 500;
      const more = isSecond ? {} : { NextToken: "second" };
      if (what === "LabelDetection")
        return {
          ...facts,
          ...more,
          LabelModelVersion: "3.0",
          Labels: labelsOf(found.hash).map((Label) => ({ Timestamp, Label })),
        };
      if (what === "TextDetection")
        return {
          ...facts,
          ...more,
          TextModelVersion: "3.0",
          TextDetections: textsOf(found.hash).map((TextDetection) => ({ Timestamp, TextDetection })),
        };
      if (what === "ContentModeration")
        return {
          ...facts,
          ...more,
          ModerationModelVersion: "7.0",
          ModerationLabels: moderationOf().map((ModerationLabel) => ({ Timestamp, ModerationLabel })),
        };
      return { ...facts, ...more, Faces: facesOf().map((Face) => ({ Timestamp, Face })) };
    }
    const bytes = await contentOf(body["Image"] as Body);
    if (!/^(89504e47|ffd8ff)/.test(bytes.toString("hex", 0, 4)) || bytes.length < 60)
      throw new Error("InvalidImageFormatException");
    const hash = createHash("sha256").update(bytes).digest("hex");
    double.paid[operation] = (double.paid[operation] ?? 0) + 1;
    if (operation === "DetectLabels") return { Labels: labelsOf(hash), LabelModelVersion: "3.0" };
    if (operation === "DetectText") return { TextDetections: textsOf(hash), TextModelVersion: "3.0" };
    if (operation === "DetectModerationLabels")
      return { ModerationLabels: moderationOf(), ModerationModelVersion: "7.0" };
    return { FaceDetails: facesOf() };
  };
  const refuse = (response: ServerResponse, name: string): void => {
    response
      .writeHead(400, { "content-type": "application/x-amz-json-1.1" })
      .end(JSON.stringify({ __type: name, message: `the double says ${name}` }));
  };
  const held = (action: () => void): void => {
    try {
      action();
    } catch (problem) {
      double.problems.push(problem);
    }
  };
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Body;
    const operation = String(request.headers["x-amz-target"]).replace("RekognitionService.", "");
    held(() =>
      expect(request.headers.authorization).toMatch(
        /^AWS4-HMAC-SHA256 Credential=\S+\/us-east-1\/rekognition\/aws4_request/,
      ),
    );
    held(() => model.assertInput(operation, body));
    double.onCall?.(operation);
    const { failNext } = double;
    if (failNext !== undefined) {
      double.failNext = undefined;
      refuse(response, failNext);
      return;
    }
    try {
      const value = await answer(operation, body);
      held(() => model.assertOutput(operation, value));
      response.writeHead(200, { "content-type": "application/x-amz-json-1.1" }).end(JSON.stringify(value));
    } catch (error) {
      refuse(response, (error as Error).message);
    }
  };
  const server = createServer((request, response) => void serve(request, response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(double, {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  });
}
