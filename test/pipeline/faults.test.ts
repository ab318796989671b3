import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as z from "zod";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { configFrom } from "../../src/config/index.ts";
import { defineSource, MillraceError, type Column, type Part, type Registry } from "../../src/core/index.ts";
import { openLake, type Lake } from "../../src/pipeline/index.ts";
import { registry as real } from "../../src/registry.ts";

/** A source whose parts are numbers; the test says what happens when one is read. */
interface Script {
  parts: number;
  reads: string[];
  beforeRead?: (part: Part, signal: AbortSignal | undefined) => Promise<void>;
  /** Runs while the bytes of a part are under way. */
  during?: (part: Part, signal: AbortSignal | undefined) => Promise<void>;
}
const columns: Column[] = [{ name: "id", type: "long" }];

function registryWith(script: Script): Registry {
  const definition = defineSource({
    name: "scripted",
    title: "Scripted",
    summary: "For tests.",
    options: z.strictObject({}),
    needs: [],
    capabilities: {
      discover: false,
      incremental: true,
      query: false,
      replayable: true,
      snapshot: false,
      deletes: false,
      measure: false,
    },
    examples: [],
    load: async () => ({
      open: async () => ({
        check: async () => undefined,
        async *streams() {
          yield { name: "numbers", columns, key: [], cursors: [] };
        },
        plan: async (_request, { after }) => ({
          columns,
          key: [],
          parts:
            after === undefined
              ? Array.from({ length: script.parts }, (_, index) => ({ id: `p${index}`, spec: { index } }))
              : [],
          cursor: { version: 1, done: script.parts },
        }),
        async read(part, _request, { signal }) {
          script.reads.push(part.id);
          await script.beforeRead?.(part, signal);
          const index = Number(part.spec.index);
          return {
            form: "bytes" as const,
            format: "csv" as const,
            columns,
            rows: () => 100,
            chunks: (async function* () {
              yield Buffer.from(Array.from({ length: 50 }, (_, row) => `${index * 100 + row}\n`).join(""));
              await script.during?.(part, signal);
              yield Buffer.from(Array.from({ length: 50 }, (_, row) => `${index * 100 + 50 + row}\n`).join(""));
            })(),
          };
        },
        [Symbol.asyncDispose]: async () => undefined,
      }),
    }),
  });
  return {
    ...real,
    sources: {
      ...real.sources,
      scripted: { title: "Scripted", summary: "For tests.", load: async () => definition as never },
    },
  };
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-faults-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function open(script: Script, flow: Record<string, unknown> = {}, store = "./lake"): Promise<Lake> {
  const registry = registryWith(script);
  const config = await configFrom(
    {
      store,
      connections: { numbers: { source: "scripted" } },
      flows: { n: { from: { connection: "numbers", stream: "numbers" }, ...flow } },
    },
    folder,
    registry,
  );
  return openLake(config, registry);
}

const all = async (lake: Lake): Promise<unknown> =>
  (await lake.query("SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(id)::BIGINT AS sum FROM n")).rows;
const expected = [{ n: 400n, ids: 400n, sum: 79_800n }];
const visible = async (): Promise<string[]> =>
  (await readdir(join(folder, "lake/n/metadata")).catch(() => [])).filter((name) => name.endsWith(".metadata.json"));

describe("a run that did not end", () => {
  test("goes on where it was: parts that are done are not read again", async () => {
    const script: Script = { parts: 4, reads: [] };
    script.beforeRead = async (part) => {
      if (part.id === "p3") throw new MillraceError("unreachable", "the server went away");
    };
    {
      await using lake = await open(script);
      await expect(lake.run("n")).rejects.toMatchObject({ code: "unreachable", where: { part: "p3" } });
    }
    expect(await visible()).toEqual([]);
    expect(new Set(script.reads)).toEqual(new Set(["p0", "p1", "p2", "p3"]));
    script.reads = [];
    delete script.beforeRead;
    await using lake = await open(script);
    expect(await lake.run("n")).toMatchObject({ status: "published", resumed: true, read: 400 });
    expect(script.reads).toEqual(["p3"]);
    expect(await all(lake)).toEqual(expected);
    expect(await lake.run("n")).toMatchObject({ status: "unchanged" });
  });

  test("is planned anew when the flow has changed meanwhile", async () => {
    const script: Script = {
      parts: 4,
      reads: [],
      beforeRead: async (part) => {
        if (part.id === "p3") throw new Error("broken");
      },
    };
    {
      await using lake = await open(script);
      await expect(lake.run("n")).rejects.toThrow("broken");
    }
    script.reads = [];
    delete script.beforeRead;
    await using lake = await open(script, { transform: "SELECT id + 1 AS id FROM input" });
    expect(await lake.run("n")).toMatchObject({ resumed: false });
    expect(script.reads.toSorted()).toEqual(["p0", "p1", "p2", "p3"]);
    expect(await lake.query("SELECT min(id) AS low FROM n").then(({ rows }) => rows)).toEqual([{ low: 1n }]);
  });

  test("is planned anew, once, when the source says that its plan is gone", async () => {
    const script: Script = { parts: 4, reads: [] };
    let refused = 0;
    script.beforeRead = async () => {
      if (refused++ === 0) throw new MillraceError("conflict", "the snapshot of this plan is gone");
    };
    await using lake = await open(script);
    expect(await lake.run("n")).toMatchObject({ status: "published", read: 400 });
    expect(await all(lake)).toEqual(expected);
    script.beforeRead = async () => {
      throw new MillraceError("conflict", "the snapshot of this plan is gone");
    };
    await using again = await open(script, { into: "other" });
    await expect(again.run("n")).rejects.toMatchObject({ code: "conflict" });
  });

  test("a temporary error is tried again; a stream that breaks in the middle leaves nothing behind", async () => {
    const script: Script = { parts: 2, reads: [] };
    let broke = 0;
    script.during = async (part) => {
      if (part.id === "p1" && broke++ === 0) throw new MillraceError("unreachable", "cut", { temporary: true });
    };
    await using lake = await open(script);
    expect(await lake.run("n")).toMatchObject({ status: "published", read: 200 });
    expect(broke).toBe(2);
    const report = await lake.verify("n", { deep: true });
    expect(report).toMatchObject({ rows: 200, problems: [] });
    expect(await readdir(join(folder, "lake/n/data"))).toHaveLength(report.files);
  });

  test("its damaged plan is named, and nothing is overwritten", async () => {
    const script: Script = {
      parts: 1,
      reads: [],
      beforeRead: async () => {
        throw new Error("broken");
      },
    };
    {
      await using lake = await open(script);
      await expect(lake.run("n")).rejects.toThrow("broken");
    }
    const [run] = await readdir(join(folder, "lake/runs/n"));
    await writeFile(join(folder, "lake/runs/n", run!, "plan.json"), '{"run": "n/');
    delete script.beforeRead;
    await using lake = await open(script);
    await expect(lake.run("n")).rejects.toMatchObject({
      code: "corrupt",
      where: { file: expect.stringContaining("plan.json") },
    });
  });
});

describe("two at once", () => {
  test("the same flow twice at the same time gives its rows once", async () => {
    const script: Script = { parts: 4, reads: [] };
    await using first = await open(script);
    await using second = await open(script);
    const results = await Promise.allSettled([first.run("n"), second.run("n")]);
    const published = results.filter((result) => result.status === "fulfilled");
    expect(published.length).toBeGreaterThan(0);
    for (const result of results)
      if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "conflict" });
    expect(await all(first)).toEqual(expected);
    expect(await first.history("n")).toHaveLength(1);
  });

  test("a zombie that wakes up after its successor published is refused", async () => {
    let wake: () => void = () => undefined;
    const asleep = new Promise<void>((resolve) => (wake = resolve));
    let reached: () => void = () => undefined;
    const sleeping = new Promise<void>((resolve) => (reached = resolve));
    const zombieScript: Script = {
      parts: 1,
      reads: [],
      during: async () => {
        reached();
        await asleep;
      },
    };
    await using zombie = await open(zombieScript);
    const running = zombie.run("n");
    running.catch(() => undefined);
    await sleeping;
    // Another definition of the flow: the successor does not take the zombie's plan up, it plans its own.
    await using successor = await open({ parts: 1, reads: [] }, { key: ["id"] });
    expect(await successor.run("n")).toMatchObject({ status: "published", resumed: false });
    wake();
    await expect(running).rejects.toMatchObject({ code: "conflict" });
    expect(await successor.history("n")).toHaveLength(1);
    expect((await successor.query("SELECT count(*) AS n FROM n")).rows).toEqual([{ n: 100n }]);
  });
});

