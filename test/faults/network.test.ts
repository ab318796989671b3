import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isMillraceError, messageOf } from "../../src/core/index.ts";
import { startMariadb } from "../services/mariadb.ts";
import { startPostgres } from "../services/postgres.ts";
import { finish } from "./child.ts";
import { Ledger } from "./ledger.ts";
import { type MutantName, mutants } from "./mutants.ts";
import type { OracleLake } from "./oracle-lake.ts";
import { createTable, offerRows, oracleTable, type TableServer } from "./oracle-table.ts";
import { type Proxy, startProxy, type Trouble } from "./proxy.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, recordMutant, soak } from "./trust.ts";

const random = seeded("network");
const records = 1_500;
/** How the message of a short row of COPY begins. */
const nextRow = Buffer.from("d\0\0\0");

interface Peer extends AsyncDisposable {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  query(sql: string): Promise<unknown>;
}

describe.each([
  ["postgres", startPostgres],
  ["mysql", startMariadb],
] as const)("%s behind a network that fails", (source, startServer) => {
  let server: Peer;
  let proxy: Proxy;
  let table: TableServer;
  let ledger: Ledger;
  let whole: number;

  /** A new lake on the same table: each fault meets a first, whole read. */
  const withLake = <T>(action: (lake: OracleLake) => Promise<T>): Promise<T> =>
    inScratch((folder) => action(oracleTable(folder, "append", table, ledger)));

  beforeAll(async () => {
    server = (await startServer()) as Peer;
    proxy = await startProxy(server.port);
    const { user, password, database } = server;
    const patience = { connectTimeoutMs: 1_000, readTimeoutMs: 1_000, ssl: "disable" };
    const connection = { host: "127.0.0.1", port: proxy.port, user, password, database, ...patience };
    table = { source, run: (sql) => server.query(sql), connection };
    ledger = new Ledger(random.seed);
    await createTable(table);
    await offerRows(table, ledger, records);
    whole = await withLake(async (lake) => {
      proxy.set(undefined);
      await lake.run();
      return proxy.passed();
    });
    expect(whole).toBeGreaterThan(records * 20);
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  /** Runs with the trouble; what comes out is a clear, temporary error and no version, or all records. Then a run without it. */
  const meet = (trouble: Trouble, what: string): Promise<{ fired: boolean; violations: string[] }> =>
    withLake(async (lake) => {
      const violations: string[] = [];
      proxy.set(trouble);
      const error: unknown = await lake.run().then(
        () => undefined,
        (problem: unknown) => problem,
      );
      const fired = trouble.latencyMs !== undefined || proxy.fired() > 0;
      proxy.set(undefined);
      const rows = await lake.rows();
      if (error === undefined) {
        if (rows !== ledger.good) violations.push(`${what}: published ${rows} of ${ledger.good} rows`);
      } else {
        if (rows !== 0) violations.push(`${what}: ${rows} rows are visible after an error`);
        const clear = isMillraceError(error) && ["unreachable", "timeout"].includes(error.code) && error.temporary;
        if (!clear) violations.push(`${what}: ${isMillraceError(error) ? error.code : "no code"}: ${messageOf(error)}`);
      }
      await lake.run();
      violations.push(...(await lake.tally()).violations.map((text) => `${what}: ${text}`));
      return { fired, violations };
    });

  const offsets = (count: number): number[] => [
    ...new Set([0, 1, 5, ...Array.from({ length: count }, () => random.between(1, whole - 1)), whole - 1]),
  ];
  const troubles: [what: string, times: number, trouble: (offset: number) => Trouble][] = [
    ["cut after N bytes", soak ? 16 : 4, (cutAfter) => ({ cutAfter })],
    ["cut once after N bytes", soak ? 8 : 2, (cutAfter) => ({ cutAfter, once: true })],
    ["reset after N bytes", soak ? 16 : 2, (cutAfter) => ({ cutAfter, by: "reset" })],
    ["silent after N bytes", soak ? 5 : 1, (silentAfter) => ({ silentAfter })],
    ["answer dropped after a request", soak ? 8 : 2, (offset) => ({ dropAnswerAfter: Math.floor(offset / 40) })],
  ];
  test.each(troubles)(
    "%s: a clear error or all records, never a part of them",
    { timeout: 600_000 },
    async (what, times, trouble) => {
      const violations: string[] = [];
      let fired = 0;
      const points = times > 4 ? offsets(times - 4) : Array.from({ length: times }, () => random.between(1, whole - 1));
      for (const offset of points) {
        const outcome = await meet(trouble(offset), `${what}, ${offset}`);
        if (outcome.fired) fired++;
        violations.push(...outcome.violations);
      }
      recordFault({
        area: "Network",
        component: `run of a ${source} table`,
        fault: what,
        fired,
        violations: violations.length,
      });
      expect(violations).toEqual([]);
      expect(fired).toBeGreaterThanOrEqual(Math.ceil(points.length / 2));
    },
  );

  test(
    "a build that takes the end of a connection for the end of the rows is noticed",
    { timeout: 120_000 },
    async () => {
      const mutant: MutantName = `end-of-${source}`;
      let caught = false;
      // A cut in the middle of a record is noticed by whoever reads it, and so is one between two statements.
      for (let attempt = 0; attempt < 12 && !caught; attempt++) {
        caught = await withLake(async (lake) => {
          const cutAfter = random.between(Math.floor(whole * 0.4), Math.floor(whole * 0.9));
          proxy.set({ cutAfter, once: true, ...(source === "postgres" ? { before: nextRow } : {}) });
          const ended = await finish({ program: "millrace.ts", args: ["run", lake.flow], cwd: lake.folder, mutant });
          const fired = proxy.fired();
          proxy.set(undefined);
          return fired > 0 && ended.code === 0 && (await lake.rows()) < ledger.good;
        });
      }
      const by = "cut once after N bytes";
      recordMutant({ mutant, without: mutants[mutant].without, by, caught });
      expect(caught).toBe(true);
    },
  );

  test("a slow network only takes longer", { timeout: 60_000 }, async () => {
    const { violations } = await meet({ latencyMs: 5 }, "latency");
    const fault = "latency of 5 ms each way";
    recordFault({
      area: "Network",
      component: `run of a ${source} table`,
      fault,
      fired: 1,
      violations: violations.length,
    });
    expect(violations).toEqual([]);
  });
});
