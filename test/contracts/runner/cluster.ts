import { randomUUID } from "node:crypto";
import { join } from "node:path";
import {
  isMillraceError,
  MillraceError,
  throwIfAborted,
  type RunWork,
  type StagedFile,
  type Store,
} from "../../../src/core/index.ts";
import { openCatalog, type Dataset } from "../../../src/dataset/index.ts";
import { openEngine } from "../../../src/engine/index.ts";
import fileSystem from "../../../src/stores/fs/index.ts";

/** Called at the start of each attempt at a part: may wait, throw, or look at the signal. */
export type OnPart = (part: string, attempt: number, signal: AbortSignal) => void | Promise<void>;

/** A run of ten parts of one row each, whose truth is in a store, and what has been done to it. */
export interface Run {
  id: string;
  parts: string[];
  work: RunWork;
  /** Attempts at each part so far. */
  attempts: Map<string, number>;
  /** Parts that are at work now. */
  active(): number;
  /** Calls of `commit`, also those that were refused. */
  commits(): number;
  dataset(): Promise<Dataset>;
}

/** A store with a dataset for each run, and the work that parts and commits do in it: as the pipeline does it, only smaller. */
export interface Cluster extends AsyncDisposable {
  run(onPart?: OnPart): Promise<Run>;
}

export async function openCluster(folder: string): Promise<Cluster> {
  const driver = await fileSystem.load();
  const store = await driver.open({ path: join(folder, "lake") }, { connection: "lake", folder });
  await using engine = await openEngine({
    spillFolder: join(folder, "spill"),
    allowed: [folder],
    memoryLimit: "200MB",
  });
  const columns = [{ name: "id", type: "long" as const, id: 1 }];
  const [one] = await engine.write("SELECT 1::BIGINT AS id", { columns, folder, prefix: "row" });
  const { readFile } = await import("node:fs/promises");
  const row = { file: one!, bytes: await readFile(one!.path) };
  return {
    run: async (onPart) => makeRun(store, row, onPart),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

async function makeRun(
  store: Store,
  row: { file: StagedFile; bytes: Uint8Array },
  onPart: OnPart | undefined,
): Promise<Run> {
  const id = randomUUID();
  const name = `run_${id.replaceAll("-", "")}`;
  await openCatalog(store).create(name, [{ name: "id", type: "long" }]);
  const parts = Array.from({ length: 10 }, (_, index) => `part-${index}`);
  await writeJson(store, `runs/${id}/plan.json`, parts);
  const attempts = new Map<string, number>();
  let active = 0;
  let commits = 0;
  const work: RunWork = {
    async parts(run, signal) {
      throwIfAborted(signal);
      return readJson<string[]>(store, `runs/${run}/plan.json`);
    },
    async part(run, part, signal) {
      const attempt = (attempts.get(part) ?? 0) + 1;
      attempts.set(part, attempt);
      active++;
      try {
        throwIfAborted(signal);
        await onPart?.(part, attempt, signal);
        throwIfAborted(signal);
        const path = `${name}/data/${randomUUID()}.parquet`;
        await store.write(path, row.bytes, { fresh: true });
        await writeJson(store, `runs/${run}/parts/${part}.json`, path);
      } finally {
        active--;
      }
    },
    async commit(run, signal) {
      commits++;
      throwIfAborted(signal);
      await assertNotCancelled(store, run);
      const add: StagedFile[] = [];
      for (const part of parts) {
        const path = await readJson<string>(store, `runs/${run}/parts/${part}.json`).catch((cause: unknown) => {
          throw new MillraceError("conflict", `the part \`${part}\` is not done`, { cause });
        });
        add.push({ ...row.file, path });
      }
      const dataset = await openCatalog(store).open(name);
      await dataset.commit({ operation: "append", add, runId: run });
    },
    cancel: (run, why) => writeJson(store, `runs/${run}/cancelled`, why),
  };
  return {
    id,
    parts,
    work,
    attempts,
    active: () => active,
    commits: () => commits,
    dataset: () => openCatalog(store).open(name),
  };
}

/** The first to write wins. */
async function writeJson(store: Store, path: string, value: unknown): Promise<void> {
  try {
    await store.write(path, new TextEncoder().encode(JSON.stringify(value)), { ifAbsent: true });
  } catch (error) {
    if (!isMillraceError(error) || error.code !== "already-exists") throw error;
  }
}

async function readJson<T>(store: Store, path: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await store.read(path))) as T;
}

async function assertNotCancelled(store: Store, run: string): Promise<void> {
  const why = await readJson<string>(store, `runs/${run}/cancelled`).catch(() => undefined);
  if (why !== undefined) throw new MillraceError("aborted", `the run was cancelled: ${why}`);
}