test("an abort in the middle ends the run within a second, and the next one completes it", async () => {
  const script: Script = { parts: 2, reads: [] };
  const controller = new AbortController();
  let aborted = Infinity;
  script.during = (part, signal) =>
    part.id === "p0"
      ? new Promise((_, reject) => {
          signal?.addEventListener("abort", () => reject(new Error("the source was told")));
          setImmediate(() => {
            aborted = performance.now();
            controller.abort();
          });
        })
      : Promise.resolve();
  {
    await using lake = await open(script);
    await expect(lake.run("n", { signal: controller.signal })).rejects.toMatchObject({ code: "aborted" });
  }
  expect(performance.now() - aborted).toBeLessThan(2000);
  expect(await visible()).toEqual([]);
  delete script.during;
  await using lake = await open(script);
  expect(await lake.run("n")).toMatchObject({ status: "published", read: 200 });
});

test.skipIf(process.getuid?.() !== 0)("a full disk is said clearly; with space the same run completes", async () => {
  const disk = join(folder, "disk");
  await mkdir(disk);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", disk]);
  try {
    const big: Script = { parts: 1, reads: [] };
    const flow = { transform: "SELECT id, md5(id::VARCHAR || range) AS noise FROM input, range(500)" };
    {
      await using lake = await open(big, flow, "./disk/lake");
      await expect(lake.run("n")).rejects.toMatchObject({ code: "full", hint: expect.stringContaining("space") });
    }
    const left = await readdir(join(disk, "lake/n")).catch(() => []);
    expect(left).not.toContain("metadata");
    execFileSync("mount", ["-o", "remount,size=64m", disk]);
    await using lake = await open(big, flow, "./disk/lake");
    expect(await lake.run("n")).toMatchObject({ status: "published", written: 50_000 });
  } finally {
    execFileSync("umount", ["-l", disk]);
  }
});

test("a data file that was damaged is found by verify, by name; other versions stay readable", async () => {
  await using lake = await open({ parts: 1, reads: [] }, { mode: "replace" });
  await lake.run("n");
  const [file] = await readdir(join(folder, "lake/n/data"));
  const path = join(folder, "lake/n/data", file!);
  const bytes = await readFile(path);
  bytes[Math.floor(bytes.length / 2)]! ^= 0xff;
  await writeFile(path, bytes);
  const report = await lake.verify("n", { deep: true });
  expect(report.problems).toMatchObject([{ version: 1, file: expect.stringContaining(file!) }]);
});
