import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isMillraceError, messageOf } from "../../src/core/index.ts";
import { type Postgres, startPostgres } from "../services/postgres.ts";
import { finish } from "./child.ts";
import { Ledger } from "./ledger.ts";
import { createTable, offerRows, oracleTable, type TableServer } from "./oracle-table.ts";
import { type Proxy, startProxy } from "./proxy.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, soak } from "./trust.ts";

const random = seeded("kills-postgres");

let server: Postgres;
let proxy: Proxy;
let table: TableServer;
beforeAll(async () => {
  server = await startPostgres();
  proxy = await startProxy(server.port);
  table = {
    source: "postgres",
    run: (sql) => server.query(sql),
    connection: {
      host: "127.0.0.1",
      port: proxy.port,
      user: server.user,
      password: server.password,
      database: server.database,
    },
  };
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

type Blow = "runner" | "backends" | "immediate" | "kill -9";
const blows: Blow[] = ["runner", "backends", "runner", "immediate", "runner", "backends", "runner", "kill -9"];
const wanted = soak ? 60 : 10;

/** Nothing is known of the server but that its last answer is over. */
const serverBlows: Record<Exclude<Blow, "runner">, () => Promise<unknown>> = {
  backends: () => server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'"),
  immediate: () => server.restart(),
  "kill -9": async () => {
    await server.kill();
    await server.start();
  },
};

describe.each(["append", "merge"] as const)("runs of a table that are struck (%s)", (mode) => {
  test(`${wanted} kills of runner, backends and server: no record lost, none twice`, { timeout: 900_000 }, () =>
    inScratch(async (folder) => {
      await server.query("DROP TABLE IF EXISTS events");
      await createTable(table);
      const ledger = new Ledger(random.seed);
      const lake = oracleTable(folder, mode, table, ledger);
      const fired = new Map<Blow, number>();
      const violations: string[] = [];
      let [struck, tried, steps, bytes] = [0, 0, 300, 10_000];
      for (let round = 0; (struck < wanted || fired.size < 4) && violations.length === 0; round++) {
        const before = await lake.rows();
        const touched =
          mode === "merge" && ledger.next > 0 ? random.sample(Array(ledger.next).keys().toArray(), 20) : [];
        await offerRows(table, ledger, 600, touched);
        for (let strike = 0; strike < 3; strike++) {
          const blow = blows[tried++ % blows.length]!;
          let hit: boolean;
          if (blow === "runner") {
            proxy.set(undefined);
            const program = { program: "millrace.ts", args: ["run", lake.flow, "--json"], cwd: folder };
            const ended = await finish({ ...program, steps: { at: [random.between(1, steps)], action: "kill" } });
            hit = ended.killed;
            if (!hit) {
              expect(ended.code, ended.errors).toBe(0);
              [steps, bytes] = [ended.steps, Math.max(2_000, proxy.passed())];
            }
          } else {
            let done: Promise<unknown> | undefined;
            proxy.set({ at: { bytes: random.between(1, bytes), call: () => void (done = serverBlows[blow]()) } });
            const error: unknown = await lake.run().then(
              () => undefined,
              (problem: unknown) => problem,
            );
            hit = done !== undefined;
            await done;
            const code = isMillraceError(error) ? error.code : messageOf(error);
            // Or it was done with the server already, or tried again with success.
            if (error !== undefined && !["unreachable", "conflict", "timeout"].includes(code)) {
              violations.push(`${blow}: no clear error but ${code}: ${messageOf(error)}`);
            }
          }
          if (hit) {
            struck++;
            fired.set(blow, (fired.get(blow) ?? 0) + 1);
          }
          const rows = await lake.rows();
          if (rows !== before && rows !== ledger.good) violations.push(`${blow}: ${rows} rows are visible`);
          if (rows === ledger.good && !hit) break;
        }
        proxy.set(undefined);
        await lake.run();
        violations.push(...(await lake.tally()).violations.map((text) => `round ${round}: ${text}`));
      }
      const { acknowledged, lost, duplicated } = await lake.tally();
      const faults = [...fired].map(([blow, count]) => `${blow} ${count}`).join(", ");
      recordFault({
        area: "Kills of whole runs",
        component: `run of a postgres table, ${mode}`,
        fault: `SIGKILL of the runner, of the server; backends terminated; immediate restart (${faults})`,
        fired: struck,
        violations: violations.length,
        records: { acknowledged, lost, duplicated },
      });
      expect(violations).toEqual([]);
      expect({ lost, duplicated }).toEqual({ lost: 0, duplicated: 0 });
      expect(fired.size).toBe(4);
      expect(acknowledged).toBeGreaterThanOrEqual(2_000);
    }),
  );
});
