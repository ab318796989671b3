import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openEngine, type Engine } from "../../src/engine/index.ts";
import { pieceHashes, similarityOf, uniqueHashes } from "../../src/feed/minhash.ts";
import { nearHashes } from "../../src/feed/near-hash.ts";
import { nearNumbers } from "../../src/feed/near-numbers.ts";
import { nearTexts } from "../../src/feed/near-text.ts";
import type { NearRequest } from "../../src/feed/near.ts";
import { millrace } from "../cli/millrace.ts";
import { openPlace, type Place } from "../support/flows.ts";
import { randomOf } from "./features-oracle.ts";

let engine: Engine;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "millrace-near-"));
  engine = await openEngine({
    memoryLimit: "300MB",
    threads: 2,
    spillFolder: join(folder, "spill"),
    allowed: [folder],
  });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

interface Row {
  id: number;
  split: string;
}
/** The first 3,000 rows are train, the rest validation and test; what was planted is there. */
const splitOf = (id: number): string => (id < 3000 ? "train" : id % 2 === 0 ? "validation" : "test");

async function requestOf(rows: readonly Row[]): Promise<NearRequest> {
  const file = join(folder, "rows.ndjson");
  await writeFile(file, rows.map((row) => JSON.stringify(row)).join("\n"));
  const relation = `read_json('${file}', format = 'newline_delimited')`;
  return {
    relation,
    columns: await engine.columnsOf(`SELECT * FROM ${relation}`),
    split: "split",
    origin: "'id=' || id",
    folder,
  };
}

/** Pairs of rows of two splits for which it holds, by looking at all of them. */
function pairsWhere<R extends Row>(rows: readonly R[], holds: (left: R, right: R) => boolean): number {
  let count = 0;
  for (const [index, left] of rows.entries()) {
    for (let other = index + 1; other < rows.length; other++) {
      if (left.split !== rows[other]!.split && holds(left, rows[other]!)) count++;
    }
  }
  return count;
}

describe("texts", () => {
  interface Document extends Row {
    body: string;
  }
  const random = randomOf(11);
  const words = Array.from({ length: 3000 }, () =>
    Array.from({ length: 3 + Math.floor(random() * 7) }, () =>
      String.fromCharCode(97 + Math.floor(random() * 26)),
    ).join(""),
  );
  const word = (): string => words[Math.floor(random() * words.length)]!;
  const clean: Document[] = Array.from({ length: 4000 }, (_, id) => ({
    id,
    split: splitOf(id),
    body: Array.from({ length: 30 + Math.floor(random() * 60) }, word).join(" "),
  }));
  /** A copy with some words changed, shouted, and punctuated. */
  const edited = (text: string, changes: number): string => {
    const parts = text.split(" ");
    for (let change = 0; change < changes; change++) parts[Math.floor(random() * parts.length)] = word();
    return parts.map((part, index) => (index % 9 === 0 ? `${part.toUpperCase()}!` : part)).join("  ");
  };
  const planted = clean.map((row, index) =>
    index >= 3000 && index < 3300 ? { ...row, body: edited(clean[index - 3000]!.body, index % 6) } : row,
  );
  const normal = (text: string): string =>
    text
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}]+/gu, " ")
      .trim();
  const similarity = (left: string, right: string): number => {
    const sets = [normal(left), normal(right)].map((text) => {
      const hashes = new Uint32Array(text.length);
      return hashes.subarray(0, uniqueHashes(hashes, pieceHashes(text, hashes)));
    });
    return similarityOf(sets[0]!, sets[0]!.length, sets[1]!, sets[1]!.length);
  };

  test("copies with a few words changed are found, each of them, and nothing that is less similar", async () => {
    const wanted = planted.slice(3000, 3300).filter(({ id, body }) => similarity(body, clean[id - 3000]!.body) >= 0.8);
    expect(wanted.length).toBeGreaterThan(150);
    expect(wanted.length).toBeLessThan(300);
    const found = await nearTexts(["body"], 0.8, await requestOf(planted), engine);
    expect(found.compared).toBe(4000);
    // No two others are alike, so the planted ones are all there is; 2 of 1000 may be missed.
    expect(found.pairs).toBeLessThanOrEqual(wanted.length);
    expect(found.pairs / wanted.length).toBeGreaterThan(0.99);
    expect(found.rows).toBe(2 * found.pairs);
    expect(found.examples).toHaveLength(5);
    for (const { left, right, value } of found.examples) {
      expect([left, right].map(({ split }) => split)).toContain("train");
      const [a, b] = [left, right].map(({ origin }) => Number(origin.slice(3)));
      expect(Math.abs(a! - b!)).toBe(3000);
      expect(value).toBeCloseTo(similarity(planted[a!]!.body, planted[b!]!.body), 9);
    }
  });

  test("texts of their own give none", async () => {
    expect(await nearTexts(["body"], 0.8, await requestOf(clean), engine)).toMatchObject({
      rows: 0,
      pairs: 0,
      examples: [],
    });
  });

  test("similarity is Jaccard's of pieces of five characters", () => {
    const pieces = (text: string): Set<string> =>
      new Set(Array.from({ length: text.length - 4 }, (_, start) => text.slice(start, start + 5)));
    for (const { id, body } of planted.slice(3000, 3050)) {
      const [left, right] = [pieces(normal(body)), pieces(normal(clean[id - 3000]!.body))];
      expect(similarity(body, clean[id - 3000]!.body)).toBeCloseTo(
        left.intersection(right).size / left.union(right).size,
        3,
      );
    }
  });

  test("a thousand copies of one template are counted without comparing each with each", async () => {
    const template = clean[0]!.body;
    const copies = clean.slice(0, 2000).map((row, id) => ({
      ...row,
      split: id < 1500 ? "train" : "test",
      body: id < 1000 || id >= 1900 ? `${template} ${id}` : row.body,
    }));
    const found = await nearTexts(["body"], 0.8, await requestOf(copies), engine);
    expect(found.rows).toBe(1100);
    expect(found.pairs).toBeLessThan(50_000);
  });
});

