import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isMillraceError, messageOf } from "../../src/core/index.ts";
import { freeze, type Frozen } from "../services/freeze.ts";
import { startMariadb } from "../services/mariadb.ts";
import { startPostgres } from "../services/postgres.ts";
import { start } from "./child.ts";
import { Ledger } from "./ledger.ts";
import { type MutantName, mutants } from "./mutants.ts";
import type { OracleLake } from "./oracle-lake.ts";
import { createTable, offerRows, oracleTable, type TableServer } from "./oracle-table.ts";
import { type Proxy, startProxy } from "./proxy.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, recordMutant, soak } from "./trust.ts";

const random = seeded("frozen-servers");
const records = 600;
const deadlineMs = 500;
/** How a source asks for the rows of a part. */
const request = { postgres: "COPY (", mysql: "`id`, `revision`, `payload`" };

interface Server extends AsyncDisposable {
  port: number;
  user: string;
  password: string;
  database: string;
  query(sql: string): Promise<unknown>;
  processes(): number[];
}

/** One lake, whose flow reads with deadlines that a server which works keeps on any machine, or with short ones. */
interface Lakes {
  patient: OracleLake;
  hasty: (readTimeoutMs?: number) => OracleLake;
}

describe.each([
  ["postgres", startPostgres, "append"],
  ["mysql", startMariadb, "merge"],
] as const)("a %s server that stands still", (source, startServer, sampled) => {
  let server: Server;
  let proxy: Proxy;
  let table: TableServer;
  let ledger: Ledger;
  /** Bytes that a run makes the server send which finds so many new records. */
  let whole: number;
  const component = `run of a ${source} table`;

  beforeAll(async () => {
    server = await startServer();
    proxy = await startProxy(server.port);
    const { user, password, database } = server;
    const connection = { host: "127.0.0.1", port: proxy.port, user, password, database, ssl: "disable" };
    table = { source, run: (sql) => server.query(sql), connection };
    ledger = new Ledger(random.seed);
    await createTable(table);
    await offerRows(table, ledger, records);
    whole = await inScratch(async (folder) => {
      proxy.set(undefined);
      await oracleTable(folder, "append", table, ledger).run();
      return proxy.passed();
    });
    expect(whole).toBeGreaterThan(records * 20);
  }, 120_000);
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  /** Freezes the server when it has sent so many bytes, or when it is asked for a part of the stream the `n`-th time. */
  const freezeAt = (at: { bytes: number } | { part: number }): Promise<Frozen> =>
    new Promise((resolve) => {
      const call = (): void => resolve(freeze(server.processes()));
      if ("bytes" in at) proxy.set({ at: { ...at, call } });
      else proxy.set({ atRequest: { text: request[source], number: at.part, call } });
    });

  /** A lake with all that the table has, then as many new records as `whole` means. */
  const withNews = <T>(mode: "append" | "merge", action: (lakes: Lakes, before: number) => Promise<T>): Promise<T> =>
    inScratch(async (folder) => {
      // Whichever was asked for last has written the configuration.
      const lake = (): OracleLake => oracleTable(folder, mode, table, ledger);
      const hasty = (readTimeoutMs = deadlineMs): OracleLake => {
        const connection = { ...table.connection, connectTimeoutMs: deadlineMs, readTimeoutMs };
        return oracleTable(folder, mode, { ...table, connection }, ledger);
      };
      proxy.set(undefined);
      await lake().run();
      const before = ledger.good;
      await offerRows(table, ledger, records);
      return action({ patient: { ...lake(), run: (signal) => lake().run(signal) }, hasty }, before);
    });

  /** Freezes the server at the point of a run; it ends with a clear temporary error, and another one completes. */
  const meet = async (
    at: { bytes: number } | { part: number },
    mode: "append" | "merge",
  ): Promise<{ fired: boolean; violations: string[] }> => {
    const violations: string[] = [];
    let fired = false;
    await withNews(mode, async ({ patient, hasty }, before) => {
      const running = hasty().run();
      running.catch(() => undefined);
      const frozen = await Promise.race([freezeAt(at), running.then(() => undefined)]);
      if (frozen === undefined) return;
      try {
        await frozen.stopped;
        const error: unknown = await running.then(
          () => undefined,
          (problem: unknown) => problem,
        );
        const rows = await patient.rows();
        if (error === undefined) {
          // The last rows had left the server when it was stopped, and wait in the buffers of the system.
          if (rows !== ledger.good) violations.push(`published ${rows} of ${ledger.good} rows`);
        } else {
          // It stood still all the time, and nothing else ended the run.
          fired = frozen.states().every((state) => state === "T");
          const clear = isMillraceError(error) && ["timeout", "unreachable"].includes(error.code) && error.temporary;
          if (!clear) violations.push(`no clear error but ${messageOf(error)}`);
          else if ((error.hint ?? "") === "") violations.push(`no hint: ${error.message}`);
          if (rows !== before) violations.push(`${rows} rows are visible instead of ${before}`);
        }
      } finally {
        frozen.thaw();
      }
      proxy.set(undefined);
      await patient.run();
      violations.push(...(await patient.tally()).violations);
    });
    return { fired, violations: violations.map((text) => `${JSON.stringify(at)}: ${text}`) };
  };

  test.each(soak ? (["append", "merge"] as const) : [sampled])(
    "in the middle of a read (%s): a clear temporary error in time, nothing visible, and once it goes on all of it",
    { timeout: 300_000 },
    async (mode) => {
      const bytes = (): number => random.between(Math.floor(whole * 0.1), Math.floor(whole * 0.6));
      const points = soak
        ? [{ part: 1 }, { part: 2 }, ...Array.from({ length: 6 }, () => ({ bytes: bytes() }))]
        : [{ part: 2 }];
      const outcomes = [];
      for (const point of points) outcomes.push(await meet(point, mode));
      const violations = outcomes.flatMap((one) => one.violations);
      const fired = outcomes.filter((one) => one.fired).length;
      const fault = `SIGSTOP of the server in the middle of a read, ${mode}`;
      recordFault({ area: "Frozen peers", component, fault, fired, violations: violations.length });
      expect(violations).toEqual([]);
      expect(fired).toBeGreaterThanOrEqual(Math.ceil(points.length / 2));
    },
  );

  test("before it is asked: the same", { timeout: 120_000 }, () =>
    withNews("append", async ({ patient, hasty }, before) => {
      const frozen = freeze(server.processes());
      try {
        await frozen.stopped;
        await expect(hasty().run()).rejects.toMatchObject({
          code: expect.stringMatching(/^(timeout|unreachable)$/) as string,
          temporary: true,
        });
        expect(frozen.states().every((state) => state === "T")).toBe(true);
        expect(await patient.rows()).toBe(before);
      } finally {
        frozen.thaw();
      }
      await patient.run();
      const { violations } = await patient.tally();
      const fault = "SIGSTOP of the server before a run";
      recordFault({ area: "Frozen peers", component, fault, fired: 1, violations: violations.length });
      expect(violations).toEqual([]);
    }),
  );

  test("a caller that stops while it stands still is let go, long before any deadline", { timeout: 60_000 }, () =>
    withNews("append", async ({ patient }, before) => {
      const violations: string[] = [];
      // While it answers a question, and in the middle of the rows.
      const points = [{ bytes: Math.floor(whole / 50) }, { part: 2 }];
      for (const point of points) {
        const stop = new AbortController();
        const running = patient.run(stop.signal);
        running.catch(() => undefined);
        const frozen = await freezeAt(point);
        try {
          await frozen.stopped;
          const begun = performance.now();
          stop.abort();
          await expect(running).rejects.toMatchObject({ code: "aborted" });
          // The deadlines of this lake are 10 s and more.
          if (performance.now() - begun > 8_000) violations.push(`${JSON.stringify(point)}: let go late`);
          expect(new Set(frozen.states())).toEqual(new Set(["T"]));
        } finally {
          frozen.thaw();
        }
        if ((await patient.rows()) !== before) violations.push(`${JSON.stringify(point)}: something is visible`);
      }
      proxy.set(undefined);
      await patient.run();
      violations.push(...(await patient.tally()).violations);
      const fault = "SIGSTOP of the server, and the caller stops";
      recordFault({ area: "Frozen peers", component, fault, fired: points.length, violations: violations.length });
      expect(violations).toEqual([]);
    }),
  );

  test("for less than the deadline: the run takes longer, and that is all", { timeout: 120_000 }, () =>
    withNews("append", async ({ patient }) => {
      const running = patient.run();
      const frozen = await freezeAt({ bytes: Math.floor(whole / 3) });
      await frozen.stopped;
      const states = frozen.states();
      frozen.thaw();
      expect(new Set(states)).toEqual(new Set(["T"]));
      expect(await running).toMatchObject({ status: "published" });
      const { violations } = await patient.tally();
      const fault = "SIGSTOP of the server, and SIGCONT before the deadline";
      recordFault({ area: "Frozen peers", component, fault, fired: 1, violations: violations.length });
      expect(violations).toEqual([]);
    }),
  );

  test("a build that waits for ever is noticed", { timeout: 120_000 }, async () => {
    const mutant: MutantName = `silence-of-${source}`;
    const shortMs = 250;
    let caught = false;
    // On a slow machine the server may once be late before it is frozen.
    for (let attempt = 0; attempt < 3 && !caught; attempt++) {
      caught = await withNews("append", async ({ hasty }) => {
        const lake = hasty(shortMs);
        const child = start({ program: "millrace.ts", args: ["run", lake.flow, "--json"], cwd: lake.folder, mutant });
        const frozen = await Promise.race([freezeAt({ part: 2 }), child.ended]);
        if (!("thaw" in frozen)) return false;
        // A build that notices has given up by then: its deadline, as often as it tries.
        await Promise.race([sleep(12 * shortMs), child.ended]);
        frozen.thaw();
        return (await child.ended).code === 0;
      });
    }
    const by = "SIGSTOP of the server in the middle of a read";
    recordMutant({ mutant, without: mutants[mutant].without, by, caught });
    expect(caught).toBe(true);
  });
});
