import {
  GetContentModerationCommand,
  GetFaceDetectionCommand,
  GetLabelDetectionCommand,
  GetTextDetectionCommand,
  StartContentModerationCommand,
  StartFaceDetectionCommand,
  StartLabelDetectionCommand,
  StartTextDetectionCommand,
  type RekognitionClient,
  type Video,
  type VideoMetadata,
} from "@aws-sdk/client-rekognition";
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError, throwIfAborted, type CursorValue } from "../../core/index.ts";
import { faceOf, labelOf, moderationOf, textOf } from "./columns.ts";
import type { Found } from "./images.ts";
import type { Feature, RekognitionOptions } from "./index.ts";

interface Page {
  status: string | undefined;
  message: string | undefined;
  values: CursorValue[];
  version: string | undefined;
  next: string | undefined;
  video: VideoMetadata | undefined;
}

/** Starts a job, or finds the one that was started for the same token: it is paid for once. */
async function start(
  client: RekognitionClient,
  feature: Feature,
  video: Video,
  token: string,
  { min_confidence: MinConfidence }: RekognitionOptions,
  sending: { abortSignal?: AbortSignal },
): Promise<string> {
  const common = { Video: video, ClientRequestToken: token };
  const answer =
    feature === "labels"
      ? await client.send(new StartLabelDetectionCommand({ ...common, MinConfidence }), sending)
      : feature === "text"
        ? await client.send(new StartTextDetectionCommand(common), sending)
        : feature === "moderation"
          ? await client.send(new StartContentModerationCommand({ ...common, MinConfidence }), sending)
          : await client.send(new StartFaceDetectionCommand({ ...common, FaceAttributes: "ALL" }), sending);
  return answer.JobId!;
}

async function pageOf(
  client: RekognitionClient,
  feature: Feature,
  job: { JobId: string; NextToken?: string },
  sending: { abortSignal?: AbortSignal },
): Promise<Page> {
  const asked = { ...job, MaxResults: 1000 };
  switch (feature) {
    case "labels": {
      const answer = await client.send(new GetLabelDetectionCommand(asked), sending);
      const values = (answer.Labels ?? []).map(({ Label, Timestamp }) => labelOf(Label!, Timestamp));
      return { ...factsOf(answer), values, version: answer.LabelModelVersion };
    }
    case "text": {
      const answer = await client.send(new GetTextDetectionCommand(asked), sending);
      const values = (answer.TextDetections ?? []).map((each) => textOf(each.TextDetection!, each.Timestamp));
      return { ...factsOf(answer), values, version: answer.TextModelVersion };
    }
    case "moderation": {
      const answer = await client.send(new GetContentModerationCommand(asked), sending);
      const values = (answer.ModerationLabels ?? []).map((each) => moderationOf(each.ModerationLabel!, each.Timestamp));
      return { ...factsOf(answer), values, version: answer.ModerationModelVersion };
    }
    case "faces": {
      const answer = await client.send(new GetFaceDetectionCommand(asked), sending);
      const values = (answer.Faces ?? []).map((each) => faceOf(each.Face!, each.Timestamp));
      return { ...factsOf(answer), values, version: undefined };
    }
  }
}

const factsOf = (answer: {
  JobStatus?: string;
  StatusMessage?: string;
  NextToken?: string;
  VideoMetadata?: VideoMetadata;
}): Pick<Page, "status" | "message" | "next" | "video"> => ({
  status: answer.JobStatus,
  message: answer.StatusMessage,
  next: answer.NextToken,
  video: answer.VideoMetadata,
});

export interface Watched extends Found {
  seconds: number;
}

/** A job that may be running already. */
interface WatchedJob {
  /** Its id, when it was started before. */
  known: string | undefined;
  /** What it is started with. */
  start(): Promise<{ token: string; video: Video }>;
  /** Told once it runs. */
  started(id: string): Promise<void>;
}

/** What one feature finds in a video. A job that fails says so as `{ failed }`. Throws `timeout` (temporary) for one that takes too long. */
export async function watch(
  client: RekognitionClient,
  feature: Feature,
  job: WatchedJob,
  options: RekognitionOptions,
  signal: AbortSignal | undefined,
): Promise<Watched | { failed: string }> {
  const sending = signal ? { abortSignal: signal } : {};
  const end = performance.now() + options.timeout_s * 1000;
  const begin = async (): Promise<string> => {
    const { token, video } = await job.start();
    const id = await start(client, feature, video, token, options, sending);
    await job.started(id);
    return id;
  };
  let JobId = job.known ?? (await begin());
  let mayBeGone = job.known !== undefined;
  for (;;) {
    const first = await pageOf(client, feature, { JobId }, sending).catch((error: unknown) => {
      // The service forgets jobs after seven days.
      if (mayBeGone && (error as Error).name === "ResourceNotFoundException") return undefined;
      throw error;
    });
    mayBeGone = false;
    if (first === undefined) {
      JobId = await begin();
      continue;
    }
    if (first.status === "FAILED") return { failed: first.message ?? "the job failed" };
    if (first.status === "SUCCEEDED") {
      const values = [...first.values];
      for (let next = first.next; next !== undefined;) {
        const page = await pageOf(client, feature, { JobId, NextToken: next }, sending);
        values.push(...page.values);
        next = page.next;
      }
      return { values, version: first.version, seconds: (first.video?.DurationMillis ?? 0) / 1000 };
    }
    if (performance.now() > end) {
      throw new MillraceError("timeout", `Rekognition has not ended the job ${JobId} within ${options.timeout_s} s`, {
        temporary: true,
        hint: "run again: it goes on with the same job, and pays nothing twice",
      });
    }
    await sleep(options.poll_s * 1000, undefined, signal ? { signal } : {}).catch(() => undefined);
    throwIfAborted(signal);
  }
}
