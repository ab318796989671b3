import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { GetObjectCommand } from "@aws-sdk/client-s3";
import { ListTranscriptionJobsCommand, TranscribeClient } from "@aws-sdk/client-transcribe";
import {
  forEachLimited,
  MillraceError,
  sniffMediaType,
  throwIfAborted,
  type Enriched,
  type Enricher,
  type EnricherInput,
} from "../../core/index.ts";
import { awsClientOptions, awsError, openBucket, type Bucket } from "../shared/aws.ts";
import type { TranscribeOptions } from "./index.ts";
import { forget, look, start, type Job } from "./jobs.ts";
import { columnsOf, valuesOf } from "./transcript.ts";

const service = "Amazon Transcribe";
const permissions =
  "transcribe:StartTranscriptionJob and GetTranscriptionJob, and s3:PutObject and s3:GetObject on the bucket,";
const maximumBytes = 2 * 1024 ** 3;
const leastSeconds = 15;
/** Without `duration_s` of the rows: no recording has fewer bytes a second. */
const leastBytesOfSecond = 1000;

/** What the service takes, by its own names. */
const formats: Record<string, string> = {
  "audio/mpeg": "mp3",
  "audio/mp4": "m4a",
  "audio/wav": "wav",
  "audio/flac": "flac",
  "audio/ogg": "ogg",
  "audio/amr": "amr",
  "video/mp4": "mp4",
  "video/webm": "webm",
};

export async function open(options: TranscribeOptions): Promise<Enricher> {
  const client = new TranscribeClient(await awsClientOptions(options));
  const bucket: Bucket = await openBucket(options);
  const { language, languages, speakers, channels, redact, vocabulary, calls } = options;
  const model = JSON.stringify({
    transcribe: { language, languages, speakers, channels, redact, vocabulary, calls: calls !== undefined },
  });
  const priceOf = (seconds: number): number => (Math.max(leastSeconds, seconds) / 60) * options.price_minute;
  const secondsOf = ({ values, asset }: EnricherInput): number => {
    const seconds = values?.["duration_s"];
    return typeof seconds === "number" ? seconds : (asset?.size ?? 0) / leastBytesOfSecond;
  };

  async function ended(name: string, signal: AbortSignal | undefined): Promise<Job> {
    const sending = signal ? { abortSignal: signal } : {};
    const until = performance.now() + options.timeout_s * 1000;
    for (;;) {
      const job = await look(client, name, options, sending);
      if (job.status === "COMPLETED" || job.status === "FAILED") return job;
      if (performance.now() > until) {
        throw new MillraceError("timeout", `Transcribe has not ended the job ${name} within ${options.timeout_s} s`, {
          temporary: true,
          hint: "run again: it goes on with the same job, and pays nothing twice",
        });
      }
      await sleep(options.poll_s * 1000, undefined, signal ? { signal } : {}).catch(() => undefined);
      throwIfAborted(signal);
    }
  }

  async function ask(input: EnricherInput, signal: AbortSignal | undefined): Promise<Enriched> {
    const { bytes, uri } = input.asset!;
    const sending = signal ? { abortSignal: signal } : {};
    const mediaType = sniffMediaType(bytes.subarray(0, 8192), uri);
    const format = Object.hasOwn(formats, mediaType) ? formats[mediaType]! : undefined;
    if (format === undefined)
      return { rejected: `it is ${mediaType}: the service takes MP3, M4A, MP4, WAV, FLAC, OGG, AMR and WebM` };
    if (bytes.length > maximumBytes) return { rejected: "it is larger than 2 GB, the most that the service takes" };
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const name = `millrace-${createHash("sha256").update(`${model} ${sha256}`).digest("hex").slice(0, 40)}`;
    const media = `s3://${bucket.name}/${await bucket.put(`${sha256}.${format}`, bytes, mediaType, signal)}`;
    const output = bucket.key(`transcripts/${name}.json`);
    await start(client, { name, media, format, bucket: bucket.name, output }, options, sending);
    const job = await ended(name, signal);
    if (job.status === "FAILED") {
      const reason = job.reason ?? "the job failed";
      if (!/S3|bucket|role|access|permission|KMS/i.test(reason)) return { rejected: `the service gave up: ${reason}` };
      // It is not the recording's fault, and may go better once that is mended.
      await forget(client, name, options);
      throw new MillraceError("permission", `${service}: ${reason}`, {
        hint: `${permissions} must be allowed to the service too`,
      });
    }
    const found = await bucket.client.send(
      new GetObjectCommand({ Bucket: bucket.name, Key: keyOf(job.uri, bucket.name) ?? output }),
      sending,
    );
    const text = (await found.Body?.transformToString()) ?? "";
    return { values: valuesOf(text, job.language ?? language), cost: priceOf(secondsOf(input)) };
  }

  return {
    model,
    reads: (input) => ["duration_s"].filter((name) => input.some((column) => column.name === name)),
    columns: () => columnsOf(options.prefix),

    async check(signal) {
      throwIfAborted(signal);
      try {
        await client.send(new ListTranscriptionJobsCommand({ MaxResults: 1 }), signal ? { abortSignal: signal } : {});
      } catch (error) {
        throwIfAborted(signal);
        throw awsError(error, service, permissions);
      }
    },

    estimate: (inputs) => ({
      cost: inputs.reduce((sum, input) => sum + priceOf(secondsOf(input)), 0),
      currency: "USD",
    }),

    async enrich(inputs, { signal, keep }) {
      throwIfAborted(signal);
      const answers: Enriched[] = [];
      await forEachLimited(inputs, options.connections, async (input, index) => {
        try {
          answers[index] = await ask(input, signal);
        } catch (error) {
          throwIfAborted(signal);
          throw awsError(error, service, permissions);
        }
        await keep?.(index, answers[index]!);
      });
      return answers;
    },

    async [Symbol.asyncDispose]() {
      client.destroy();
      bucket.client.destroy();
    },
  };
}

/** `https://s3.eu-west-1.amazonaws.com/bucket/key`, or `s3://bucket/key`, as a key. */
function keyOf(uri: string | undefined, bucket: string): string | undefined {
  if (uri === undefined) return undefined;
  const path = decodeURIComponent(new URL(uri).pathname.slice(1));
  return uri.startsWith(`s3://${bucket}/`)
    ? path
    : path.startsWith(`${bucket}/`)
      ? path.slice(bucket.length + 1)
      : path;
}
