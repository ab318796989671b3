import { mkdtemp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect } from "vitest";
import { configFrom } from "../../src/config/index.ts";
import type { Registry } from "../../src/core/index.ts";
import { openEngine, type Engine } from "../../src/engine/index.ts";
import { openLake, type Lake, type RunReport } from "../../src/pipeline/index.ts";
import { registry } from "../../src/registry.ts";
import { elsewhere, registryWithStore } from "../support/store.ts";

/** `fs`, without saying that it is on this machine. */
const remoteRegistry = registryWithStore(elsewhere);

/** A folder with a lake and the files that its flows read; gone at the end of the test. */
export interface Place extends AsyncDisposable {
  folder: string;
  /** Writes a file below the folder; lines are joined. */
  put(name: string, content: string | string[]): Promise<string>;
  /** The lake of this configuration, on the same store each time. Close it with `await using`. */
  open(
    flows: Record<string, unknown>,
    more?: {
      connections?: unknown;
      registry?: Registry;
      cache?: { maxBytes?: number };
      /** Other sections of the configuration. */
      sections?: Record<string, unknown>;
    },
  ): Promise<Lake>;
  /** An engine of the test's own, which may touch all of the folder. Close it with `await using`. */
  engine(): Promise<Engine>;
  /** Data files of a dataset on disk, referenced or not. */
  dataFiles(dataset: string): Promise<string[]>;
  /** What is left of runs: paths below `runs`. */
  runFiles(): Promise<string[]>;
}

let remote = false;

/** From here on the lakes of this file lie on a store that is not on this machine, as far as Millrace can tell. */
export function useRemoteStores(): void {
  remote = true;
}

export async function makePlace(folder?: string): Promise<Place> {
  const root = folder ?? (await mkdtemp(join(tmpdir(), "millrace-pipeline-")));
  const below = async (path: string): Promise<string[]> => {
    const entries = await readdir(join(root, "lake", path), { recursive: true, withFileTypes: true }).catch(() => []);
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(join(root, "lake", path).length + 1))
      .sort();
  };
  return {
    folder: root,
    async put(name, content) {
      const path = join(root, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, typeof content === "string" ? content : `${content.join("\n")}\n`);
      return path;
    },
    async open(flows, more = {}) {
      const used = more.registry ?? (remote ? remoteRegistry : registry);
      const config = await configFrom(
        {
          store: "./lake",
          ...(more.connections === undefined ? {} : { connections: more.connections }),
          ...more.sections,
          flows,
        },
        root,
        used,
      );
      const cache = { path: `${root}-cache`, ...more.cache };
      return openLake({ ...config, engine: { threads: 2 }, cache }, used);
    },
    async engine() {
      const spillFolder = await mkdtemp(join(tmpdir(), "millrace-spill-"));
      return openEngine({ spillFolder, allowed: [root], threads: 2 });
    },
    dataFiles: (dataset) => below(`${dataset}/data`),
    runFiles: () => below("runs"),
    async [Symbol.asyncDispose]() {
      await rm(root, { recursive: true, force: true });
      await rm(`${root}-cache`, { recursive: true, force: true });
    },
  };
}

/** Rows of a statement as arrays of values; numbers that fit are numbers. */
export async function rowsOf(lake: Lake, sql: string): Promise<unknown[][]> {
  const { rows } = await lake.query(sql);
  return rows.map((row) => Object.values(row).map((value) => (typeof value === "bigint" ? Number(value) : value)));
}

/** Nothing vanishes: `read = written + rejected + filtered`, in a report that says it was published. */
export function expectBalanced(report: RunReport): void {
  expect(report.read).toBe(report.written + report.rejected + report.filtered);
}

/** The report, once it is sure that it says `published` and that nothing vanished. */
export async function published(run: Promise<RunReport>): Promise<RunReport> {
  const report = await run;
  expect(report.status, JSON.stringify(report.checks)).toBe("published");
  expectBalanced(report);
  return report;
}
