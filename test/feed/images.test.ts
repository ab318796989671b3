import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openEngine } from "../../src/engine/index.ts";
import { parseImage } from "../../src/feed/images/spec.ts";
import { serveFeed } from "../../src/feed/serve.ts";
import type { Feed, FeedBatch, FeedOptions, Lake } from "../../src/pipeline/index.ts";
import { makePlace, published, rowsOf, type Place } from "../pipeline/place.ts";
import { pythonEnvironment, runPython } from "../services/python.ts";

const [width, height, count] = [9, 7, 60];
let place: Place;
let lake: Lake;

/** Samples of the n-th image, red, green and blue side by side: no two images and no two pixels are alike. */
const samples = (n: number): Uint8Array =>
  Uint8Array.from({ length: width * height * 3 }, (_, at) => (n * 31 + at * 7 + (at % 3) * 50) % 256);
const pngOf = (n: number): Promise<Buffer> =>
  sharp(samples(n), { raw: { width, height, channels: 3 } })
    .withExif({ IFD0: { Copyright: "x".repeat(n % 2 === 0 ? 10 : 500) } })
    .png()
    .toBuffer();

beforeAll(async () => {
  place = await makePlace();
  const folder = join(place.folder, "photos");
  await mkdir(folder);
  const pictures = await Promise.all(Array.from({ length: count }, (_, n) => pngOf(n)));
  for (const [n, png] of pictures.entries()) await writeFile(join(folder, `${String(n).padStart(3, "0")}.png`), png);
  // Some in a column of bytes that nobody looked into: good ones, damaged ones and a missing one.
  const encoded = await Promise.all(Array.from({ length: 40 }, (_, n) => pngOf(n)));
  const values = encoded.map((png, n) => {
    if (n === 7) return `(${n}, NULL)`;
    const bytes = n % 10 === 3 ? png.subarray(0, png.length - 30) : n === 5 ? Buffer.from("no image at all") : png;
    return `(${n}, '${bytes.toString("hex")}')`;
  });
  await using engine = await place.engine();
  await engine.export(
    `SELECT n::INT AS n, unhex(h) AS photo FROM (VALUES ${values.join(", ")}) t(n, h)`,
    join(place.folder, "raw.parquet"),
    "FORMAT parquet",
  );
  // Some are kept in their rows, some beside the dataset.
  const assets = { inline_max_bytes: Math.min(...pictures.map(({ length }) => length)) };
  lake = await place.open({
    photos: { from: { path: "photos/*", format: "images", assets } },
    raw: { from: { path: "raw.parquet" } },
  });
  await published(lake.run("photos"));
  await published(lake.run("raw"));
}, 120_000);
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const photos = (options: FeedOptions = {}): Promise<Feed> =>
  lake.feed("photos", {
    batch: 12,
    seed: 3,
    columns: ["uri", "bytes"],
    images: { bytes: { width, height } },
    ...options,
  });

const column = (batch: FeedBatch, name: string): FeedBatch["columns"][number] =>
  batch.columns.find((each) => each.name === name)!;
const texts = (batch: FeedBatch, name: string): string[] => {
  const { values, offsets } = column(batch, name);
  return Array.from({ length: batch.rows }, (_, row) =>
    Buffer.from(values as Uint8Array).toString("utf8", offsets![row], offsets![row + 1]),
  );
};
const numberIn = (uri: string): number => Number(/(\d+)\.png$/.exec(uri)![1]);

