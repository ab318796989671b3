import { createHash } from "node:crypto";
import { once } from "node:events";
import { GetObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "vitest";
import { requireAwsModel } from "./aws-model.ts";
import type { S3Server } from "./s3-server.ts";

type Body = Record<string, unknown>;

/**
 * A likeness of Transcribe, held to AWS's own description of it. The states of transcription jobs are moto's, which writes no transcripts and
 * knows no call analytics: those are ours, made from the hash of the recording.
 */
export interface TranscribeDouble extends AsyncDisposable {
  endpoint: string;
  /** Jobs that were taken on, and so paid for. */
  paid: number;
  problems: unknown[];
  /** Settings of the last job. */
  last: Body | undefined;
  failNext: string | undefined;
  onCall: ((operation: string) => void) | undefined;
  /** Why jobs fail, if they do. */
  failure: string | undefined;
  /** Whether jobs go on without an end. */
  isEndless: boolean;
}

const word = (content: string, start: number, speaker: number) => ({
  start_time: String(start),
  end_time: String(start + 0.4),
  type: "pronunciation",
  alternatives: [{ confidence: "0.9", content }],
  speaker_label: `spk_${speaker}`,
});

/** What is said in a recording: two words by one, and after a pause one by another. */
export const wordsOf = (hash: string): [string, string, string] => [
  hash.slice(0, 4),
  hash.slice(4, 8),
  hash.slice(8, 12),
];

function transcriptOf(hash: string): unknown {
  const [a, b, c] = wordsOf(hash);
  const stop = { type: "punctuation", alternatives: [{ confidence: "0.0", content: "." }] };
  return {
    jobName: "job",
    accountId: "123456789012",
    status: "COMPLETED",
    results: {
      language_code: "en-GB",
      transcripts: [{ transcript: `${a} ${b}. ${c}.` }],
      items: [word(a, 0.1, 0), word(b, 0.6, 0), stop, word(c, 4, 1), stop],
    },
  };
}
const callOf = (hash: string) => ({
  JobStatus: "COMPLETED",
  LanguageCode: "en-US",
  Transcript: wordsOf(hash).map((content, index) => ({
    ParticipantRole: index === 0 ? "AGENT" : "CUSTOMER",
    BeginOffsetMillis: index * 1000,
    EndOffsetMillis: index * 1000 + 900,
    Content: content,
    Sentiment: index === 0 ? "NEUTRAL" : "NEGATIVE",
    Items: [{ Content: content, Confidence: "0.8" }],
  })),
});

/** Throws `unreachable` when AWS's description cannot be had. `moto` keeps objects and jobs. */
export async function startTranscribe(moto: S3Server): Promise<TranscribeDouble> {
  const model = await requireAwsModel("transcribe");
  const store = moto.client();
  const calls = new Map<string, { job: Body; asked: number }>();
  const outputs = new Map<string, { Bucket: string; Key: string; hash: string }>();
  const double = { paid: 0, problems: [], isEndless: false } as unknown as TranscribeDouble;
  const hashOf = async (uri: string): Promise<string> => {
    const { host, pathname } = new URL(uri);
    const object = await store.send(new GetObjectCommand({ Bucket: host, Key: pathname.slice(1) }));
    return createHash("sha256")
      .update(await object.Body!.transformToByteArray())
      .digest("hex");
  };
  const write = async ({ Bucket, Key }: { Bucket: string; Key: string }, value: unknown): Promise<void> => {
    await store.send(new PutObjectCommand({ Bucket, Key, Body: JSON.stringify(value) }));
  };
  const held = (action: () => void): void => {
    try {
      action();
    } catch (problem) {
      double.problems.push(problem);
    }
  };

  const ofCall = async (operation: string, body: Body): Promise<Body> => {
    const name = String(body["CallAnalyticsJobName"]);
    if (operation === "StartCallAnalyticsJob") {
      if (calls.has(name)) throw new Error("ConflictException");
      double.paid++;
      double.last = body;
      const { MediaFileUri } = body["Media"] as { MediaFileUri: string };
      const [, Bucket = "", Key = ""] = /^s3:\/\/([^/]+)\/(.*)$/.exec(String(body["OutputLocation"])) ?? [];
      await write({ Bucket, Key }, callOf(await hashOf(MediaFileUri)));
      calls.set(name, {
        asked: 0,
        job: {
          CallAnalyticsJobName: name,
          LanguageCode: "en-US",
          Transcript: { TranscriptFileUri: `https://s3.us-east-1.amazonaws.com/${Bucket}/${Key}` },
        },
      });
    }
    const call = calls.get(name)!;
    const isDone = operation === "GetCallAnalyticsJob" && call.asked++ > 1;
    return { CallAnalyticsJob: { ...call.job, CallAnalyticsJobStatus: isDone ? "COMPLETED" : "IN_PROGRESS" } };
  };

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const raw = Buffer.concat(chunks);
    const body = JSON.parse(raw.toString()) as Body;
    const operation = String(request.headers["x-amz-target"]).replace("Transcribe.", "");
    const refuse = (name: string): void => {
      response
        .writeHead(400, { "content-type": "application/x-amz-json-1.1" })
        .end(JSON.stringify({ __type: name, Message: `the double says ${name}` }));
    };
    held(() =>
      expect(request.headers.authorization).toMatch(
        /^AWS4-HMAC-SHA256 Credential=\S+\/us-east-1\/transcribe\/aws4_request/,
      ),
    );
    held(() => model.assertInput(operation, body));
    double.onCall?.(operation);
    const { failNext } = double;
    double.failNext = undefined;
    if (failNext !== undefined) return refuse(failNext);
    try {
      if (operation.includes("CallAnalytics")) {
        const value = await ofCall(operation, body);
        held(() => model.assertOutput(operation, value));
        response.writeHead(200, { "content-type": "application/x-amz-json-1.1" }).end(JSON.stringify(value));
        return;
      }
      const { host: _host, "content-length": _length, ...headers } = request.headers as Record<string, string>;
      const answer = await fetch(moto.endpoint, { method: "POST", headers, body: raw });
      let text = await answer.text();
      if (answer.ok && operation === "StartTranscriptionJob") {
        double.paid++;
        double.last = body;
        const { MediaFileUri } = body["Media"] as { MediaFileUri: string };
        const place = { Bucket: String(body["OutputBucketName"]), Key: String(body["OutputKey"]) };
        outputs.set(String(body["TranscriptionJobName"]), { ...place, hash: await hashOf(MediaFileUri) });
      }
      if (answer.ok && operation === "GetTranscriptionJob") {
        const value = JSON.parse(text) as { TranscriptionJob: Body };
        const job = value.TranscriptionJob;
        const output = outputs.get(String(body["TranscriptionJobName"]))!;
        if (double.isEndless) job["TranscriptionJobStatus"] = "IN_PROGRESS";
        else if (double.failure !== undefined)
          Object.assign(job, { TranscriptionJobStatus: "FAILED", FailureReason: double.failure });
        else if (job["TranscriptionJobStatus"] === "COMPLETED") {
          await write(output, transcriptOf(output.hash));
          job["Transcript"] = {
            TranscriptFileUri: `https://s3.us-east-1.amazonaws.com/${output.Bucket}/${output.Key}`,
          };
        }
        text = JSON.stringify(value);
      }
      response.writeHead(answer.status, { "content-type": "application/x-amz-json-1.1" }).end(text);
    } catch (error) {
      refuse((error as Error).message);
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
