import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isMillraceError } from "../../src/core/index.ts";
import { factsOf, haveCorpora, openBench, type Bench, type Fact } from "./landing.ts";

let bench: Bench;
beforeAll(async () => {
  bench = await openBench();
});
afterAll(() => bench[Symbol.asyncDispose]());

type Outcome = { error: string; message: string } | { read: number; written: number; rejected: number };

/** Ends in data, in rejected records, or in an error that is an answer: a code, and the name of the file. */
async function outcomeOf(fact: Fact, options: Record<string, unknown> = {}): Promise<Outcome> {
  try {
    const landing = await bench.land({ path: fact.path, parse_timeout_s: 2, ...options });
    expect(`${fact.name}: ${landing.written + landing.rejected.length}`).toBe(`${fact.name}: ${landing.read}`);
    for (const { reason, origin } of landing.rejected) {
      expect(reason).not.toBe("");
      expect(origin).toContain(fact.name);
    }
    return { read: landing.read, written: landing.written, rejected: landing.rejected.length };
  } catch (error) {
    if (!isMillraceError(error)) throw error;
    expect(`${fact.name}: ${error.code}: ${error.message}`).not.toMatch(/: (internal|usage|aborted):/);
    expect(`${error.message} ${error.where.file ?? ""}`).toContain(fact.name);
    return { error: error.code, message: error.message };
  }
}

/** Files that are read though upstream calls them bad, and why that loses nothing. */
const readable: Record<string, string> = {
  "n_structure_whitespace_formfeed.json": "an empty array: the engine takes a form feed for white space",
  "ARROW-GH-43605.parquet": "either way is fine",
  "datapage_v1-corrupt-checksum.parquet": "the engine does not verify the optional checksums of pages",
  "dict-page-offset-zero.parquet": "the rows are those that were written",
};

describe.skipIf(!haveCorpora)("hostile files", () => {
  for (const folder of [
    "parquet",
    "csv/duckdb",
    "csv/fuzz",
    "csv/spectrum",
    "json/JSONTestSuite",
    "json/transform",
    "json/fuzz",
    "ndjson",
    "avro",
    "arrow-ipc",
  ]) {
    test(`${folder}: each ends in data, rejected records or a clear error`, { timeout: 120_000 }, async () => {
      const facts = factsOf(`hostile/${folder}`).filter((fact) => fact.role !== "expected rows");
      expect(facts.length).toBeGreaterThan(0);
      const wrong: string[] = [];
      for (const fact of facts) {
        const outcome = await outcomeOf(fact);
        const refused = "error" in outcome || outcome.rejected > 0;
        if (fact.expect === "reject" && !refused && readable[fact.name] === undefined)
          wrong.push(`${fact.name} was read whole: ${fact.why}`);
        if (fact.expect === "accept" && "error" in outcome) wrong.push(`${fact.name} was refused: ${outcome.message}`);
      }
      expect(wrong).toEqual([]);
    });
  }
});

/** Where upstream's JSON is not what its own CSV says. */
const corrections: Record<string, [string, string]> = {
  "location_coordinates.csv": ["1234567890", "2095257564"],
  // Its line ends were made LF when it was checked in.
  "newlines_crlf.csv": ["\\r\\n", "\\n"],
};

describe.skipIf(!haveCorpora)("csv-spectrum: exactly the rows that upstream states", () => {
  const facts = factsOf("hostile/csv/spectrum").filter((fact) => fact.expected_json !== undefined);
  test.each(facts.map((fact) => [fact.name, fact] as const))("%s", async (_, fact) => {
    const [before, after] = corrections[fact.name] ?? ["", ""];
    const text = readFileSync(fact.path.replace(fact.name, fact.expected_json!), "utf8").replace(before, after);
    const expected = [JSON.parse(text) as Record<string, string> | Record<string, string>[]].flat();
    const types = Object.fromEntries(Object.keys(expected[0]!).map((name) => [name, "string"]));
    const landing = await bench.land({ path: fact.path, options: { types } });
    const rows = await bench.rows(landing);
    // Upstream has no null: a cell without text is an empty string there.
    const texts = rows.map((row) =>
      Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value ?? ""])),
    );
    expect(texts.map((row) => JSON.stringify(row)).toSorted()).toEqual(
      expected.map((row) => JSON.stringify(row)).toSorted(),
    );
    expect(landing.rejected).toEqual([]);
  });
});
