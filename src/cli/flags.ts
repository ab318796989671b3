import { parseSize } from "../core/index.ts";
import { parseAmount, parseCount, parseDuration } from "./text/numbers.ts";

const text = (input: string): string => input;

/** Every command takes these. */
export const globalFlags = {
  config: {
    kind: "parsed",
    parse: text,
    optional: true,
    placeholder: "file",
    brief: "Configuration file or its folder (default: millrace.yaml found upward from here)",
  },
  json: { kind: "boolean", default: false, withNegated: false, brief: "Print the result as JSON" },
  quiet: { kind: "boolean", default: false, withNegated: false, brief: "Print results and errors only" },
} as const;

export const textFlag = (placeholder: string, brief: string) =>
  ({ kind: "parsed", parse: text, optional: true, placeholder, brief }) as const;
export const requiredTextFlag = (placeholder: string, brief: string) =>
  ({ kind: "parsed", parse: text, placeholder, brief }) as const;
export const countFlag = (brief: string) =>
  ({ kind: "parsed", parse: parseCount, optional: true, placeholder: "n", brief }) as const;
export const amountFlag = (brief: string) =>
  ({ kind: "parsed", parse: parseAmount, optional: true, placeholder: "0.01", brief }) as const;
export const durationFlag = (brief: string) =>
  ({ kind: "parsed", parse: parseDuration, optional: true, placeholder: "30d", brief }) as const;
export const sizeFlag = (brief: string) =>
  ({ kind: "parsed", parse: parseSize, optional: true, placeholder: "256MB", brief }) as const;
export const switchFlag = (brief: string) => ({ kind: "boolean", default: false, withNegated: false, brief }) as const;
/** Cross-validation in place of the splits of the dataset. */
export const foldFlags = {
  folds: countFlag("Cross-validation in so many folds; test stays held out"),
  fold: countFlag("The fold that is validation, from 1"),
  gap: textFlag("7d", "Splits by time: leave so much out of train before the fold"),
};
/** `--set a=1 --set b=2`, or absent. */
export const listFlag = (placeholder: string, brief: string) =>
  ({ kind: "parsed", parse: text, optional: true, variadic: true, placeholder, brief }) as const;

export const argument = (placeholder: string, brief: string) => ({ parse: text, placeholder, brief }) as const;
export const optionalArgument = (placeholder: string, brief: string) =>
  ({ parse: text, optional: true, placeholder, brief }) as const;
export const one = (placeholder: string, brief: string) =>
  ({ kind: "tuple", parameters: [argument(placeholder, brief)] }) as const;
export const atMostOne = (placeholder: string, brief: string) =>
  ({ kind: "tuple", parameters: [optionalArgument(placeholder, brief)] }) as const;
export const many = (placeholder: string, brief: string) =>
  ({ kind: "array", parameter: argument(placeholder, brief) }) as const;
