import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Column, isMillraceError, type StagedFile, type Store } from "../../src/core/index.ts";
import { compactDataset, type Dataset, mergeChange, openCatalog, verifyDataset } from "../../src/dataset/index.ts";
import { type Engine, openEngine, stagedRelation } from "../../src/engine/index.ts";
import * as fileSystem from "../../src/stores/fs/driver.ts";

/** What the steps of a history work on. */
export interface Workbench extends AsyncDisposable {
  store: Store;
  engine: Engine;
}

const columns: Column[] = [
  { name: "id", type: "long" },
  { name: "payload", type: "string" },
];

/** The dataset that the history makes. */
export const datasetName = "history";

export async function openWorkbench(root: string): Promise<Workbench> {
  const store = await fileSystem.open({ path: root }, { connection: "lake", folder: root });
  const engine = await openEngine({
    spillFolder: join(root, ".scratch", String(process.pid)),
    allowed: [root],
    threads: 1,
    memoryLimit: "200MB",
  });
  return {
    store,
    engine,
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}

const rows = (from: number, to: number, revision: string): string =>
  `SELECT i AS id, md5(i::VARCHAR || '${revision}') AS payload FROM range(${from}, ${to}) AS t(i)`;

async function staging(bench: Workbench): Promise<string> {
  const folder = bench.store.local!(`${datasetName}/data`);
  await mkdir(folder, { recursive: true });
  return folder;
}

async function adopt(bench: Workbench, files: readonly StagedFile[]): Promise<StagedFile[]> {
  return Promise.all(
    files.map(async (file) => {
      const path = `${datasetName}/data/${file.path.slice(file.path.lastIndexOf("/") + 1)}`;
      await bench.store.adopt(file.path, path);
      return { ...file, path };
    }),
  );
}

async function stage(bench: Workbench, select: string, as: readonly Column[]): Promise<StagedFile[]> {
  const request = { columns: [...as], folder: await staging(bench), prefix: randomUUID() };
  return adopt(bench, await bench.engine.write(select, request));
}

const append =
  (run: string, from: number, to: number) =>
  async (dataset: Dataset, bench: Workbench): Promise<void> => {
    const add = await stage(bench, rows(from, to, run), dataset.columns());
    const summary = { [`millrace.cursor.${run}`]: JSON.stringify({ to }) };
    await dataset.commit({ operation: "append", add, runId: run, summary });
  };

type Step = (dataset: Dataset, bench: Workbench) => Promise<void>;

/** Every operation that changes a dataset, in an order in which each has something to do. A step that is repeated changes nothing. */
export const steps: [name: string, step: Step][] = [
  ["append", append("first", 0, 300)],
  ["append again", append("second", 300, 600)],
  [
    "tag",
    (dataset) =>
      dataset.tag(
        "gold",
        dataset.versions().find((one) => one.summary["millrace.run"] === "second")!,
      ),
  ],
  [
    "merge",
    async (dataset, bench) => {
      if (dataset.versionOfRun("merge") !== undefined) return;
      const staged = await stage(bench, rows(250, 350, "merge"), dataset.columns());
      const local = staged.map((file) => bench.store.local!(file.path));
      const merged = await mergeChange({
        dataset,
        engine: bench.engine,
        rows: stagedRelation(local, dataset.columns()),
        staged,
        key: ["id"],
        columns: dataset.columns(),
        folder: await staging(bench),
        prefix: randomUUID(),
      });
      const add = [...staged, ...(await adopt(bench, merged.add))];
      const base = dataset.current()!.number;
      await dataset.commit({ operation: "overwrite", add, remove: merged.remove, base, runId: "merge" });
    },
  ],
  [
    "evolve",
    async (dataset, bench) => {
      if (dataset.versionOfRun("evolve") !== undefined) return;
      const wanted = [...columns, { name: "extra", type: "int" } satisfies Column];
      const evolved = dataset.evolve(wanted, "evolve");
      const add = await stage(bench, `SELECT *, 7::INT AS extra FROM (${rows(600, 700, "evolve")})`, evolved.columns);
      await dataset.commit({ operation: "append", add, runId: "evolve", columns: evolved.columns });
    },
  ],
  [
    "compact",
    async (dataset, bench) => {
      await compactDataset(dataset, bench.engine, { folder: await staging(bench) });
    },
  ],
  ["rollback", (dataset) => dataset.rollback(dataset.version("gold"))],
  ["append after rollback", append("late", 700, 800)],
  [
    "expire and collect",
    async (dataset) => {
      await dataset.gc({ minimumAgeMs: -60_000, expireOlderThanMs: -60_000, keepVersions: 1 });
    },
  ],
  [
    "alter",
    async (dataset) => {
      const [first, second] = dataset.columns();
      await dataset.alter([first!, { ...second!, doc: "what was sent" }]);
    },
  ],
];

/** Goes through the steps from number `from` on; `acknowledge` is called with the number of steps that are done. */
export async function goThrough(bench: Workbench, from: number, acknowledge: (done: number) => void): Promise<void> {
  const catalog = openCatalog(bench.store);
  let dataset: Dataset;
  try {
    dataset = await catalog.create(datasetName, columns);
  } catch (error) {
    if (!isMillraceError(error) || error.code !== "already-exists") throw error;
    dataset = await catalog.open(datasetName);
  }
  for (const [index, [, step]] of steps.entries()) {
    if (index < from) continue;
    await dataset.refresh();
    await step(dataset, bench);
    acknowledge(index + 1);
  }
}

/** What a reader sees: rows, columns, tags and the runs of the current line, as one text. `absent` before the first commit. */
export async function look(bench: Workbench): Promise<string> {
  const catalog = openCatalog(bench.store);
  if (!(await catalog.exists(datasetName))) return "absent";
  const dataset = await catalog.open(datasetName);
  const current = dataset.current();
  if (current === undefined) return "absent";
  const [row] = await bench.engine.query(
    `SELECT count(*) AS n, count(DISTINCT id) AS ids, md5(string_agg(id || payload, ',' ORDER BY id)) AS sum FROM ${await dataset.relation()}`,
  );
  const versions = dataset.versions();
  const runs = versions.filter((one) => one.current).map((one) => one.summary["millrace.run"] ?? one.operation);
  const names = dataset.columns().map((column) => column.name + (column.doc === undefined ? "" : "+doc"));
  const tags = versions.flatMap((one) => one.tags.map((tag) => `${tag}=${one.rows}`));
  return [row!["n"], row!["ids"], row!["sum"], names.join("+"), tags.join("+"), runs.join(">"), versions.length].join(
    " ",
  );
}

/** What is wrong with the dataset: files that are absent, damaged or miscounted, and runs that were committed twice. */
export async function problemsOf(bench: Workbench): Promise<string[]> {
  const catalog = openCatalog(bench.store);
  if (!(await catalog.exists(datasetName))) return [];
  const dataset = await catalog.open(datasetName);
  const report = await verifyDataset(dataset, bench.engine, { deep: true });
  const runs = dataset.versions().flatMap((version) => version.summary["millrace.run"] ?? []);
  const twice = runs.filter((run, index) => runs.indexOf(run) !== index);
  return [
    ...report.problems.map(({ version, file, problem }) => `version ${version}: ${file}: ${problem}`),
    ...twice.map((run) => `the run ${run} was committed twice`),
  ];
}

/** Data files that no retained version names, after a collection that spares none. */
export async function orphansOf(bench: Workbench): Promise<string[]> {
  const dataset = await openCatalog(bench.store).open(datasetName);
  await dataset.gc({ minimumAgeMs: -60_000 });
  const named = new Set<string>();
  for (const version of dataset.versions()) for (const file of await dataset.files(version)) named.add(file.path);
  const orphans: string[] = [];
  for await (const { path } of bench.store.list(`${datasetName}/data`)) if (!named.has(path)) orphans.push(path);
  return orphans;
}

const enough = new Error("that was one step");

/** What a reader sees after each number of steps, from none to all, when nothing happens. */
export async function statesOf(root: string): Promise<string[]> {
  await using bench = await openWorkbench(root);
  const states = [await look(bench)];
  for (let done = 0; done < steps.length; done++) {
    const stop = (): never => {
      throw enough;
    };
    await goThrough(bench, done, stop).catch((error: unknown) => {
      if (error !== enough) throw error;
    });
    states.push(await look(bench));
  }
  return states;
}
