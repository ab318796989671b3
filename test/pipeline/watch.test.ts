import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { MillraceError, type Lag } from "../../src/core/index.ts";
import type { Lake, RunReport, WatchOptions } from "../../src/pipeline/index.ts";
import { inScratch } from "../faults/sweep.ts";
import { soak } from "../faults/trust.ts";
import { counter, counterLake, type Counter } from "./counter.ts";

interface Watching {
  reports: RunReport[];
  problems: string[];
  /** Resolves once so many versions were made since it began. */
  versions(count: number): Promise<void>;
  /** Stops it, and gives what it threw. */
  stop(): Promise<unknown>;
  ended: Promise<unknown>;
}

function watching(lake: Lake, options: Partial<WatchOptions> = {}): Watching {
  const reports: RunReport[] = [];
  const problems: string[] = [];
  const stopping = new AbortController();
  let look = (): void => undefined;
  const ended = lake
    .watch("events", {
      signal: stopping.signal,
      every: "0.01s",
      ...options,
      onReport(report) {
        if (report.status !== "unchanged") reports.push(report);
        options.onReport?.(report);
        look();
      },
      onProblem(error) {
        problems.push(error.message);
        look();
      },
    })
    .then(
      () => undefined,
      (error: unknown) => error,
    );
  return {
    reports,
    problems,
    versions: (count) =>
      new Promise((resolve, reject) => {
        look = () => {
          if (reports.length >= count) resolve();
        };
        void ended.then((error) => reject(error ?? new Error("it ended")));
        look();
      }),
    stop() {
      stopping.abort();
      return ended;
    },
    ended,
  };
}

const more = (state: Counter, records: number): void => {
  state.end += records;
  state.news();
};

async function ids(lake: Lake): Promise<number[]> {
  const { rows } = await lake.query("SELECT id FROM events ORDER BY id", { maximumRows: 1_000_000 });
  return rows.map((row) => Number(row["id"]));
}
const upTo = (end: number): number[] => Array.from({ length: end }, (_, index) => index);

test("a version whenever there is something new, from one open source; stopping ends it without an error", () =>
  inScratch(async (folder) => {
    const state = counter();
    await using lake = await counterLake(folder, state);
    const watch = watching(lake);
    for (let round = 1; round <= 4; round++) {
      more(state, 10);
      await watch.versions(round);
    }
    expect(await watch.stop()).toBeUndefined();
    expect(state.opened).toBe(1);
    // Nothing was made of nothing, and nothing was asked while nothing came.
    expect(state.plans).toBe(4);
    expect(watch.reports.map(({ version }) => version)).toEqual([1, 2, 3, 4]);
    expect(await ids(lake)).toEqual(upTo(40));
    const [status] = await lake.status();
    expect(status).toMatchObject({
      flow: "events",
      version: 4,
      rows: 40,
      lag: { records: 0 },
      lastHour: { rows: 40, versions: 4 },
    });
    more(state, 5);
    expect((await lake.status())[0]!.lag).toEqual({ records: 5 });
  }));

test("a backlog is read at once, in versions that are bounded", () =>
  inScratch(async (folder) => {
    const state = { ...counter(), end: 95, atOnce: 10 };
    await using lake = await counterLake(folder, state);
    // Were it to wait in between, it would never come to the end of this test.
    const watch = watching(lake, { every: "1h" });
    await watch.versions(10);
    await watch.stop();
    expect(watch.reports.map(({ written }) => written)).toEqual([...Array.from({ length: 9 }, () => 10), 5]);
    expect(watch.reports.map((report) => report.more)).toEqual([...Array.from({ length: 9 }, () => true), undefined]);
    expect(await ids(lake)).toEqual(upTo(95));
  }));

