import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatType, isMillraceError, type MillraceError } from "../../src/core/index.ts";
import { factsOf, haveCorpora, openBench, type Bench, type Fact, type Landing } from "./landing.ts";

let bench: Bench;
beforeAll(async () => {
  bench = await openBench();
});
afterAll(() => bench[Symbol.asyncDispose]());

async function outcomeOf(path: string, options: Record<string, unknown> = {}): Promise<Landing | MillraceError> {
  try {
    return await bench.land({ path, ...options });
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
}

/** Files of good/tables that Millrace refuses, with the code of the refusal. */
const refused: [RegExp, string][] = [
  // Byte order other than this machine's, and a type that the reader of Arrow does not know.
  [/^1\.0\.0-bigendian-/, "unsupported"],
  [/run_end_encoded\./, "parse"],
  // A layout of unions from before Arrow 1.0.
  [/^0\.17\.1-generated_union\./, "parse"],
  [/\.ods$/, "unsupported"],
  [/protected_passtika/, "unsupported"],
  // What the engine's own reader of Parquet does not know.
  [/^hadoop_lz4_compressed/, "parse"],
  [/^map_no_value\.parquet$/, "parse"],
  [/^byte_stream_split\.parquet$/, "parse"],
  // Text that is not UTF-8, and sizes that are not true.
  [/^invalid\.parquet$/, "parse"],
  [/^variant_malicious\.parquet$/, "parse"],
  // Shredded variants that the engine does not read, or that would end it.
  [/^case-(087|128)\.parquet$/, "parse"],
  [/^case-(132|138)\.parquet$/, "unsupported"],
  // Lines that end in different ways.
  [/^multi_column_string_mix\.csv$/, "parse"],
];

/** What a fact's type becomes; a type that is not here is compared by nothing. */
const types: Record<string, string[]> = {
  BIGINT: ["long"],
  DOUBLE: ["double"],
  VARCHAR: ["string"],
  BOOLEAN: ["boolean"],
  DATE: ["date"],
  TIMESTAMP: ["timestamp"],
  INTEGER: ["int"],
};

/** The facts that differ from what is landed. */
function differences(fact: Fact, landing: Landing): string[] {
  const wrong: string[] = [];
  if (landing.written + landing.rejected.length !== landing.read)
    wrong.push(`${fact.name}: read ${landing.read}, written ${landing.written}, rejected ${landing.rejected.length}`);
  if (fact.rows !== undefined && landing.read !== fact.rows)
    wrong.push(`${fact.name}: ${landing.read} rows instead of ${fact.rows}`);
  if (fact.columns !== undefined && fact.rows !== 0 && landing.columns.length !== fact.columns.length) {
    wrong.push(`${fact.name}: ${landing.columns.length} columns instead of ${fact.columns.length}`);
  }
  return wrong;
}

async function check(
  folder: string,
  wanted: (fact: Fact) => boolean,
  exceptions: Record<string, string> = {},
): Promise<{ landed: number }> {
  const facts = factsOf(`good/tables/${folder}`).filter(wanted);
  expect(facts.length).toBeGreaterThan(0);
  const wrong: string[] = [];
  let landed = 0;
  for (const fact of facts) {
    const outcome = await outcomeOf(fact.path);
    const expected = refused.find(([pattern]) => pattern.test(fact.name))?.[1];
    if (!("plan" in outcome)) {
      if (outcome.code !== expected && exceptions[fact.name] === undefined)
        wrong.push(`${fact.name}: ${outcome.code}: ${outcome.message}`);
      continue;
    }
    landed++;
    if (expected !== undefined) wrong.push(`${fact.name} is read now: take it off the list of refused files`);
    if (exceptions[fact.name] === undefined) wrong.push(...differences(fact, outcome));
  }
  expect(wrong).toEqual([]);
  return { landed };
}

describe.skipIf(!haveCorpora)("good files land with the rows and columns that are stated", () => {
  test("parquet", async () => {
    for (const folder of ["parquet", "parquet-geospatial", "parquet-variant", "parquet-hyparquet", "parquet-duckdb"]) {
      await check(folder, (fact) => fact.name.endsWith(".parquet"), {
        "delta_binary_packed.parquet": "the tool states the first 60 of 66 columns",
      });
    }
  });

  test("encrypted parquet is refused, named", async () => {
    for (const fact of factsOf("good/tables/parquet-encrypted")) {
      const outcome = await outcomeOf(fact.path, { format: "parquet" });
      expect(`${fact.name}: ${"plan" in outcome ? "read" : outcome.where.file}`).toBe(`${fact.name}: ${fact.path}`);
    }
  });

  test("arrow", async () => {
    const { landed } = await check("arrow-ipc", (fact) => !fact.name.endsWith(".json.gz"));
    expect(landed).toBeGreaterThan(35);
  });

  test("avro", async () => {
    const { landed } = await check("avro", () => true, {
      "avro-1237-good.avro": "the tool counts records of a file without a record schema as none",
    });
    expect(landed).toBe(27);
  });

  test("csv", async () => {
    await check("csv-real", () => true);
  });

  test("json and ndjson", async () => {
    await check("json", () => true);
    await check("ndjson", () => true);
  });

  test("excel", async () => {
    const { landed } = await check("xlsx", (fact) => /\.(xlsx|ods|csv)$/.test(fact.name));
    expect(landed).toBeGreaterThan(30);
  });

  test("vega", async () => {
    await check("vega", () => true);
  });

  test("types of vega's files are those stated", async () => {
    const wrong: string[] = [];
    for (const fact of factsOf("good/tables/vega")) {
      const outcome = await outcomeOf(fact.path);
      if (!("plan" in outcome)) continue;
      for (const [name, stated] of fact.columns ?? []) {
        const column = outcome.columns.find((each) => each.name === name);
        if (types[stated] !== undefined && !types[stated].includes(formatType(column!.type)))
          wrong.push(`${fact.name}.${name}: ${formatType(column!.type)} instead of ${stated}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

test("every table of the vega-datasets package lands whole", async () => {
  const folder = "node_modules/vega-datasets/data";
  const failed: string[] = [];
  const files = readdirSync(folder).filter((name) => /\.(csv|tsv|json|parquet|arrow)$/.test(name));
  expect(files.length).toBeGreaterThan(60);
  for (const name of files) {
    const outcome = await outcomeOf(join(process.cwd(), folder, name));
    if (!("plan" in outcome)) failed.push(`${name}: ${outcome.code}: ${outcome.message}`);
    else if (outcome.rejected.length > 0)
      failed.push(
        `${name}: ${outcome.rejected.length} of ${outcome.read} records rejected: ${outcome.rejected[0]!.reason}`,
      );
    else if (outcome.written === 0) failed.push(`${name}: no rows`);
  }
  expect(failed).toEqual([]);
});
