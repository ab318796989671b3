import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Lake } from "../../src/pipeline/index.ts";
import { start } from "../faults/child.ts";
import { makePlace, published, rowsOf, type Place } from "./place.ts";

let place: Place;
let lake: Lake;

beforeAll(async () => {
  place = await makePlace();
  await place.put("t.csv", ["n,text", ...Array.from({ length: 500 }, (_, n) => `${n},one ${n}`)]);
  lake = await place.open({ t: { from: { path: "*.csv" }, mode: "replace", key: ["n"] } });
  await published(lake.run("t"));
  await place.put("t.csv", ["n,text", "1,two"]);
  await published(lake.run("t"));
});
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const sweep = (now?: number): ReturnType<Lake["gc"]> =>
  lake.gc("t", { keepVersions: 1, expireOlderThanMs: -60_000, minimumAgeMs: -60_000, ...(now && { now }) });

/** What reads versions of `t` now, by the leases in the store: `feed 1`. */
function readers(): string[] {
  const folder = join(place.folder, "lake/t/leases");
  if (!existsSync(folder)) return [];
  return readdirSync(folder).map((name) => {
    const { by, version } = JSON.parse(readFileSync(join(folder, name), "utf8")) as { by: string; version: number };
    return `${by} ${version}`;
  });
}

test("a process that reads a version keeps it from gc, and one that is killed for as long as its lease counts", async () => {
  const reader = start({ program: "reader.ts", args: [join(place.folder, "lake")] });
  await reader.line("leased");
  expect(await sweep()).toMatchObject({ expired: [], leased: [{ version: 1, by: "feed", pid: reader.process.pid }] });
  reader.resume();
  expect(await reader.line("rows")).toBe("rows 500");
  expect(await reader.ended).toMatchObject({ code: 0, errors: "" });
  expect(readers()).toEqual([]);

  const killed = start({ program: "reader.ts", args: [join(place.folder, "lake")] });
  await killed.line("leased");
  killed.process.kill("SIGKILL");
  expect((await killed.ended).killed).toBe(true);
  expect(await sweep()).toMatchObject({ expired: [], leased: [{ version: 1, pid: killed.process.pid }] });
  expect(await rowsOf(lake, 'select count(*) from "t@1"')).toEqual([[500]]);
});

test("feed and export lease what they read, and let it go", async () => {
  const during = new Set<string>();
  const feed = await lake.feed("t@1", { batch: 10 });
  expect(readers()).toContain("feed 1");
  const before = readers().length;
  await feed[Symbol.asyncDispose]();
  expect(readers()).toHaveLength(before - 1);
  await lake.export("t@1", {
    format: "jsonl",
    to: join(place.folder, "out"),
    onProgress: () => readers().forEach((reader) => during.add(reader)),
  });
  expect(during).toContain("export 1");
  expect(readers()).not.toContain("export 1");
  await expect(lake.feed("t@1", { batch: 10, columns: ["none"] })).rejects.toMatchObject({ code: "usage" });
  expect(readers()).toHaveLength(before - 1);
});

test("when the lease of the killed process has run out, the version goes, and the lease with it", async () => {
  expect(readers()).toEqual(["feed 1"]);
  const report = await sweep(Date.now() + 3_600_000);
  expect(report).toMatchObject({ expired: [1], leased: [] });
  expect(report.removed.length).toBeGreaterThan(0);
  expect(readers()).toEqual([]);
  await expect(lake.feed("t@1")).rejects.toMatchObject({ code: "not-found" });
});
