import {
  DetectFacesCommand,
  DetectLabelsCommand,
  DetectModerationLabelsCommand,
  DetectTextCommand,
  type Image,
  type RekognitionClient,
} from "@aws-sdk/client-rekognition";
import type { CursorValue } from "../../core/index.ts";
import { faceOf, labelOf, moderationOf, textOf } from "./columns.ts";
import type { Feature, RekognitionOptions } from "./index.ts";

export interface Found {
  values: CursorValue[];
  /** Version of the model, where the service says it. */
  version: string | undefined;
}

/** What one feature finds in an image. */
export async function lookAt(
  client: RekognitionClient,
  feature: Feature,
  image: Image,
  options: RekognitionOptions,
  signal: AbortSignal | undefined,
): Promise<Found> {
  const sending = signal ? { abortSignal: signal } : {};
  const { min_confidence: MinConfidence, max_labels: MaxLabels } = options;
  switch (feature) {
    case "labels": {
      const answer = await client.send(new DetectLabelsCommand({ Image: image, MaxLabels, MinConfidence }), sending);
      return { values: (answer.Labels ?? []).map((each) => labelOf(each)), version: answer.LabelModelVersion };
    }
    case "text": {
      const answer = await client.send(new DetectTextCommand({ Image: image }), sending);
      return { values: (answer.TextDetections ?? []).map((each) => textOf(each)), version: answer.TextModelVersion };
    }
    case "moderation": {
      const answer = await client.send(new DetectModerationLabelsCommand({ Image: image, MinConfidence }), sending);
      return {
        values: (answer.ModerationLabels ?? []).map((each) => moderationOf(each)),
        version: answer.ModerationModelVersion,
      };
    }
    case "faces": {
      const answer = await client.send(new DetectFacesCommand({ Image: image, Attributes: ["ALL"] }), sending);
      return { values: (answer.FaceDetails ?? []).map((each) => faceOf(each)), version: undefined };
    }
  }
}
