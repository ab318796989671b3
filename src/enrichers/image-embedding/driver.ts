import { MillraceError, throwIfAborted, type Enriched, type Enricher, type EnricherContext } from "../../core/index.ts";
import { embeddingColumn, fileHash, loadModel, runModel, vectorsOf, type Model } from "../shared/onnx.ts";
import type { ImageEmbeddingOptions } from "./index.ts";
import { pixelsOf } from "./pixels.ts";

export async function open(options: ImageEmbeddingOptions, { folder }: EnricherContext): Promise<Enricher> {
  const { fit, kernel, mean, std, layout, colours, pooling, normalise, batch, column, output, threads } = options;
  const [width, height] = typeof options.size === "number" ? [options.size, options.size] : options.size;
  const model = await fileHash(options.model, folder, "model");
  let loading: Promise<Model> | undefined;
  const load = (): Promise<Model> => (loading ??= loadModel(model.path, output, threads).then(verified));

  /** The input of several images: values of 32 bits in the order of `layout`. */
  function inputOf(images: readonly Uint8Array[]): Float32Array {
    const places = width * height;
    const data = new Float32Array(images.length * places * 3);
    for (const [image, pixels] of images.entries()) {
      for (let at = 0; at < places * 3; at++) {
        const place = Math.floor(at / 3);
        const colour = at % 3;
        const value = (pixels[at]! / 255 - mean[colour]!) / std[colour]!;
        const channel = colours === "rgb" ? colour : 2 - colour;
        data[image * places * 3 + (layout === "nchw" ? channel * places + place : place * 3 + channel)] = value;
      }
    }
    return data;
  }

  async function vectors(images: readonly Uint8Array[]): Promise<number[][]> {
    const loaded = await load();
    const dims = layout === "nchw" ? [images.length, 3, height, width] : [images.length, height, width, 3];
    const tensor = new loaded.runtime.Tensor("float32", inputOf(images), dims);
    return vectorsOf(await runModel(loaded, { [loaded.session.inputNames[0]!]: tensor }), pooling, normalise);
  }

  return {
    model: JSON.stringify({
      onnx: model.sha256,
      output: output ?? null,
      size: [width, height],
      fit,
      kernel,
      mean,
      std,
      layout,
      colours,
      pooling,
      normalise,
      batch,
    }),
    columns: () => [embeddingColumn(column)],
    async check(signal) {
      throwIfAborted(signal);
      await load();
    },
    async enrich(inputs, { signal }) {
      throwIfAborted(signal);
      const pixels = await pixelsOf(inputs, { width, height, fit, kernel }, signal);
      const answers: Enriched[] = [];
      const asked: { index: number; image: Uint8Array }[] = [];
      for (const [index, image] of pixels.entries()) {
        if (image instanceof Uint8Array) asked.push({ index, image });
        else answers[index] = { rejected: image.problem };
      }
      for (let at = 0; at < asked.length; at += batch) {
        throwIfAborted(signal);
        const some = asked.slice(at, at + batch);
        const found = await vectors(some.map(({ image }) => image));
        for (const [each, { index }] of some.entries()) answers[index] = { values: [found[each]!] };
      }
      return answers;
    },
    async [Symbol.asyncDispose]() {
      const loaded = await loading?.catch(() => undefined);
      await loaded?.session.release();
    },
  };
}

/** One that takes images: a single input of 32-bit floats in four dimensions. Throws `config`. */
async function verified(model: Model): Promise<Model> {
  const [facts, ...others] = model.session.inputMetadata;
  if (others.length === 0 && facts?.isTensor === true && facts.type === "float32" && facts.shape.length === 4) {
    return model;
  }
  await model.session.release();
  throw new MillraceError("config", "the model does not take images", {
    hint: "`model` must have one input, of 32-bit floats in four dimensions",
  });
}
