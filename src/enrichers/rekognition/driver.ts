import { createHash } from "node:crypto";
import { DetectLabelsCommand, RekognitionClient } from "@aws-sdk/client-rekognition";
import {
  forEachLimited,
  isMillraceError,
  messageOf,
  sniffMediaType,
  throwIfAborted,
  type Enriched,
  type Enricher,
  type EnricherInput,
  type EnricherNotes,
} from "../../core/index.ts";
import { awsClientOptions, awsError, openBucket, type Bucket } from "../shared/aws.ts";
import { columnsOf } from "./columns.ts";
import { lookAt, type Found } from "./images.ts";
import type { Feature, RekognitionOptions } from "./index.ts";
import { watch, type Watched } from "./videos.ts";

const service = "Amazon Rekognition";
const permissions =
  "rekognition:DetectLabels and those of the other features, and s3:PutObject and s3:GetObject on the bucket,";
/** What the service takes within a request, and from a bucket. */
const inlineBytes = 5 * 1024 ** 2;
const imageBytes = 15 * 1024 ** 2;
const images = new Set(["image/jpeg", "image/png"]);
const videos = new Set(["video/mp4", "video/quicktime"]);
/** Errors that say something of one asset. */
const ownFault = /^(InvalidImageFormatException|ImageTooLargeException|VideoTooLargeException)$/;

/** Without `duration_s` of the rows: no video has fewer bytes a second. */
const leastBytesOfSecond = 8000;

/** What is known of an asset while others of its features are still asked about. */
interface Known {
  found: Partial<Record<Feature, Found>>;
  /** Jobs that were started. */
  jobs: Partial<Record<Feature, string>>;
}

const memoryOf = (notes: EnricherNotes | undefined, index: number) => ({
  read: async () => notes?.read(index),
  write: async (note: string) => notes?.write(index, note),
});

export async function open(options: RekognitionOptions): Promise<Enricher> {
  const { features, prefix } = options;
  const client = new RekognitionClient(await awsClientOptions(options));
  let opened: Promise<Bucket> | undefined;
  const bucket = (): Promise<Bucket> => (opened ??= openBucket(options));
  const model = JSON.stringify({
    rekognition: features,
    min_confidence: options.min_confidence,
    max_labels: options.max_labels,
  });

  const objectOf = async (bytes: Uint8Array, sha256: string, mediaType: string, signal: AbortSignal | undefined) => {
    const place = await bucket();
    const ending = mediaType.split("/")[1]!;
    return { Bucket: place.name, Name: await place.put(`${sha256}.${ending}`, bytes, mediaType, signal) };
  };

  async function ask(
    { asset }: EnricherInput,
    memory: { read(): Promise<string | undefined>; write(note: string): Promise<void> },
    signal: AbortSignal | undefined,
  ): Promise<Enriched> {
    const { bytes, uri } = asset!;
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const mediaType = sniffMediaType(bytes.subarray(0, 8192), uri);
    const isVideo = videos.has(mediaType);
    if (!isVideo && !images.has(mediaType))
      return { rejected: `it is ${mediaType}: the service takes JPEG, PNG, MP4 and MOV` };
    if (!isVideo && bytes.length > imageBytes)
      return { rejected: "it is larger than 15 MiB, the most that the service takes" };
    const isLarge = isVideo || bytes.length > inlineBytes;
    if (isLarge && options.bucket === undefined) {
      const what = isVideo ? "a video" : "larger than 5 MiB";
      return { rejected: `it is ${what}: set \`bucket\`, from which the service reads it`, again: true };
    }
    const inBucket = () => objectOf(bytes, sha256, mediaType, signal);
    const known = JSON.parse((await memory.read()) ?? '{"found":{},"jobs":{}}') as Known;
    let cost = 0;
    for (const [index, feature] of features.entries()) {
      if (known.found[feature] !== undefined) continue;
      if (isVideo) {
        const token = createHash("sha256").update(`${model} ${feature} ${sha256}`).digest("hex");
        const job = {
          known: known.jobs[feature],
          start: async () => ({ token, video: { S3Object: await inBucket() } }),
          started: async (id: string) => {
            known.jobs[feature] = id;
            await memory.write(JSON.stringify(known));
          },
        };
        const found: Watched | { failed: string } = await watch(client, feature, job, options, signal);
        if ("failed" in found) return { rejected: `the service gave up: ${found.failed}` };
        known.found[feature] = { values: found.values, version: found.version };
        cost += (found.seconds / 60) * options.price_minute;
      } else {
        const image = isLarge ? { S3Object: await inBucket() } : { Bytes: bytes };
        known.found[feature] = await lookAt(client, feature, image, options, signal);
        cost += options.price_image;
      }
      // The last one is in the answer.
      if (index < features.length - 1) await memory.write(JSON.stringify(known));
    }
    const versions = features.flatMap((feature) => {
      const { version } = known.found[feature]!;
      return version === undefined ? [] : [[feature, version]];
    });
    const values = features.map((feature) => known.found[feature]!.values);
    return { values: [...values, JSON.stringify(Object.fromEntries(versions))], cost };
  }

  return {
    model,
    reads: (input) => ["duration_s"].filter((name) => input.some((column) => column.name === name)),
    columns: () => columnsOf(features, prefix),

    async check(signal) {
      throwIfAborted(signal);
      try {
        // Not an image: who may ask is told so, and pays nothing.
        await client.send(
          new DetectLabelsCommand({ Image: { Bytes: Buffer.from("no image") } }),
          signal ? { abortSignal: signal } : {},
        );
      } catch (error) {
        throwIfAborted(signal);
        if (!ownFault.test((error as Error).name)) throw awsError(error, service, permissions);
      }
    },

    estimate(inputs) {
      const cost = inputs.reduce((sum, { asset, values }) => {
        const seconds = values?.["duration_s"];
        const minutes = (typeof seconds === "number" ? seconds : asset!.size / leastBytesOfSecond) / 60;
        const isVideo = asset!.mediaType.startsWith("video/");
        return sum + (isVideo ? minutes * options.price_minute : options.price_image) * features.length;
      }, 0);
      return { cost, currency: "USD" };
    },

    async enrich(inputs, { signal, keep, notes }) {
      throwIfAborted(signal);
      const answers: Enriched[] = [];
      await forEachLimited(inputs, options.connections, async (input, index) => {
        try {
          answers[index] = await ask(input, memoryOf(notes, index), signal);
        } catch (error) {
          throwIfAborted(signal);
          if (!isMillraceError(error) && ownFault.test((error as Error).name))
            answers[index] = { rejected: messageOf(error) };
          else throw awsError(error, service, permissions);
        }
        await keep?.(index, answers[index]!);
      });
      return answers;
    },

    async [Symbol.asyncDispose]() {
      client.destroy();
      (await opened?.catch(() => undefined))?.client.destroy();
    },
  };
}
