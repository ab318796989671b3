import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import type { Lake, RunReport } from "../../src/pipeline/index.ts";
import { loadLake } from "./lake.ts";

/** A folder with files and a configuration, and the verbs that the tests need, each in a lake opened for it alone. */
export interface Place extends AsyncDisposable {
  folder: string;
  write(path: string, text: string | Uint8Array): Promise<void>;
  configure(flows: Record<string, unknown>, more?: Record<string, unknown>): Promise<void>;
  with<T>(action: (lake: Lake) => Promise<T>): Promise<T>;
  run(flow: string): Promise<RunReport>;
  rows(sql: string): Promise<Record<string, unknown>[]>;
}

export async function openPlace(): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-flow-"));
  const withLake: Place["with"] = async (action) => {
    await using lake = await loadLake(folder);
    return await action(lake);
  };
  return {
    folder,
    async write(path, text) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    },
    configure: (flows, more = {}) =>
      writeFile(join(folder, "millrace.yaml"), stringify({ store: "./lake", ...more, flows })),
    with: withLake,
    run: (flow) => withLake((lake) => lake.run(flow)),
    rows: (sql) => withLake(async (lake) => (await lake.query(sql)).rows),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
