import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import ort from "onnxruntime-node";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { openLake } from "../../src/index.ts";
import type { EnricherInput } from "../../src/core/index.ts";
import image from "../../src/enrichers/image-embedding/index.ts";
import text from "../../src/enrichers/text-embedding/index.ts";
import { enricherContract, hashOf } from "../contracts/enricher.ts";
import { onnxModels, type OnnxModels } from "../services/onnx.ts";

/** Inputs that the real sessions were run on. */
let asked = 0;
const create = ort.InferenceSession.create.bind(ort.InferenceSession) as (
  ...words: unknown[]
) => Promise<ort.InferenceSession>;
let models: OnnxModels;
let others: OnnxModels;
beforeAll(async () => {
  vi.spyOn(ort.InferenceSession, "create").mockImplementation(async (...words: unknown[]) => {
    const session = await create(...words);
    const run = session.run.bind(session);
    session.run = (feeds: never, ...more: never[]) => {
      asked += (Object.values(feeds)[0] as ort.Tensor).dims[0]!;
      return run(feeds, ...more);
    };
    return session;
  });
  [models, others] = await Promise.all([onnxModels(), onnxModels(8)]);
  return async () => {
    vi.restoreAllMocks();
    await models[Symbol.asyncDispose]();
    await others[Symbol.asyncDispose]();
  };
}, 180_000);

const texts = [
  "The quick brown fox",
  "jumps over the lazy dog, é.",
  "東京 jumped — unknown words " + "quick ".repeat(40),
];
const rowOf = (value: string | null): EnricherInput => ({
  hash: hashOf(JSON.stringify(value)),
  values: { text: value },
});
const pixels = (seed: number): Uint8Array =>
  Uint8Array.from({ length: 8 * 6 * 3 }, (_, at) => createHash("sha256").update(`${seed} ${at}`).digest()[0]!);
const pictureOf = (raw: Uint8Array): Promise<Buffer> =>
  sharp(raw, { raw: { width: 8, height: 6, channels: 3 } })
    .png()
    .toBuffer();
const assetOf = (bytes: Uint8Array, uri: string): EnricherInput => {
  const sha256 = hashOf(bytes);
  return { hash: sha256, asset: { uri, mediaType: "image/png", size: bytes.length, sha256, modified: 0, bytes } };
};
const textOptions = (of: OnnxModels): Record<string, unknown> => ({
  model: join(of.folder, "text.onnx"),
  tokenizer: join(of.folder, "tokenizer.json"),
  max_tokens: 12,
});
const imageOptions = (of: OnnxModels): Record<string, unknown> => ({
  model: join(of.folder, "image.onnx"),
  size: [8, 6],
});
const nobody = { [Symbol.asyncDispose]: async () => undefined };

enricherContract({
  name: "text-embedding",
  definition: text as never,
  start: async () => ({
    ...nobody,
    options: textOptions(models),
    otherOptions: textOptions(others),
    columns: [{ name: "text", type: "string" }],
    good: texts.map(rowOf),
    wrong: [
      { what: "no such file", options: { ...textOptions(models), model: "absent.onnx" }, code: "config" },
      {
        what: "no model",
        options: { ...textOptions(models), model: join(models.folder, "tokenizer.json") },
        code: "config",
      },
      {
        what: "no tokenizer",
        options: { ...textOptions(models), tokenizer: join(models.folder, "text.onnx") },
        code: "config",
      },
      {
        what: "a model of images",
        options: { ...textOptions(models), model: join(models.folder, "image.onnx") },
        code: "config",
      },
      { what: "another output", options: { ...textOptions(models), output: "pooled" }, code: "config" },
    ],
    asked: () => asked,
  }),
});

enricherContract({
  name: "image-embedding",
  definition: image as never,
  start: async () => ({
    ...nobody,
    options: imageOptions(models),
    otherOptions: { ...imageOptions(models), layout: "nchw", mean: [0, 0, 0] },
    columns: [{ name: "bytes", type: "binary" }],
    good: await Promise.all([1, 2, 3].map(async (seed) => assetOf(await pictureOf(pixels(seed)), `${seed}.png`))),
    unfit: [assetOf(Buffer.from("no image"), "a.png"), assetOf(Buffer.from("\x89PNG\r\n\x1a\nx", "latin1"), "b.png")],
    wrong: [
      {
        what: "a model of text",
        options: { ...imageOptions(models), model: join(models.folder, "text.onnx") },
        code: "config",
      },
    ],
    asked: () => asked,
  }),
});

/** Equal but for the last bits of 32. */
function expectClose(found: readonly unknown[], wanted: readonly number[][]): void {
  expect(found.length).toBe(wanted.length);
  for (const [row, vector] of wanted.entries()) {
    expect((found[row] as number[]).length).toBe(vector.length);
    for (const [at, value] of vector.entries()) expect((found[row] as number[])[at]).toBeCloseTo(value, 5);
  }
}

describe("embeddings", () => {
  afterAll(() => expect(asked).toBeGreaterThan(0));

  test.for(["mean", "cls"])(
    "texts as Python has them, pooled by %s, also in batches of different lengths",
    async (pooling) => {
      const driver = await text.load();
      for (const batch of [1, 3]) {
        const options = text.options.parse({ ...textOptions(models), pooling, batch });
        await using enricher = await driver.open(options, { connection: "x", folder: models.folder });
        const answers = await enricher.enrich([rowOf(null), ...texts.map(rowOf)], {});
        const [none, ...vectors] = answers.map((answer) => ("values" in answer ? answer.values[0] : answer));
        expect(none).toBe(null);
        expectClose(vectors, await models.texts(texts, { maximum: 12, pooling }));
      }
    },
  );

  test("a run embeds images as Python does; what is damaged is rejected; equal images are embedded once", async () => {
    const place = join(models.folder, "run");
    await mkdir(join(place, "in"), { recursive: true });
    for (const seed of [1, 2]) await writeFile(join(place, "in", `${seed}.png`), await pictureOf(pixels(seed)));
    await writeFile(join(place, "in", "copy.png"), await pictureOf(pixels(1)));
    const enrich = [{ enricher: "image-embedding", model: "../image.onnx", size: [8, 6] }];
    const from = { path: "in/*.png", format: "images" };
    await writeFile(
      join(place, "millrace.yaml"),
      JSON.stringify({ store: "./lake", flows: { photos: { from, enrich } } }),
    );
    await using lake = await openLake({ folder: place });
    const report = await lake.run("photos");
    expect(report).toMatchObject({
      written: 3,
      enriched: [{ enricher: "image-embedding", rows: 3, asked: 2, cost: 0 }],
    });
    const { rows } = await lake.query("select embedding from photos order by uri");
    const [one, two] = await models.images([pixels(1), pixels(2)]);
    expectClose(
      rows.map((row) => row["embedding"]),
      [one!, two!, one!],
    );
  });
});