describe("images", () => {
  test("inline or as objects, come as the samples that they were made of, in either layout, in grey, over HTTP and in Python", async () => {
    // Both ways that the bytes of an asset can be kept.
    const [[inline, beside]] = (await rowsOf(lake, "select count(bytes), count(object) from photos")) as [
      [number, number],
    ];
    expect([inline > 0, beside > 0, inline + beside]).toEqual([true, true, count]);
    await using feed = await photos();
    expect(feed.columns).toEqual([
      { name: "uri", type: "string" },
      { name: "bytes", type: "binary" },
    ]);
    expect(feed.shapes.get("bytes")).toEqual([height, width, 3]);
    const each = width * height * 3;
    const seen = new Set<number>();
    for await (const batch of feed) {
      const { values, shape } = column(batch, "bytes");
      expect([values.length, shape]).toEqual([batch.rows * each, [height, width, 3]]);
      for (const [row, uri] of texts(batch, "uri").entries()) {
        const n = numberIn(uri);
        seen.add(n);
        expect(Buffer.compare(values.subarray(row * each, row * each + each) as Uint8Array, samples(n))).toBe(0);
      }
    }
    expect(seen.size).toBe(count);
    await using planes = await photos({ images: { bytes: { width, height, layout: "chw" } } });
    await using grey = await photos({ images: { bytes: { width, height, channels: 1 } } });
    expect([planes.shapes.get("bytes"), grey.shapes.get("bytes")]).toEqual([
      [3, height, width],
      [height, width, 1],
    ]);
    await using server = await serveFeed(planes);
    const python = await pythonEnvironment(["pyarrow==21.0.0", "scikit-learn==1.7.2"]);
    const printed = await runPython(
      python,
      `import sys, hashlib
from millrace import Feed, arrays
feed = Feed(sys.argv[1])
digest = hashlib.sha256()
for batch in feed:
    pixels = arrays(batch)["bytes"]
    assert pixels.dtype == "uint8" and pixels.shape[1:] == (3, ${height}, ${width}), (pixels.dtype, pixels.shape)
    digest.update(pixels.transpose(0, 2, 3, 1).tobytes())
print(digest.hexdigest(), [column.get("shape") for column in feed.info()["columns"]])
`,
      [server.url],
      { PYTHONPATH: resolve("python") },
    );
    const digest = createHash("sha256");
    for await (const batch of feed) digest.update(column(batch, "bytes").values as Uint8Array);
    expect(printed.trim()).toBe(`${digest.digest("hex")} [None, [3, ${height}, ${width}]]`);
    // Grey is the luminance of the colours: between the darkest and the brightest of them.
    const [shade, colours] = [await grey.batch(0), await feed.batch(0)];
    const greys = column(shade, "bytes").values as Uint8Array;
    const rgb = column(colours, "bytes").values as Uint8Array;
    expect(greys.length * 3).toBe(rgb.length);
    for (const [pixel, value] of greys.entries()) {
      const of = rgb.subarray(pixel * 3, pixel * 3 + 3);
      expect(value).toBeGreaterThanOrEqual(Math.min(...of) - 1);
      expect(value).toBeLessThanOrEqual(Math.max(...of) + 1);
    }
  });

  test("are resized as they are asked for", async () => {
    const picture = await sharp({ create: { width: 40, height: 20, channels: 3, background: "#ff0000" } })
      .composite([
        { input: { create: { width: 20, height: 20, channels: 3, background: "#0000ff" } }, left: 20, top: 0 },
      ])
      .png()
      .toBuffer();
    await using engine = await place.engine();
    await engine.export(
      `SELECT 1 AS n, unhex('${picture.toString("hex")}') AS photo`,
      join(place.folder, "one.parquet"),
      "FORMAT parquet",
    );
    await using own = await place.open({ one: { from: { path: "one.parquet" } } });
    await published(own.run("one"));
    const corners = async (fit: "cover" | "contain" | "fill"): Promise<string[]> => {
      await using feed = await own.feed("one", { batch: 1, images: { photo: { width: 10, height: 10, fit } } });
      const { values } = column(await feed.batch(0), "photo");
      return [0, 9, 45, 54].map((pixel) =>
        Buffer.from(values.subarray(pixel * 3, pixel * 3 + 3) as Uint8Array).toString("hex"),
      );
    };
    const [red, blue] = ["ff0000", "0000ff"];
    expect((await corners("fill")).filter((_, at) => at < 2)).toEqual([red, blue]);
    expect((await corners("cover")).filter((_, at) => at < 2)).toEqual([red, blue]);
    expect((await corners("contain")).filter((_, at) => at < 2)).toEqual(["000000", "000000"]);
  });

  test("that cannot be decoded are an error with their row, or left out the same way everywhere", async () => {
    const images = { photo: { width, height } };
    await expect(lake.feed("raw", { images, batch: 4 })).rejects.toMatchObject({
      code: "parse",
      message: expect.stringMatching(/the image `photo` of `row 3 of raw\/data\/.*` in `raw@1` cannot be decoded/),
      where: { dataset: "raw", column: "photo", row: 3 },
      hint: expect.stringContaining("--on-bad skip"),
    });
    const good = Array.from({ length: 40 }, (_, n) => n).filter((n) => n % 10 !== 3 && n !== 5);
    const orders: string[] = [];
    for (const folder of ["first", "second"]) {
      const cache = { folder: join(place.folder, folder) };
      await using feed = await lake.feed("raw", { images, onBad: "skip", batch: 5, dropLast: false, seed: 9, cache });
      expect(feed.datasets).toEqual([{ name: "raw", version: 1, rows: good.length, skipped: 5 }]);
      const seen: number[] = [];
      for await (const batch of feed) {
        const numbers = [...(column(batch, "n").values as Int32Array)];
        const { values, validity } = column(batch, "photo");
        for (const [row, n] of numbers.entries()) {
          const pixels = values.subarray(row * samples(n).length, (row + 1) * samples(n).length) as Uint8Array;
          const present = validity === undefined || ((validity[row >> 3]! >> (row & 7)) & 1) === 1;
          expect(present).toBe(n !== 7);
          expect(Buffer.compare(pixels, present ? samples(n) : new Uint8Array(pixels.length))).toBe(0);
        }
        seen.push(...numbers);
      }
      expect(seen.toSorted((a, b) => a - b)).toEqual(good);
      orders.push(seen.join(" "));
    }
    expect(orders[0]).toBe(orders[1]);
  });

  test("say what does not fit", async () => {
    await expect(photos({ images: { width: { width: 1, height: 1 } } })).rejects.toMatchObject({ code: "usage" });
    await expect(photos({ images: { byte: { width: 1, height: 1 } } })).rejects.toMatchObject({ code: "usage" });
    await expect(photos({ images: { bytes: { width: 0, height: 1 } } })).rejects.toMatchObject({ code: "usage" });
    await expect(photos({ columns: ["uri"] })).rejects.toMatchObject({ code: "usage" });
    await expect(photos({ images: { uri: { width: 1, height: 1 } } })).rejects.toMatchObject({ code: "usage" });
    await expect(photos({ batch: 100_000, images: { bytes: { width: 200, height: 200 } } })).rejects.toMatchObject({
      code: "usage",
      message: expect.stringContaining("batch"),
    });
    expect(parseImage("a=b=64x32,chw,grey,contain")).toEqual({
      column: "a=b",
      options: { width: 64, height: 32, layout: "chw", channels: 1, fit: "contain" },
    });
    for (const text of ["a", "a=1", "a=1x", "a=1x1,round", "=1x1"]) {
      expect(() => parseImage(text)).toThrow(/does not say how an image/);
    }
  });
});

