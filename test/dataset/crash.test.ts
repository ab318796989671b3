import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openCatalog, verifyDataset } from "../../src/dataset/index.ts";
import { type Workplace, closeEngine, engine, stage, workplace } from "./helpers.ts";

let place: Workplace;
beforeAll(async () => {
  place = await workplace();
});
afterAll(async () => {
  await closeEngine();
  await place[Symbol.asyncDispose]();
});

function hasStrace(): boolean {
  try {
    execFileSync("strace", ["-V"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** The calls by which a commit becomes durable; a writer is killed at each n-th of them. */
const points: [call: string, count: number][] = [
  ["fsync", 18],
  ["link,linkat", 4],
  ["rename,renameat,renameat2", 4],
  ["unlink,unlinkat", 4],
];

test.skipIf(!hasStrace()).each(points)(
  "killed at any %s of three commits, nothing acknowledged is lost and the runs end the same",
  { timeout: 240_000 },
  async (calls, count) => {
    let killed = 0;
    for (let point = 1; point <= count; point++) {
      const name = `crash_${calls.split(",")[0]}_${point}`;
      const dataset = await openCatalog(place.store).create(name, [{ name: "id", type: "int" }]);
      const file = await stage(dataset, "SELECT 1::INT AS id");
      const program = [
        join(import.meta.dirname, "appender.ts"),
        place.store.url,
        name,
        "run",
        "0",
        "3",
        JSON.stringify(file),
      ];
      const traced = spawnSync(
        "strace",
        [
          "-f",
          "-qq",
          "-o",
          "/dev/null",
          "-e",
          `trace=${calls}`,
          "-e",
          `inject=${calls}:signal=SIGKILL:when=${point}`,
          process.execPath,
          ...program,
        ],
        { encoding: "utf8" },
      );
      if (traced.status !== 0) killed++;
      const acknowledged = traced.stdout.split("\n").filter((line) => line !== "");
      await dataset.refresh();
      const found = dataset.versions().map((version) => `${version.summary["millrace.run"]} ${version.number}`);
      expect(found.slice(0, acknowledged.length)).toEqual(acknowledged);
      expect((await verifyDataset(dataset, engine, { deep: true })).problems).toEqual([]);

      const again = spawnSync(process.execPath, program, { encoding: "utf8" });
      expect(again.stdout.trim().split("\n")).toEqual(["run-0 1", "run-1 2", "run-2 3"]);
      await dataset.refresh();
      expect(dataset.versions().map((version) => version.rows)).toEqual([1, 2, 3]);
      await dataset.gc({ minimumAgeMs: -60_000 });
      expect((await verifyDataset(dataset, engine, { deep: true })).problems).toEqual([]);
    }
    // A sweep that kills nothing proves nothing.
    expect(killed).toBeGreaterThanOrEqual(Math.min(3, count));
  },
);
