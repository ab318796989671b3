import { createHash } from "node:crypto";
import { DetectLabelsCommand, RekognitionClient } from "@aws-sdk/client-rekognition";
import {
  forEachLimited,
  isMillraceError,
  messageOf,
  sniffMediaType,
  throwIfAborted,
  type CursorValue,
  type Enriched,
  type Enricher,
  type EnricherInput,
} from "../../core/index.ts";
import { awsClientOptions, awsError, openBucket, type Bucket } from "../shared/aws.ts";
import { columnsOf } from "./columns.ts";
import { lookAt } from "./images.ts";
import type { RekognitionOptions } from "./index.ts";
import { watch } from "./videos.ts";

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

  async function ask({ asset }: EnricherInput, signal: AbortSignal | undefined): Promise<Enriched> {
    const { bytes, uri } = asset!;
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const mediaType = sniffMediaType(bytes.subarray(0, 8192), uri);
    const isVideo = videos.has(mediaType);
    if (!isVideo && !images.has(mediaType))
      return { rejected: `it is ${mediaType}: the service takes JPEG, PNG, MP4 and MOV` };
    const isLarge = isVideo || bytes.length > inlineBytes;
    if (isLarge && options.bucket === undefined)
      return {
        rejected: `it is ${isVideo ? "a video" : "larger than 5 MiB"}: set \`bucket\`, from which the service reads it`,
      };
    if (!isVideo && bytes.length > imageBytes)
      return { rejected: "it is larger than 15 MiB, the most that the service takes" };
    const values: CursorValue[] = [];
    const versions: Record<string, string> = {};
    let cost = 0;
    for (const feature of features) {
      if (isVideo) {
        const token = createHash("sha256").update(`${model} ${feature} ${sha256}`).digest("hex");
        const video = { S3Object: await objectOf(bytes, sha256, mediaType, signal) };
        const found = await watch(client, feature, video, token, options, signal);
        if ("failed" in found) return { rejected: `the service gave up: ${found.failed}` };
        values.push(found.values);
        cost += (found.seconds / 60) * options.price_minute;
        if (found.version !== undefined) versions[feature] = found.version;
      } else {
        const image = isLarge ? { S3Object: await objectOf(bytes, sha256, mediaType, signal) } : { Bytes: bytes };
        const found = await lookAt(client, feature, image, options, signal);
        values.push(found.values);
        cost += options.price_image;
        if (found.version !== undefined) versions[feature] = found.version;
      }
    }
    return { values: [...values, JSON.stringify(versions)], cost };
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
      const cost = inputs.reduce((sum, { values }) => {
        const seconds = values?.["duration_s"];
        const price = typeof seconds === "number" ? (seconds / 60) * options.price_minute : options.price_image;
        return sum + price * features.length;
      }, 0);
      return { cost, currency: "USD" };
    },

    async enrich(inputs, { signal, keep }) {
      throwIfAborted(signal);
      const answers: Enriched[] = [];
      await forEachLimited(inputs, options.connections, async (input, index) => {
        try {
          answers[index] = await ask(input, signal);
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