describe("numbers", () => {
  interface Measured extends Row {
    x: number[];
  }
  const columns = ["a", "b", "c", "d", "e"];
  const random = randomOf(5);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const clean: Measured[] = Array.from({ length: 3600 }, (_, id) => ({
    id,
    split: splitOf(id),
    x: columns.map((_name, index) => 10 ** index * (normal() + index)),
  }));
  const planted = clean.map((row, index) =>
    index >= 3000 && index < 3300
      ? { ...row, x: clean[index - 3000]!.x.map((value, column) => value + 10 ** column * 0.018 * (random() - 0.5)) }
      : row,
  );
  const written = (rows: readonly Measured[]): Row[] =>
    rows.map(({ id, split, x }) => ({
      id,
      split,
      ...Object.fromEntries(x.map((value, index) => [columns[index]!, value])),
    }));
  const deviations = (rows: readonly Measured[]): number[] =>
    columns.map((_, column) => {
      const values = rows.map(({ x }) => x[column]!);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
    });

  test("rows that were shaken a little are found, whatever the units", async () => {
    const units = deviations(planted);
    const wanted = pairsWhere(planted, ({ x }, { x: y }) =>
      x.every((value, index) => Math.abs(value - y[index]!) / units[index]! <= 0.01),
    );
    expect(wanted).toBeGreaterThan(250);
    const found = await nearNumbers(columns, 0.01, await requestOf(written(planted)), engine);
    expect(found.compared).toBe(3600);
    expect(found.pairs).toBeLessThanOrEqual(wanted);
    expect(found.pairs / wanted).toBeGreaterThan(0.99);
    expect(found.examples[0]!.value).toBeLessThan(0.01);
  });

  test("rows of their own give none; a column that never changes and nulls tell nothing apart", async () => {
    expect(await nearNumbers(columns, 0.01, await requestOf(written(clean)), engine)).toMatchObject({
      compared: 3600,
      rows: 0,
    });
    const same = written(clean).map((row) => ({ ...row, a: 1, b: null }));
    expect(await nearNumbers(["a", "b"], 0.01, await requestOf(same), engine)).toMatchObject({ rows: 0 });
    const half = [0, 1, 2, 3].map((id) => ({
      id,
      split: id < 2 ? "train" : "test",
      a: id % 2,
      b: id % 2 === 0 ? null : 7 + id,
    }));
    expect(await nearNumbers(["a", "b"], 0.01, await requestOf(half), engine)).toMatchObject({ rows: 2, pairs: 1 });
  });
});

describe("perceptual hashes", () => {
  const random = randomOf(3);
  const hash = (): bigint =>
    BigInt.asIntN(64, (BigInt(Math.floor(random() * 2 ** 32)) << 32n) | BigInt(Math.floor(random() * 2 ** 32)));
  const flip = (value: bigint, bits: number): bigint => {
    const places = new Set<number>();
    while (places.size < bits) places.add(Math.floor(random() * 64));
    return [...places].reduce((flipped, place) => BigInt.asIntN(64, flipped ^ (1n << BigInt(place))), value);
  };

  test("all within so many bits are found, and no other", async () => {
    const values = Array.from({ length: 3300 }, hash);
    for (let index = 0; index < 300; index++) values[3000 + index] = flip(values[index]!, index % 6);
    const rows = values.map((phash, id) => ({ id, split: splitOf(id), phash: String(phash) }));
    const request = await requestOf(rows);
    const typed = { ...request, relation: `(SELECT * REPLACE (phash::BIGINT AS phash) FROM ${request.relation})` };
    const found = await nearHashes("phash", 4, typed, engine);
    // 0 to 4 bits of 0 to 5: five sixths.
    expect(found).toMatchObject({ compared: 3300, pairs: 250, rows: 500 });
    expect(found.examples[0]!.value).toBe(0);
    expect(await nearHashes("phash", 0, typed, engine)).toMatchObject({ pairs: 50 });
    expect(await nearHashes("phash", 12, typed, engine)).toMatchObject({ pairs: 300 });
  });
});

