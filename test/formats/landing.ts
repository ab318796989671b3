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
  type Source,
} from "../../src/core/index.ts";
import { assignFieldIds, withReadCache } from "../../src/dataset/index.ts";
import { openEngine, stagedRelation, type Engine } from "../../src/engine/index.ts";
import { openFormat, type FormatOptions } from "../../src/sources/files/formats.ts";
import source, { filesOptions } from "../../src/sources/files/index.ts";
import fs from "../../src/stores/fs/index.ts";
import { elsewhere } from "../support/store.ts";

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
  open(options: Record<string, unknown>): Promise<Source>;
  /** Plans and lands as a run does, with the real engine. */
  land(options: Record<string, unknown>, more?: { request?: ReadRequest; after?: Cursor }): Promise<Landing>;
  rows(landing: Landing, order?: string): Promise<Record<string, unknown>[]>;
  /** The error that landing ends with. */
  refusal(options: Record<string, unknown>, more?: { request?: ReadRequest; after?: Cursor }): Promise<MillraceError>;
}

let remote = false;

/** From here on the files of this file's benches lie in a store that is not on this machine, as far as Millrace can tell. */
export function useRemoteFiles(): void {
  remote = true;
}

export const isRemote = (): boolean => remote;

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
  const plain = await (await fs.load()).open({ path: folder }, { connection: "bench", folder });
  const store = withReadCache(elsewhere(plain), {
    folder: join(scratch, "copies"),
    use: join(scratch, "use"),
    maxBytes: 1e9,
  });
  let landings = 0;

  const open: Bench["open"] = (options) =>
    driver.open(filesOptions.parse(remote && options["path"] ? { ...options, store: "bench" } : options), {
      connection: "files",
      folder,
      engine,
      scratch,
      store: async () => store,
      cached: async () => (own) =>
        withReadCache(own, {
          folder: join(scratch, "copies"),
          use: join(scratch, `use-${landings++}`),
          maxBytes: 1e9,
        }),
    });

  async function landPart(part: Part, request: ReadRequest, columns: Column[], files: Source) {
    const attempt = async (tolerant: boolean) => {
      const payload = await files.read(JSON.parse(JSON.stringify(part)) as Part, request, {});
      try {
        const format =
          payload.form === "files"
            ? (await openFormat(payload.format, payload.options as FormatOptions)).format
            : undefined;
        return await engine.land({
          payload,
          ...(format ? { format } : {}),
          columns,
          folder: output,
          prefix: `landing-${landings++}`,
          rowwise: true,
          ...(tolerant ? { tolerant } : {}),
        });
      } finally {
        if (payload.form === "files" || payload.form === "bytes") await payload.release?.();
      }
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
    await using files = await open(options);
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
    open,
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