test(
  "so many records that wait make a version before its time",
  () =>
    inScratch(async (folder) => {
      const state = { ...counter(), end: 1 };
      await using lake = await counterLake(folder, state, { watch: { every: "1h", rows: 100, compact: true } });
      const seen: Lag[] = [];
      let isAsked = (): void => undefined;
      const watch = watching(lake, {
        every: "100s",
        onLag(lag) {
          seen.push(lag);
          isAsked();
        },
      });
      await watch.versions(1);
      // It waits for its time, and looks.
      more(state, 50);
      await new Promise<void>((resolve) => {
        isAsked = () => {
          if (seen.some(({ records }) => records === 50)) resolve();
        };
      });
      expect(watch.reports).toHaveLength(1);
      more(state, 50);
      await watch.versions(2);
      await watch.stop();
      expect(watch.reports[1]!.written).toBe(100);
    }),
  60_000,
);

test("what may pass is tried again, with a source opened anew; what cannot pass ends it", () =>
  inScratch(async (folder) => {
    const state = { ...counter(), end: 10 };
    await using lake = await counterLake(folder, state);
    state.failure = new MillraceError("unreachable", "the server is away", { temporary: true });
    const watch = watching(lake);
    await watch.versions(1);
    expect(watch.problems).toEqual(["the server is away"]);
    expect(state.opened).toBe(2);
    state.failure = new MillraceError("authentication", "the server does not know us any more");
    more(state, 10);
    expect(await watch.ended).toMatchObject({ code: "authentication", where: { flow: "events" } });
    expect(await ids(lake)).toEqual(upTo(10));
    const again = watching(lake);
    await again.versions(1);
    await again.stop();
    expect(await ids(lake)).toEqual(upTo(20));
  }));

test("a check that fails ends it, with nothing published and nothing lost", () =>
  inScratch(async (folder) => {
    const state = { ...counter(), end: 10 };
    const checks = [{ check: "range", column: "id", max: 14, on_fail: "fail" as const }];
    {
      await using lake = await counterLake(folder, state, { checks });
      const watch = watching(lake);
      await watch.versions(1);
      more(state, 10);
      expect(await watch.ended).toMatchObject({ code: "check-failed", hint: expect.stringContaining("on_fail") });
      expect(await ids(lake)).toEqual(upTo(10));
    }
    await using lake = await counterLake(folder, state, { checks: [{ ...checks[0]!, on_fail: "reject" }] });
    const watch = watching(lake);
    await watch.versions(1);
    await watch.stop();
    expect(await ids(lake)).toEqual(upTo(15));
    expect(watch.reports[0]).toMatchObject({ read: 10, written: 5, rejected: 5 });
  }));

/** A day of a version a minute in `npm run soak`. */
const versions = soak ? 1_440 : 80;
test(
  `${versions} small versions leave a dataset that is read like one that was loaded at once`,
  { timeout: 900_000 },
  () =>
    inScratch(async (folder) => {
      const each = 200;
      const small = { ...counter(), end: versions * each, atOnce: each };
      await using lake = await counterLake(join(folder, "small"), small);
      const watch = watching(lake);
      await watch.versions(versions);
      await watch.stop();
      const large = { ...counter(), end: versions * each };
      await using bulk = await counterLake(join(folder, "bulk"), large);
      await bulk.run("events");

      const { dataset, version } = await lake.dataset("events");
      const whole = await bulk.dataset("events");
      expect(version.rows).toBe(whole.version.rows);
      expect(await ids(lake)).toEqual(upTo(versions * each));
      // What a reader pays: files to open and bytes to read. So many orders of size are there, each with fewer files than make a merged one.
      expect(version.files).toBeLessThanOrEqual(15 * (Math.ceil(Math.log(versions) / Math.log(16)) + 1));
      const settled = await lake.compact("events");
      const after = settled.version ?? version;
      expect(after.files).toBeLessThanOrEqual(whole.version.files + 1);
      expect(after.bytes).toBeLessThan(1.5 * whole.version.bytes);
      // Nor do reports and metadata grow for ever.
      expect(readdirSync(join(folder, "small", "lake", "runs", "events")).length).toBeLessThanOrEqual(700);
      expect((await lake.verify("events")).problems).toEqual([]);
      expect(dataset.versions().length).toBeLessThanOrEqual(501);
    }),
);
