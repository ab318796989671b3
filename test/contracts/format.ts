import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { formatType, isMillraceError, type FormatDefinition, type MillraceError } from "../../src/core/index.ts";
import { openEngine, type Engine } from "../../src/engine/index.ts";
import files from "../../src/sources/files/index.ts";
import { roundTrip } from "./format/round-trip.ts";
import { readRows } from "./source/landing.ts";
import type { SourceBench } from "./source.ts";
import { errorOf, noise, textBytes } from "./support/observe.ts";
import { runContract, type Fixture, type Rules, type Waivers } from "./support/suite.ts";

/** Small files of a format, made by somebody else's writer where there is one. */
export interface FormatContract {
  name: string;
  definition: FormatDefinition;
  /** A file of the columns `id` and `text`, at most 20 KB. */
  sample(rows: readonly { id: number; text: string }[]): Uint8Array;
  /** A file that says its columns and holds no row. Absent: the format cannot say columns without a row. */
  headerOnly?: Uint8Array;
  /** A file of the rows of `sample` and one record more that is none, when bad records are told apart from good ones. */
  oneBad?(rows: readonly { id: number; text: string }[]): Uint8Array;
  /** A file with columns but no row that is cut anywhere may read as fewer rows: each record ends by itself (lines). */
  lines: boolean;
  /** Types that the format has no place for, so that a round trip gives another text. */
  lossy?: Readonly<Record<string, string>>;
  waivers?: Waivers;
}

const rows = Array.from({ length: 6 }, (_, id) => ({ id, text: `text ${id} é` }));
const expected = rows.map(({ id, text }) => `${id}|${text}`);

/** Tests that every format passes, read as the source `files` reads it, through the real engine. */
export function formatContract(contract: FormatContract): void {
  runContract(contract, "format", (rules) => formatRules(contract, rules));
}

/** The rules themselves, for a run of them outside of a suite. */
export function formatRules(contract: FormatContract, { rule, ruleIf }: Rules): Fixture {
  const { definition } = contract;
  let folder: string;
  let engine: Engine;
  let count = 0;

  const read = async (
    bytes: Uint8Array,
    options: Record<string, unknown> = {},
  ): Promise<{ rows: string[]; types: string[] }> => {
    const name = `file-${count++}.${definition.extensions[0]}`;
    await writeFile(join(folder, name), bytes);
    const scratch = join(folder, "scratch");
    const driver = await files.load();
    const parsed = files.options.parse({ path: name, format: definition.name, options, parse_timeout_s: 5 });
    await using source = await driver.open(parsed, { connection: contract.name, folder, engine, scratch });
    const { plan, rows: found } = await readRows({ engine, folder } as SourceBench, source, {});
    return { rows: found, types: plan.columns.map((column) => `${column.name} ${formatType(column.type)}`) };
  };
  /** Rows, or the error that says why not; anything else is a broken rule. */
  const outcomeOf = async (bytes: Uint8Array): Promise<string[] | MillraceError> => {
    try {
      return (await read(bytes)).rows;
    } catch (error) {
      if (!isMillraceError(error)) throw error;
      expect(["parse", "corrupt", "limit", "unsupported", "value", "timeout", "not-found"]).toContain(error.code);
      expect(error.message + JSON.stringify(error.where)).toContain(`file-${count - 1}`);
      return error;
    }
  };

  rule("a file is read, with every value in its place, and the same each time", async () => {
    const sample = contract.sample(rows);
    const first = await read(sample);
    expect(first.rows).toEqual(expected);
    expect(await read(sample)).toEqual(first);
    expect(first.types.map((type) => type.split(" ")[0])).toEqual(["id", "text"]);
    const one = await read(contract.sample(rows.slice(0, 1)));
    expect(one.rows).toEqual(expected.slice(0, 1));
  });

  rule("a file without a byte has no rows, or is refused with its name", async () => {
    const outcome = await outcomeOf(new Uint8Array());
    if (Array.isArray(outcome)) expect(outcome).toEqual([]);
  });

  ruleIf(
    contract.headerOnly ? undefined : "the format cannot say columns without a row",
    "columns without a row are columns",
    async () => {
      const { rows: none, types } = await read(contract.headerOnly!);
      expect([none, types.map((type) => type.split(" ")[0])]).toEqual([[], ["id", "text"]]);
    },
  );

  rule("a file that ends early, wherever, is refused or gives only what was whole", async () => {
    const sample = contract.sample(rows);
    const native = contract.lines || sample.length < 120;
    // What is parsed in a child process costs more: every length of the beginning and the end, and some between.
    const lengths = Array.from({ length: sample.length - 1 }, (_, index) => index + 1).filter(
      (length) => native || length < 8 || length > sample.length - 8 || length % Math.ceil(sample.length / 24) === 0,
    );
    let refused = 0;
    for (const length of lengths) {
      const outcome = await outcomeOf(sample.subarray(0, length));
      if (!Array.isArray(outcome)) refused++;
      else if (!contract.lines)
        expect([length, expected.length > outcome.length || sameRows(outcome)]).toEqual([length, true]);
      else expect(outcome.length).toBeLessThanOrEqual(expected.length);
    }
    if (!contract.lines) expect(refused).toBeGreaterThan(0);
    expect((await read(sample)).rows).toEqual(expected);
  });
  const sameRows = (found: readonly string[]): boolean => found.join("\n") === expected.join("\n");

  rule("bytes that are flipped or made up end in rows or in a refusal, and what comes next is read", async () => {
    const sample = contract.sample(rows);
    for (let round = 0; round < 12; round++) {
      const broken = Uint8Array.from(sample);
      for (const [index, value] of noise(3, round + 1).entries()) {
        broken[(value * 257 + index * 31 + round * 97) % broken.length]! ^= 1 << (round % 8);
      }
      await outcomeOf(broken);
    }
    await outcomeOf(noise(3_000, 7));
    await outcomeOf(textBytes("\0\0\0\0"));
    expect((await read(sample)).rows).toEqual(expected);
  });

  ruleIf(
    contract.oneBad ? undefined : "a file is read whole or not at all",
    "a bad record is set apart from the good ones",
    async () => {
      expect((await read(contract.oneBad!(rows))).rows).toEqual(expected);
    },
  );

  ruleIf(
    definition.capabilities.write ? undefined : "the format is not written",
    "what is written is read back exact, type by type",
    async () => {
      for (const { type, before, after } of await roundTrip(definition.name, folder)) {
        if (Object.hasOwn(contract.lossy ?? {}, type)) expect([type, after]).not.toEqual([type, before]);
        else expect([type, after]).toEqual([type, before]);
      }
    },
  );

  rule("it says what it can: a writer has COPY options, and an option that is none is named", async () => {
    const driver = await definition.load();
    const format = driver.open(definition.options.parse({}));
    expect(format.copy !== undefined).toBe(definition.capabilities.write);
    expect(format.native !== undefined || format.converter !== undefined).toBe(definition.capabilities.read);
    const error = await errorOf(() => read(contract.sample(rows), { no_such_option: 1 }));
    expect(error.code).toBe("config");
    expect(error.message).toContain("no_such_option");
  });

  return {
    async start() {
      folder = await mkdtemp(join(tmpdir(), "millrace-contract-"));
      engine = await openEngine({ spillFolder: join(folder, "spill"), allowed: [folder], memoryLimit: "300MB" });
    },
    async stop() {
      await engine[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
