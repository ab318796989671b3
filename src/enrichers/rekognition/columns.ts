import type { BoundingBox, FaceDetail, Label, ModerationLabel, TextDetection } from "@aws-sdk/client-rekognition";
import type { Column, CursorValue, DataType } from "../../core/index.ts";
import type { Feature } from "./index.ts";

const list = (...fields: Column[]): DataType => ({ type: "list", element: { type: "struct", fields } });
const box: Column[] = ["left", "top", "width", "height"].map((name) => ({ name, type: "double" }));
const confidence: Column = { name: "confidence", type: "double" };
const time: Column = { name: "time_s", type: "double" };

const types: Record<Feature, { type: DataType; doc: string }> = {
  labels: {
    type: list(
      { name: "name", type: "string" },
      confidence,
      time,
      { name: "parents", type: { type: "list", element: "string" } },
      { name: "boxes", type: list(...box, confidence) },
    ),
    doc: "What is to be seen, and where, in shares of the picture; `time_s` of videos, seconds.",
  },
  text: {
    type: list({ name: "text", type: "string" }, { name: "kind", type: "string" }, confidence, time, ...box),
    doc: "Lines and words.",
  },
  moderation: {
    type: list({ name: "name", type: "string" }, { name: "parent", type: "string" }, confidence, time),
    doc: "What somebody may not want to see.",
  },
  faces: {
    type: list(
      ...box,
      confidence,
      time,
      { name: "age_low", type: "int" },
      { name: "age_high", type: "int" },
      { name: "emotion", type: "string" },
      { name: "smile", type: "boolean" },
      { name: "eyes_open", type: "boolean" },
      { name: "brightness", type: "double" },
      { name: "sharpness", type: "double" },
    ),
    doc: "Faces, without whose they are.",
  },
};

export function columnsOf(features: readonly Feature[], prefix: string): Column[] {
  return [
    ...features.map((feature): Column => ({ name: `${prefix}${feature}`, ...types[feature] })),
    { name: `${prefix}model`, type: "string", doc: "Versions of the models, as the service says." },
  ];
}

const boxOf = (given: BoundingBox | undefined): Record<string, CursorValue> => ({
  left: given?.Left ?? null,
  top: given?.Top ?? null,
  width: given?.Width ?? null,
  height: given?.Height ?? null,
});
const secondsOf = (milliseconds: number | undefined): number | null =>
  milliseconds === undefined ? null : milliseconds / 1000;

export const labelOf = (label: Label, at?: number): CursorValue => ({
  name: label.Name ?? null,
  confidence: label.Confidence ?? null,
  time_s: secondsOf(at),
  parents: (label.Parents ?? []).map(({ Name }) => Name ?? ""),
  boxes: (label.Instances ?? []).map(({ BoundingBox: place, Confidence }) => ({
    ...boxOf(place),
    confidence: Confidence ?? null,
  })),
});

export const textOf = (found: TextDetection, at?: number): CursorValue => ({
  text: found.DetectedText ?? null,
  kind: found.Type?.toLowerCase() ?? null,
  confidence: found.Confidence ?? null,
  time_s: secondsOf(at),
  ...boxOf(found.Geometry?.BoundingBox),
});

export const moderationOf = (found: ModerationLabel, at?: number): CursorValue => ({
  name: found.Name ?? null,
  parent: found.ParentName === "" ? null : (found.ParentName ?? null),
  confidence: found.Confidence ?? null,
  time_s: secondsOf(at),
});

export const faceOf = (face: FaceDetail, at?: number): CursorValue => ({
  ...boxOf(face.BoundingBox),
  confidence: face.Confidence ?? null,
  time_s: secondsOf(at),
  age_low: face.AgeRange?.Low ?? null,
  age_high: face.AgeRange?.High ?? null,
  emotion:
    (face.Emotions ?? [])
      .toSorted((left, right) => (right.Confidence ?? 0) - (left.Confidence ?? 0))[0]
      ?.Type?.toLowerCase() ?? null,
  smile: face.Smile?.Value ?? null,
  eyes_open: face.EyesOpen?.Value ?? null,
  brightness: face.Quality?.Brightness ?? null,
  sharpness: face.Quality?.Sharpness ?? null,
});