const corpora = resolve("../shared/corpora/good/images/metadata");
test.skipIf(!existsSync(corpora))("real photographs of every kind are decoded", { timeout: 120_000 }, async () => {
  await cp(corpora, join(place.folder, "real"), { recursive: true });
  await using own = await place.open({ real: { from: { path: "real/**/*", format: "images" } } });
  await published(own.run("real"));
  const [[rows]] = (await rowsOf(own, "select count(*) from real where bytes is not null or object is not null")) as [
    [number],
  ];
  expect(rows).toBeGreaterThan(5);
  await using feed = await own.feed("real", {
    batch: 1,
    dropLast: false,
    images: { bytes: { width: 64, height: 48 } },
  });
  expect(feed.rows).toBe(rows);
  const different = new Set<string>();
  for await (const batch of feed)
    different.add(Buffer.from(column(batch, "bytes").values as Uint8Array).toString("base64"));
  expect(different.size).toBeGreaterThan(rows * 0.6);
});

const hostile = resolve("../shared/corpora/hostile/images");
test.skipIf(!existsSync(hostile))(
  "hostile images neither end the process nor its neighbours, and the same rows are left out each time",
  { timeout: 120_000 },
  async () => {
    await using engine = await openEngine({ spillFolder: place.folder, allowed: [place.folder, hostile], threads: 2 });
    await engine.export(
      `SELECT row_number() OVER (ORDER BY filename)::INT AS n, content AS photo FROM read_blob('${hostile}/**/*') WHERE size < 200000`,
      join(place.folder, "hostile.parquet"),
      "FORMAT parquet",
    );
    await using own = await place.open({ hostile: { from: { path: "hostile.parquet" } } });
    const { written } = await published(own.run("hostile"));
    const served: string[] = [];
    for (const folder of ["once", "again"]) {
      await using feed = await own.feed("hostile", {
        images: { photo: { width: 16, height: 16 } },
        columns: ["n", "photo"],
        onBad: "skip",
        batch: 4,
        dropLast: false,
        cache: { folder: join(place.folder, folder) },
      });
      const { rows, skipped = 0 } = feed.datasets[0]!;
      expect([rows + skipped, rows > 20, skipped > 20]).toEqual([written, true, true]);
      const digest = createHash("sha256");
      for await (const batch of feed) for (const { values } of batch.columns) digest.update(Buffer.from(values.buffer));
      served.push(digest.digest("hex"));
    }
    expect(served[0]).toBe(served[1]);
  },
);
