import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import {
  isMillraceError,
  type Column,
  type Cursor,
  type MillraceError,
  type Part,
  type Plan,
  type ReadRequest,
  type RejectedRecord,
} from "../../src/core/index.ts";
import { assignFieldIds } from "../../src/dataset/index.ts";
import { openEngine, stagedRelation, type Engine } from "../../src/engine/index.ts";
import { openFormat, type FormatOptions } from "../../src/sources/files/formats.ts";
import source, { filesOptions } from "../../src/sources/files/index.ts";

export const corpora = resolve("../shared/corpora");
export const haveCorpora = existsSync(corpora);

/** A file of a corpus and the facts that `expected.json` states of it. */
export interface Fact {
  name: string;
  path: string;
  rows?: number;
  columns?: [string, string][];
  expect?: "accept" | "reject" | "either";
  why?: string;
  sheets?: Record<string, string>;
  role?: string;
  expected_json?: string;
}

export function factsOf(folder: string): Fact[] {
  if (!haveCorpora) return [];
  const base = join(corpora, folder);
  const { files } = JSON.parse(readFileSync(join(base, "expected.json"), "utf8")) as {
    files: Record<string, Omit<Fact, "name" | "path">>;
  };
  return Object.entries(files).map(([name, fact]) => ({ ...fact, name, path: join(base, name) }));
}

/** What became of files: how many records were read, written and rejected, and a FROM item with the written ones. */
export interface Landing {
  plan: Plan;
  columns: Column[];
  read: number;
  written: number;
  rejected: RejectedRecord[];
  relation: string;
}

export interface Bench extends AsyncDisposable {
  folder: string;
  engine: Engine;
  /** Writes a file below the folder, and returns its path relative to it. */
  file(name: string, content: string | Uint8Array): Promise<string>;
  /** Plans and lands as a run does, with the real engine. */
  land(options: Record<string, unknown>, more?: { request?: ReadRequest; after?: Cursor }): Promise<Landing>;
  rows(landing: Landing, order?: string): Promise<Record<string, unknown>[]>;
  /** The error that landing ends with. */
  refusal(options: Record<string, unknown>, more?: { request?: ReadRequest; after?: Cursor }): Promise<MillraceError>;
}

export async function openBench(): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-files-test-"));
  const scratch = join(folder, ".scratch");
  const output = join(folder, ".output");
  await mkdir(scratch);
  await mkdir(output);
  const engine = await openEngine({
    spillFolder: join(scratch, "spill"),
    allowed: [folder, resolve("node_modules/vega-datasets"), ...(haveCorpora ? [corpora] : [])],
    threads: 2,
  });
  const driver = await source.load();
  let landings = 0;

  async function landPart(
    part: Part,
    request: ReadRequest,
    columns: Column[],
    open: Awaited<ReturnType<typeof driver.open>>,
  ) {
    const attempt = async (tolerant: boolean) => {
      const payload = await open.read(JSON.parse(JSON.stringify(part)) as Part, request, {});
      const format =
        payload.form === "files"
          ? (await openFormat(payload.format, payload.options as FormatOptions)).format
          : undefined;
      return engine.land({
        payload,
        ...(format ? { format } : {}),
        columns,
        folder: output,
        prefix: `landing-${landings++}`,
        rowwise: true,
        ...(tolerant ? { tolerant } : {}),
      });
    };
    try {
      return await attempt(false);
    } catch (error) {
      const converted = !["csv", "tsv", "json", "ndjson", "parquet"].includes(part.spec["format"] as string);
      if (!converted || !isMillraceError(error) || error.code !== "parse") throw error;
      return attempt(true);
    }
  }

  const land: Bench["land"] = async (options, { request = {}, after } = {}) => {
    await using files = await driver.open(filesOptions.parse(options), {
      connection: "files",
      folder,
      engine,
      scratch,
    });
    const plan = await files.plan(request, after === undefined ? {} : { after });
    const columns = assignFieldIds(plan.columns);
    const landing: Landing = { plan, columns, read: 0, written: 0, rejected: [], relation: "" };
    const paths: string[] = [];
    for (const part of plan.parts) {
      const landed = await landPart(part, request, columns, files);
      landing.read += landed.read;
      landing.written += landed.written;
      landing.rejected.push(...landed.rejected);
      paths.push(...landed.files.map((file) => file.path));
    }
    landing.relation = stagedRelation(paths, columns);
    return landing;
  };

  return {
    folder,
    engine,
    land,
    async file(name, content) {
      const path = join(folder, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, content);
      return name;
    },
    rows: (landing, order) =>
      engine.query(`SELECT * FROM ${landing.relation}${order === undefined ? "" : ` ORDER BY ${order}`}`),
    async refusal(options, more) {
      try {
        await land(options, more);
      } catch (error) {
        if (isMillraceError(error)) return error;
        throw error;
      }
      throw new Error(`${JSON.stringify(options)} was not refused`);
    },
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