describe("in the lake", () => {
  let place: Place;
  const sentence = (id: number): string =>
    Array.from({ length: 14 }, (_, at) => `w${(id * 7919 + at * 104_729 + id * id * at) % 9973}`).join(" ");
  const flow = (split: object): Record<string, unknown> => ({
    notes: {
      from: { path: "notes.ndjson" },
      mode: "replace",
      key: ["id"],
      split: { train: 0.6, test: 0.4, seed: 1, ...split },
    },
  });
  const write = (copies: number): Promise<void> =>
    place.write(
      "notes.ndjson",
      Array.from({ length: 600 }, (_, id) =>
        JSON.stringify({ id, author: id % 50, body: id < copies ? `${sentence(id + 300)}!` : sentence(id) }),
      ).join("\n"),
    );
  beforeAll(async () => {
    place = await openPlace();
  });
  afterAll(() => place[Symbol.asyncDispose]());

  test("`millrace leakage` shows pairs with their rows and ends with 1, unless so much is allowed", async () => {
    await write(40);
    await place.configure(flow({}));
    expect(await place.run("notes")).toMatchObject({ status: "published" });
    const shown = await millrace(place.folder, ["leakage", "notes"]);
    expect(shown.code).toBe(1);
    expect(shown.stdout).toMatch(
      /✗ near-text body +\d+ of 600 rows have a `body` at least 0.8 similar to one of another split/,
    );
    expect(shown.stdout).toMatch(/near-text body +1 +(train|test) id=\d+ +(train|test) id=\d+/);
    const report = await place.with((lake) => lake.leakage("notes"));
    const rows = report.checks.find(({ check }) => check === "near-text")!.failing!;
    expect(rows).toBeGreaterThan(10);
    for (const { left, right } of report.examples[0]!.pairs) {
      const [a, b] = [left, right].map(({ origin }) => Number(/^id=(\d+)$/.exec(origin)![1]));
      expect(Math.abs(a! - b!)).toBe(300);
    }
    const allowed = await millrace(place.folder, ["leakage", "notes", "--max-rows", String(rows), "--json"]);
    expect(allowed.code).toBe(0);
    expect(JSON.parse(allowed.stdout)).toMatchObject({ status: "warned", version: 1, rows: 600 });
    const wrong = await millrace(place.folder, ["leakage", "notes", "--bits", "3"]);
    expect(wrong.stderr).toContain("add --hash");
    const misspelt = place.with((lake) => lake.leakage("notes", { near: [{ text: "bodi", similarity: 0.9 }] }));
    await expect(misspelt).rejects.toMatchObject({ hint: expect.stringContaining("did you mean `body`") });
  });

  test("folds leak as splits do, and rows without a key are named by file and place", async () => {
    await place.configure({ notes: { ...(flow({})["notes"] as object), key: undefined } });
    const folds = await place.with((lake) => lake.leakage("notes", { folds: 3, fold: 2 }));
    expect(folds.status).toBe("failed");
    const splits = await place.with((lake) => lake.leakage("notes"));
    expect(splits.examples[0]!.pairs[0]!.left.origin).toMatch(/\.parquet:\d+$/);
  });

  test("with `split.near` nothing that leaks is published, new rows are held against old ones, and what is clean is", async () => {
    const near = { near: [{ text: "body" }] };
    await place.configure(flow(near));
    const failed = await place.run("notes");
    expect(failed.status).toBe("failed");
    expect(failed.checks.find(({ check }) => check === "near-text")!.message).toMatch(
      /train id=\d+ and test id=|test id=\d+ and train id=/,
    );
    await place.configure(flow({ ...near, leakage: "warn" }));
    expect(await place.run("notes")).toMatchObject({ status: "published", version: 2 });
    await write(0);
    await place.configure(flow(near));
    const clean = await place.run("notes");
    expect(clean).toMatchObject({ status: "published", version: 3 });
    expect(clean.checks.find(({ check }) => check === "near-text")).toMatchObject({ status: "passed", failing: 0 });
    expect(await place.with((lake) => lake.leakage("notes"))).toMatchObject({ status: "passed", examples: [] });

    await write(40);
    await place.configure({
      notes: { ...(flow(near)["notes"] as object), mode: "append", into: "more", from: { path: "late*.ndjson" } },
    });
    await place.write(
      "late1.ndjson",
      Array.from({ length: 100 }, (_, id) => JSON.stringify({ id, body: sentence(id) })).join("\n"),
    );
    expect(await place.run("notes")).toMatchObject({ status: "published" });
    await place.write(
      "late2.ndjson",
      Array.from({ length: 100 }, (_, id) => JSON.stringify({ id: id + 100, body: `${sentence(id)}.` })).join("\n"),
    );
    expect(await place.run("notes")).toMatchObject({ status: "failed" });
    const wrong = { near: [{ numbers: ["body"] }] };
    await place.configure({ notes: { ...(flow(wrong)["notes"] as object), into: "wrong" } });
    await expect(place.run("notes")).rejects.toMatchObject({
      code: "config",
      message: expect.stringContaining("no number"),
    });
  });
});
