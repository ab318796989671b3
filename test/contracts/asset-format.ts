import { createHash } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { assetColumns, type FormatDefinition } from "../../src/core/index.ts";
import { openLake } from "../../src/index.ts";
import { noise } from "./support/observe.ts";
import { runContract, type Fixture, type Rules, type Waivers } from "./support/suite.ts";

/** A format whose files are assets: documents, images, exports. */
export interface AssetFormatContract {
  name: string;
  definition: FormatDefinition;
  /** A good file, at most 20 KB, its media type, and how many rows it gives. */
  sample: { bytes: Uint8Array; mediaType: string; rows: number };
  waivers?: Waivers;
}

/** Tests that every format of assets passes, read by the source `files` into a lake. */
export function assetFormatContract(contract: AssetFormatContract): void {
  runContract(contract, "format", (rules) => assetFormatRules(contract, rules));
}

interface Outcome {
  written: number;
  rejected: number;
  rows: Record<string, unknown>[];
  refused: { reason: string; origin: string; record: string }[];
}

function assetFormatRules({ definition, sample }: AssetFormatContract, { rule }: Rules): Fixture {
  let folder: string;
  let count = 0;

  /** A lake of its own for each set of files. */
  const read = async (files: Record<string, Uint8Array>): Promise<Outcome> => {
    const place = join(folder, String(count++));
    await mkdir(join(place, "in"), { recursive: true });
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(place, "in", name), bytes);
    const from = { path: "in/*", format: definition.name };
    await writeFile(join(place, "millrace.yaml"), JSON.stringify({ store: "./lake", flows: { assets: { from } } }));
    await using lake = await openLake({ folder: place });
    const report = await lake.run("assets");
    expect(report.read).toBe(report.written + report.rejected);
    const { rows } = await lake.query("select * from assets");
    const refused = report.rejected === 0 ? [] : (await lake.query("select * from assets__rejected")).rows;
    const { written, rejected } = report;
    return { written, rejected, rows: rows as Outcome["rows"], refused: refused as unknown as Outcome["refused"] };
  };
  const uris = ({ rows }: Outcome): Set<unknown> => new Set(rows.map((row) => row["uri"]));

  rule("a file is rows with the facts of the asset, the same each time, and its bytes once", async () => {
    const { bytes, mediaType, rows } = sample;
    const first = await read({ good: bytes });
    expect(first).toMatchObject({ written: rows, rejected: 0 });
    const facts = { uri: "in/good", media_type: mediaType, size: BigInt(bytes.length) };
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    for (const row of first.rows) expect(row).toMatchObject({ ...facts, sha256, object: null });
    const kept = first.rows.map((row) => row["bytes"]).filter((value) => value !== null);
    expect(kept.map((value) => Buffer.from(value as Uint8Array).equals(bytes))).toEqual([true]);
    const timeless = (rowsOf: Outcome["rows"]): unknown[] => rowsOf.map((row) => ({ ...row, modified: undefined }));
    expect(timeless((await read({ good: bytes })).rows)).toEqual(timeless(first.rows));
  });

  rule("the columns are known before any file is opened, those of every asset first", async () => {
    const { converter } = (await definition.load()).open(definition.options.parse({}));
    expect(converter?.columns?.slice(0, assetColumns.length)).toEqual(assetColumns);
    expect(definition.capabilities.assets).toBe(true);
    const { rows } = await read({ good: sample.bytes });
    expect(Object.keys(rows[0]!)).toEqual(converter!.columns!.map(({ name }) => name));
  });

  rule("files that are empty, cut, flipped or made up are rows or rejected records, and the others go on", async () => {
    const files: Record<string, Uint8Array> = { good: sample.bytes, empty: new Uint8Array() };
    for (let cut = 1; cut <= 8; cut++) {
      files[`cut-${cut}`] = sample.bytes.subarray(0, Math.floor((sample.bytes.length * cut) / 9));
    }
    for (let round = 0; round < 8; round++) {
      const broken = Uint8Array.from(sample.bytes);
      for (const [index, value] of noise(3, round + 1).entries()) {
        broken[(value * 257 + index * 31 + round * 97) % broken.length]! ^= 1 << (round % 8);
      }
      files[`flipped-${round}`] = broken;
    }
    files["noise"] = Uint8Array.from(noise(5000, 7));
    const outcome = await read(files);
    expect(uris(outcome)).toContain("in/good");
    const origins = new Set(outcome.refused.map(({ origin }) => origin));
    for (const name of Object.keys(files)) {
      // Never both, never neither: a file that fails leaves no rows.
      expect([name, uris(outcome).has(`in/${name}`) !== origins.has(`in/${name}`)]).toEqual([name, true]);
    }
    expect(origins).toContain("in/empty");
    expect(origins).toContain("in/noise");
    for (const { reason, record, origin } of outcome.refused) {
      expect(reason.length).toBeGreaterThan(5);
      expect(JSON.parse(record)).toMatchObject({ uri: origin });
    }
  });

  return {
    async start() {
      folder = await mkdtemp(join(tmpdir(), "millrace-contract-"));
    },
    stop: () => rm(folder, { recursive: true, force: true }),
  };
}
