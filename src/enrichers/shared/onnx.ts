import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import type runtimeModule from "onnxruntime-node";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import * as z from "zod";
import { MillraceError, messageOf, type Column } from "../../core/index.ts";

/** What all embeddings by a model file have in common. */
export const onnxShape = {
  model: z
    .string()
    .min(1)
    .describe("The model, a file of ONNX. Its content names the answers: another model makes them anew."),
  output: z
    .string()
    .min(1)
    .optional()
    .describe("Name of the output to take. Default: `sentence_embedding`, an output ending in `embeds`, or the first."),
  normalise: z
    .boolean()
    .default(true)
    .describe("Scale each vector to length 1, as cosine similarity wants it. Default true."),
  batch: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe(
      "Inputs that the model is given at once. Default 1: an answer is then the same to the last bit whatever is asked beside it.",
    ),
  threads: z.int().min(0).max(256).default(0).describe("Threads of the model; 0 for all cores. Default 0."),
  column: z.string().min(1).default("embedding").describe("Name of the column. Default `embedding`."),
};

/** What `pooling` may be: of the vectors of tokens or patches, the first, or their mean. */
export type Pooling = "mean" | "cls";

export const embeddingColumn = (name: string): Column => ({
  name,
  type: { type: "list", element: "float" },
  doc: "Vector that the model gives, all of the same length.",
});

/** SHA-256 of a file that an option names, from the folder of the configuration. Throws `config`. */
export async function fileHash(
  file: string,
  folder: string,
  option: string,
): Promise<{ path: string; sha256: string }> {
  const path = resolve(folder, file);
  const hash = createHash("sha256");
  try {
    await pipeline(createReadStream(path), hash);
  } catch (cause) {
    throw new MillraceError("config", `the file \`${file}\` of \`${option}\` cannot be read: ${messageOf(cause)}`, {
      cause,
      hint: "the path is taken from the folder of the configuration file",
    });
  }
  return { path, sha256: hash.digest("hex") };
}

export interface Model {
  runtime: typeof runtimeModule;
  session: InferenceSession;
  /** The output that is taken. */
  output: string;
}

/** Loads a model. Throws `unsupported` without the runtime, and `config` for a file that is none or has no such output. */
export async function loadModel(path: string, output: string | undefined, threads: number): Promise<Model> {
  let runtime: typeof runtimeModule;
  try {
    runtime = (await import("onnxruntime-node")).default;
  } catch (cause) {
    throw new MillraceError("unsupported", "the runtime of ONNX models is not installed", {
      cause,
      hint: "`npm install --ignore-scripts onnxruntime-node`",
    });
  }
  let session: InferenceSession;
  try {
    session = await runtime.InferenceSession.create(path, { intraOpNumThreads: threads, logSeverityLevel: 3 });
  } catch (cause) {
    throw new MillraceError("config", `the model cannot be loaded: ${messageOf(cause).slice(0, 300)}`, {
      cause,
      hint: "`model` names a file of ONNX, with its external data beside it if it has any",
    });
  }
  const names = session.outputNames;
  const taken =
    output ??
    names.find((name) => name === "sentence_embedding") ??
    names.find((name) => name.endsWith("embeds")) ??
    names[0]!;
  if (!names.includes(taken)) {
    await session.release();
    throw new MillraceError("config", `the model has no output \`${taken}\``, {
      hint: `its outputs: ${names.join(", ")}`,
    });
  }
  return { runtime, session, output: taken };
}

/** Runs a model on what `feeds` names. Throws `config` when it does not take them. */
export async function runModel(model: Model, feeds: Record<string, Tensor>): Promise<Tensor> {
  try {
    const found = await model.session.run(feeds, [model.output]);
    return found[model.output]!;
  } catch (cause) {
    throw new MillraceError("config", `the model does not take its input: ${messageOf(cause).slice(0, 300)}`, {
      cause,
      hint: "the options must describe the input that the model was made for",
    });
  }
}

/**
 * The vector of each input. An output of two dimensions is [input, value]; of three [input, token, value], pooled over those tokens that
 * `mask` has (all without); of four [input, channel, row, column], of which the mean over rows and columns is taken. Throws `config`.
 */
export function vectorsOf(
  tensor: Tensor,
  pooling: Pooling,
  normalise: boolean,
  mask?: readonly Uint8Array[],
): number[][] {
  const { dims } = tensor;
  if (tensor.type !== "float32" || dims.length < 2 || dims.length > 4) {
    throw new MillraceError(
      "config",
      `the output of the model is ${tensor.type} of ${dims.join(" × ")}, and no vectors`,
      {
        hint: "name another `output`, of 32-bit floats in two, three or four dimensions",
      },
    );
  }
  const data = tensor.data as Float32Array;
  const size = data.length / dims[0]!;
  return Array.from({ length: dims[0]! }, (_, input) => {
    const one = data.subarray(input * size, (input + 1) * size);
    const vector = pooled(one, dims, pooling, mask?.[input]);
    const length = normalise ? Math.hypot(...vector) : 1;
    return Array.from(vector, (value) => Math.fround(length > 0 ? value / length : value));
  });
}

function pooled(
  one: Float32Array,
  dims: readonly number[],
  pooling: Pooling,
  mask: Uint8Array | undefined,
): Float64Array {
  if (dims.length === 2) return Float64Array.from(one);
  if (dims.length === 4) {
    const places = dims[2]! * dims[3]!;
    const means = new Float64Array(dims[1]!);
    for (const [at, value] of one.entries()) means[Math.floor(at / places)]! += value / places;
    return means;
  }
  const width = dims[2]!;
  if (pooling === "cls") return Float64Array.from(one.subarray(0, width));
  const sums = new Float64Array(width);
  let count = 0;
  for (let token = 0; token < dims[1]!; token++) {
    if (mask?.[token] === 0) continue;
    count++;
    for (let at = 0; at < width; at++) sums[at]! += one[token * width + at]!;
  }
  return sums.map((sum) => sum / Math.max(1, count));
}
