import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Column, StagedFile, Store } from "../../src/core/index.ts";
import { type Dataset, openCatalog, verifyDataset, withReadCache } from "../../src/dataset/index.ts";
import { startVersitygw } from "../services/versitygw.ts";
import type { Assignment } from "./appender.ts";
import { closeEngine, engine, stage } from "./helpers.ts";
import { openStore, type StoreChoice } from "./store-choice.ts";

const columns: Column[] = [{ name: "id", type: "int" }];

/** Where the processes write. `each`: commits of each of eight; `kills`: how often one is killed at its work. */
const places: {
  name: string;
  each: number;
  kills: number;
  choose: (folder: string) => Promise<{ choice: StoreChoice; server?: AsyncDisposable }>;
}[] = [
  {
    name: "fs",
    each: 20,
    kills: 12,
    choose: async (folder) => ({ choice: { module: "fs", options: { path: join(folder, "lake") } } }),
  },
  {
    name: "Versity S3 Gateway",
    each: 4,
    kills: 4,
    async choose() {
      const server = await startVersitygw();
      return { choice: { module: "s3", options: { ...(await server.bucket("lake")), prefix: "shared" } }, server };
    },
  },
];

afterAll(closeEngine);

interface Writer {
  ready: Promise<void>;
  go: () => void;
  /** The acknowledged commits, one line each. */
  ended: Promise<{ lines: string[]; killed: boolean }>;
}

/** A writer that waits for `go`. It is ended with SIGKILL a moment after line number `killAfterLines`. */
function startWriter(assignment: Assignment, killAfterLines = Infinity): Writer {
  const args = [join(import.meta.dirname, "appender.ts"), JSON.stringify(assignment)];
  const child = spawn(process.execPath, args, { stdio: "pipe" });
  let [output, errors] = ["", ""];
  let timer: NodeJS.Timeout | undefined;
  let isReady: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => (isReady = resolve));
  const lines = (): string[] => output.split("\n").slice(1, -1);
  child.stdin.on("error", () => undefined);
  child.stdout.on("data", (chunk) => {
    output += String(chunk);
    isReady();
    if (lines().length >= killAfterLines) timer ??= setTimeout(() => child.kill("SIGKILL"), Math.random() * 5);
  });
  child.stderr.on("data", (chunk) => (errors += String(chunk)));
  const ended = new Promise<{ lines: string[]; killed: boolean }>((resolve, reject) => {
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      isReady();
      if (code !== 0 && signal !== "SIGKILL") reject(new Error(errors));
      else resolve({ lines: lines(), killed: signal === "SIGKILL" });
    });
  });
  return { ready, ended, go: () => void child.stdin.write("x") };
}

describe.each(places)("processes that write one dataset on $name", ({ name, each, kills: wantedKills, choose }) => {
  let folder: string;
  let choice: StoreChoice;
  let store: Store;
  let server: AsyncDisposable | undefined;
  let file: StagedFile;
  const fresh = (name: string): Promise<Dataset> => openCatalog(store).create(name, columns);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-processes-"));
    ({ choice, server } = await choose(folder));
    const medium = await openStore(choice);
    const cache = { folder: join(folder, "objects"), use: join(folder, "use"), maxBytes: 1e9 };
    store = medium.local === undefined ? withReadCache(medium, cache) : medium;
    file = await stage(await fresh("template"), "SELECT 1::INT AS id");
  });
  afterAll(async () => {
    await store[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  /** Eight processes at once; what is wrong with what they leave. */
  async function race(dataset: Dataset, unconditional: boolean): Promise<string[]> {
    const writers = Array.from({ length: 8 }, (_, index) =>
      startWriter({ store: choice, dataset: dataset.name, name: `w${index}`, from: 0, to: each, file, unconditional }),
    );
    await Promise.all(writers.map(({ ready }) => ready));
    for (const writer of writers) writer.go();
    // None is left behind when another one fails.
    await Promise.allSettled(writers.map(({ ended }) => ended));
    const results = await Promise.all(writers.map(({ ended }) => ended));
    await dataset.refresh();
    const versions = dataset.versions();
    const acknowledged = results.flatMap(({ lines }) => lines).sort();
    const found = versions.map((version) => `${version.summary["millrace.run"]} ${version.number}`).sort();
    const files = new Set((await dataset.files()).map(({ path }) => path)).size;
    const wrong = (what: string, holds: boolean): string[] => (holds ? [] : [what]);
    return [
      ...wrong(`${acknowledged.length} commits are acknowledged`, acknowledged.length === 8 * each),
      ...wrong(
        "numbers have gaps",
        versions.every(({ number }, index) => number === index + 1),
      ),
      ...wrong(
        "versions are beside the line",
        versions.every(({ current }) => current),
      ),
      ...wrong("versions are not those acknowledged", JSON.stringify(found) === JSON.stringify(acknowledged)),
      ...wrong(`${files} files are in the last version`, files === 8 * each),
      ...wrong(`${dataset.current()!.rows} rows are in the last version`, dataset.current()!.rows === 8 * each),
      ...results.flatMap((_, index) =>
        wrong(
          `cursor of w${index}`,
          JSON.stringify(dataset.cursor(`w${index}`)) === JSON.stringify({ index: each - 1 }),
        ),
      ),
      ...(await verifyDataset(dataset, engine)).problems.map(({ problem }) => problem),
    ];
  }

  test(
    `8 append ${each} times each: one line of versions, nothing lost, nothing twice`,
    { timeout: 120_000 },
    async () => {
      expect(await race(await fresh("eight"), false)).toEqual([]);
    },
  );

  // On a file system the mutant of one process says the same (concurrency.test.ts).
  if (name !== "fs")
    test("8 whose conditional create is none lose commits, which the test sees", { timeout: 120_000 }, async () => {
      // Either what they left is noticed, or one of them noticed it first and failed.
      const outcome = await race(await fresh("mutant"), true).catch((error: unknown) => [String(error)]);
      expect(outcome).not.toEqual([]);
    });

  test("one that is killed again and again commits each run exactly once", { timeout: 120_000 }, async () => {
    const dataset = await fresh("killed");
    const acknowledged = new Map<string, string>();
    const runs = 3 * wantedKills + 2;
    let kills = 0;
    for (let attempt = 0; ; attempt++) {
      const assignment = { store: choice, dataset: dataset.name, name: "run", from: 0, to: runs, file };
      // The lines of runs that are already committed come first: each attempt is killed within its first new commits.
      const limit = attempt < wantedKills ? acknowledged.size + (attempt % 3) : undefined;
      const child = startWriter(assignment, limit);
      child.go();
      const { lines, killed } = await child.ended;
      for (const line of lines) {
        const [run, version] = line.split(" ") as [string, string];
        expect(acknowledged.get(run) ?? version).toBe(version);
        acknowledged.set(run, version);
      }
      if (!killed) break;
      kills++;
    }
    expect(kills).toBeGreaterThan(2);
    await dataset.refresh();
    expect(dataset.versions().map((version) => version.summary["millrace.run"])).toEqual(
      Array.from({ length: runs }, (_, index) => `run-${index}`),
    );
    expect(dataset.current()!.rows).toBe(runs);
    await dataset.gc({ minimumAgeMs: -60_000 });
    expect((await verifyDataset(dataset, engine)).problems).toEqual([]);
  });
});
