import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { isMillraceError, messageOf } from "../../src/core/index.ts";
import { type Postgres, startPostgres } from "../services/postgres.ts";
import { loadLake } from "../support/lake.ts";
import { finish, start } from "./child.ts";
import { type Proxy, startProxy } from "./proxy.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, soak } from "./trust.ts";

const random = seeded("kills-postgres-changes");
const wanted = soak ? 36 : 4;
/** Changes that are committed in each round, besides one transaction of many rows. */
const changes = soak ? 600 : 200;

let server: Postgres;
let proxy: Proxy;
beforeAll(async () => {
  server = await startPostgres({ settings: ["max_replication_slots=20", "max_wal_senders=20"] });
  await server.query(`ALTER ROLE ${server.user} REPLICATION`);
  proxy = await startProxy(server.port);
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

type Blow = "runner" | "server" | "both";
const blows: Blow[] = ["runner", "server", "both", "runner"];

/** Commits changes to the table; resolves with how many rows of them there are in the server's log, once all are acknowledged. */
async function change(table: string, next: { id: number }): Promise<number> {
  const first = next.id;
  next.id += changes;
  await server.query(
    `INSERT INTO ${table} SELECT n, 0, md5(n::text) FROM generate_series(${first}, ${next.id - 1}) AS n`,
  );
  let count = changes;
  for (let step = 0; step < 5; step++) {
    const from = random.between(0, next.id - 10);
    const updated = await server.query(
      `UPDATE ${table} SET revision = revision + 1, payload = md5(id || '.' || revision) WHERE id BETWEEN ${from} AND ${from + 20} RETURNING id`,
    );
    const gone = random.between(0, next.id - 1);
    const deleted = await server.query(`DELETE FROM ${table} WHERE id BETWEEN ${gone} AND ${gone + 3} RETURNING id`);
    count += updated.length + deleted.length;
  }
  return count;
}

/** The log shows more than the table does: each change of it is counted. */
const modes: ("merge" | "append")[] = soak ? ["merge", "append"] : ["append"];

describe.each(modes)("runs of changes that are struck (%s)", (mode) => {
  test(`${wanted} kills of runner, server and both: no change lost, none twice`, { timeout: 900_000 }, () =>
    inScratch(async (folder) => {
      const flow = `events_${mode}`;
      await server.query(`CREATE TABLE ${flow} (id bigint PRIMARY KEY, revision int NOT NULL, payload text NOT NULL);
        CREATE PUBLICATION ${flow} FOR TABLE ${flow}`);
      const { user, password, database } = server;
      const connection = { source: "postgres-changes", host: "127.0.0.1", port: proxy.port, user, password, database };
      mkdirSync(folder, { recursive: true });
      writeFileSync(
        join(folder, "millrace.yaml"),
        stringify({
          store: "./lake",
          connections: { c: { ...connection, publication: flow } },
          flows: {
            [flow]: {
              from: { connection: "c", stream: flow, part_bytes: 20_000 },
              mode,
              ...(mode === "merge" ? { key: ["id"] } : {}),
            },
          },
        }),
      );
      const read = async (sql: string): Promise<Record<string, unknown>[]> => {
        await using lake = await loadLake(folder);
        return (await lake.query(sql, { maximumRows: 1_000_000 })).rows;
      };
      const run = async (): Promise<void> => {
        await using lake = await loadLake(folder);
        await lake.run(flow);
      };
      const next = { id: 0 };
      const fired = new Map<Blow, number>();
      const violations: string[] = [];
      let [struck, tried, steps, bytes, acknowledged, lost, duplicated] = [0, 0, 300, 10_000, 0, 0, 0];
      // From the first commit on every change is in the log.
      await run();
      for (let round = 0; (struck < wanted || fired.size < 3) && violations.length === 0; round++) {
        acknowledged += await change(flow, next);
        for (let strike = 0; strike < 3; strike++) {
          const blow = blows[tried++ % blows.length]!;
          let hit = false;
          let done: Promise<unknown> | undefined;
          let child: ReturnType<typeof start> | undefined;
          const killServer = (): void =>
            void (done = (async () => {
              child?.process.kill("SIGKILL");
              await server.kill();
              await server.start();
            })());
          proxy.set(blow === "runner" ? undefined : { at: { bytes: random.between(1, bytes), call: killServer } });
          if (blow === "server") {
            const error: unknown = await run().then(
              () => undefined,
              (problem: unknown) => problem,
            );
            const code = isMillraceError(error) ? error.code : messageOf(error);
            if (error !== undefined && !["unreachable", "conflict", "timeout"].includes(code)) {
              violations.push(`${blow}: no clear error but ${code}: ${messageOf(error)}`);
            }
            hit = done !== undefined;
          } else {
            const program = { program: "millrace.ts", args: ["run", flow, "--json"], cwd: folder };
            if (blow === "both") child = start(program);
            const ended = await (child === undefined
              ? finish({ ...program, steps: { at: [random.between(1, steps)], action: "kill" } })
              : child.ended);
            hit = ended.killed;
            if (!ended.killed && done === undefined) {
              expect(ended.code, ended.errors).toBe(0);
              [steps, bytes] = [ended.steps, Math.max(2_000, proxy.passed())];
            }
          }
          await done;
          if (hit) {
            struck++;
            fired.set(blow, (fired.get(blow) ?? 0) + 1);
          }
        }
        proxy.set(undefined);
        await run();
        const table = await server.query(`SELECT id, revision, payload FROM ${flow} ORDER BY id`);
        const state =
          mode === "merge"
            ? flow
            : `(SELECT * FROM ${flow} QUALIFY row_number() OVER (PARTITION BY id ORDER BY _lsn DESC, _index DESC) = 1)`;
        const rows = await read(
          `SELECT id::varchar AS id, revision::varchar AS revision, payload FROM ${state} WHERE NOT _deleted ORDER BY id::bigint`,
        );
        const theirs = new Map(table.map((row) => [row.id!, `${row.revision} ${row.payload}`]));
        const ours = new Map(
          rows.map((row) => [row["id"] as string, `${row["revision"] as string} ${row["payload"] as string}`]),
        );
        duplicated += rows.length - ours.size;
        for (const [id, value] of theirs) if (ours.get(id) !== value) lost++;
        for (const id of ours.keys()) if (!theirs.has(id)) violations.push(`row ${id} is gone from the table`);
        if (mode === "append") {
          const [log] = await read(
            `SELECT count(*)::int AS changes, count(DISTINCT (_lsn, _index))::int AS places FROM ${flow}`,
          );
          lost += Math.max(0, acknowledged - Number(log!["places"]));
          duplicated += Number(log!["changes"]) - Number(log!["places"]);
          if (Number(log!["changes"]) !== acknowledged)
            violations.push(`${String(log!["changes"])} of ${acknowledged} changes`);
        }
        if (lost + duplicated > 0) violations.push(`round ${round}: ${lost} lost, ${duplicated} twice`);
      }
      // What is not committed is still at the server, and of each flow there is one slot.
      const slots = await server.query(
        `SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'millrace_${flow}_%'`,
      );
      expect(slots).toHaveLength(1);
      const faults = [...fired].map(([blow, count]) => `${blow} ${count}`).join(", ");
      recordFault({
        area: "Kills of whole runs",
        component: `run of changes of a postgres table, ${mode}`,
        fault: `SIGKILL of the runner, of the server, of both (${faults})`,
        fired: struck,
        violations: violations.length,
        records: { acknowledged, lost, duplicated },
      });
      expect(violations).toEqual([]);
      expect({ lost, duplicated }).toEqual({ lost: 0, duplicated: 0 });
      expect(fired.size).toBe(3);
      expect(acknowledged).toBeGreaterThanOrEqual(changes);
    }),
  );
});
