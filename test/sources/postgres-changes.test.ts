import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Lake } from "../../src/pipeline/index.ts";
import { errorOf } from "../contracts/support/observe.ts";
import { makePlace, published, rowsOf, type Place } from "../pipeline/place.ts";
import { startPostgres, type Postgres } from "../services/postgres.ts";
import { matrix, matrixTypes } from "./postgres-matrix.ts";

let server: Postgres;
const follower = "follower";

beforeAll(async () => {
  server = await startPostgres({
    settings: ["max_replication_slots=60", "max_wal_senders=30", "min_wal_size=32MB", "wal_sender_timeout=5s"],
  });
  // What the guide says that a role needs, and no more.
  await server.query(`CREATE ROLE ${follower} LOGIN REPLICATION PASSWORD '${server.password}';
    GRANT CONNECT ON DATABASE ${server.database} TO ${follower}; GRANT USAGE ON SCHEMA public TO ${follower};
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO ${follower}`);
});
afterAll(() => server.stop());

interface Following extends AsyncDisposable {
  place: Place;
  /** A lake, as a process of its own would open it. */
  open(): Promise<Lake>;
  /** One run in a lake of its own. */
  run(options?: { full?: boolean }): ReturnType<Lake["run"]>;
  rows(sql: string): Promise<unknown[][]>;
  /** The replication slots of the flow. */
  slots(): Promise<Record<string, string | null>[]>;
}

/** A flow that follows one table, by a publication that its owner has made. */
async function follow(
  table: string,
  flow: Record<string, unknown> = { mode: "merge", key: ["id"] },
  options: Record<string, unknown> = {},
): Promise<Following> {
  const place = await makePlace();
  const connection = {
    source: "postgres-changes",
    host: server.host,
    port: server.port,
    user: follower,
    password: server.password,
    database: server.database,
    publication: `p_${table}`,
    ...options,
  };
  const { from, ...rest } = flow as { from?: Record<string, unknown> };
  const open = (): Promise<Lake> =>
    place.open(
      { [table]: { from: { connection: "c", stream: table, ...from }, ...rest } },
      { connections: { c: connection } },
    );
  const withLake = async <T>(work: (lake: Lake) => Promise<T>): Promise<T> => {
    await using lake = await open();
    return await work(lake);
  };
  return {
    place,
    open,
    run: (more) => withLake((lake) => lake.run(table, more ?? {})),
    rows: (sql) => withLake((lake) => rowsOf(lake, sql) as Promise<unknown[][]>),
    slots: () =>
      server.query(
        `SELECT slot_name, confirmed_flush_lsn, restart_lsn FROM pg_replication_slots WHERE slot_name LIKE 'millrace_${table}_%' ORDER BY 1`,
      ),
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  };
}

async function createTable(name: string, columns = "id bigint PRIMARY KEY, v text"): Promise<void> {
  await server.query(`CREATE TABLE ${name} (${columns}); CREATE PUBLICATION p_${name} FOR TABLE ${name}`);
}

/** The dataset holds what the table holds. */
async function expectSame(following: Following, table: string): Promise<void> {
  const theirs = await server.query(`SELECT id, v FROM ${table} ORDER BY id`);
  expect(await following.rows(`select id::varchar, v from ${table} order by id`)).toEqual(
    theirs.map(({ id, v }) => [id, v]),
  );
}

describe("values", () => {
  const columns = Object.entries(matrix);

  test("every type through the log is what a reading of the table gives, inserted and updated", async () => {
    await server.query(matrixTypes);
    const list = columns.map(([name, { declared }]) => `c_${name} ${declared}`).join(", ");
    await createTable("matrix", `id bigint PRIMARY KEY, ${list}`);
    const depth = Math.max(...columns.map(([, { values }]) => values.length));
    const rowAt = (at: number): string[] => columns.map(([, { values }]) => values[at]?.[0] ?? "NULL");
    const put = async (first: number): Promise<void> => {
      for (let at = 0; at < depth; at++)
        await server.query(`INSERT INTO matrix VALUES (${first + at}, ${rowAt(at).join(", ")})`);
    };
    await put(1000);
    await using following = await follow("matrix", { mode: "append" });
    expect(await published(following.run())).toMatchObject({ read: depth, written: depth });
    await put(2000);
    for (let at = 0; at < depth; at++) {
      await server.query(`INSERT INTO matrix (id) VALUES (${3000 + at})`);
      const sets = rowAt(at).map((sql, index) => `c_${columns[index]![0]} = ${sql}`);
      await server.query(`UPDATE matrix SET ${sets.join(", ")} WHERE id = ${3000 + at}`);
    }
    expect(await published(following.run())).toMatchObject({ read: 3 * depth, written: 3 * depth });
    const casts = columns.map(([name]) => `c_${name}::varchar`).join(", ");
    for (const [first, operation] of [
      [1000, "snapshot"],
      [2000, "insert"],
      [3000, "update"],
    ] as const) {
      const found = await following.rows(
        `select ${casts} from matrix where _op = '${operation}' and id between ${first} and ${first + 999} order by id`,
      );
      for (const [column, [name, { values }]] of columns.entries()) {
        const expected = Array.from({ length: depth }, (_, at) => values[at]?.[1] ?? null);
        expect([name, operation, ...found.map((row) => row[column])]).toEqual([name, operation, ...expected]);
      }
    }
  });

  test("what has no place is rejected with its reason, and its neighbours arrive", async () => {
    const poor = columns.filter(([, { rejected }]) => rejected !== undefined);
    await createTable(
      "poor",
      `id bigint PRIMARY KEY, ${poor.map(([name, { declared }]) => `c_${name} ${declared}`).join(", ")}`,
    );
    await using following = await follow("poor");
    await published(following.run());
    let id = 0;
    for (const [name, { rejected }] of poor) {
      for (const sql of rejected!)
        await server.query(`INSERT INTO poor (id, c_${name}) VALUES (${++id}, ${sql}), (${++id}, NULL)`);
    }
    expect(await published(following.run())).toMatchObject({ read: id, written: id / 2, rejected: id / 2 });
    const reasons = (await following.rows("select reason from poor__rejected order by origin")).flat() as string[];
    for (const [name] of poor) expect(reasons.some((reason) => reason.includes(`\`c_${name}\``))).toBe(true);
  });

  test("a value stored outside of its row is kept when others change; without it in the log the run says so", async () => {
    const large = `(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) n)`;
    await createTable("toast");
    await server.query("INSERT INTO toast VALUES (1, 'small')");
    await using following = await follow("toast", { mode: "merge", key: ["id"], transform: "select * from input" });
    await server.query("ALTER TABLE toast ADD n int");
    await published(following.run());
    await server.query(`UPDATE toast SET v = ${large}; UPDATE toast SET n = 5`);
    const refused = await errorOf(() => following.run());
    expect(refused).toMatchObject({ code: "unsupported" });
    expect(refused.hint).toContain("REPLICA IDENTITY FULL");
    await server.query("ALTER TABLE toast REPLICA IDENTITY FULL");
    // The row in the log has no value, whatever the table is by now.
    expect(await errorOf(() => following.run())).toMatchObject({ code: "unsupported", where: { column: "v" } });
    await published(following.run({ full: true }));
    await server.query("UPDATE toast SET n = 6");
    await published(following.run());
    expect(await following.rows("select n from toast")).toEqual([[6]]);
    await expectSame(following, "toast");
  });
});

describe("following", () => {
  test("insertions, updates, deletions, keys that change and TRUNCATE: the dataset is the table", async () => {
    await createTable("followed");
    await server.query("INSERT INTO followed SELECT n, 'first' FROM generate_series(1, 1000) n");
    await using following = await follow("followed");
    expect(await published(following.run())).toMatchObject({ read: 1000, written: 1000 });
    expect(await following.run()).toMatchObject({ status: "unchanged" });
    const steps: [sql: string, report: Record<string, unknown>][] = [
      ["UPDATE followed SET v = 'x' WHERE id <= 10", { read: 10, written: 10, updated: 10 }],
      ["DELETE FROM followed WHERE id BETWEEN 5 AND 14", { read: 10, written: 0, deleted: 10, deletions: 10 }],
      ["UPDATE followed SET id = id + 5000 WHERE id <= 2", { read: 4, written: 2, deleted: 2 }],
      [
        "INSERT INTO followed VALUES (7, 'again'); UPDATE followed SET v = v || '!' WHERE id = 7",
        { read: 2, written: 1 },
      ],
      [
        "BEGIN; INSERT INTO followed VALUES (-1, 'no'); ROLLBACK; INSERT INTO followed VALUES (-2, NULL), (-3, '')",
        { read: 2 },
      ],
      [
        "BEGIN; DELETE FROM followed WHERE id = 7; SAVEPOINT s; DELETE FROM followed; ROLLBACK TO s; COMMIT",
        { deleted: 1 },
      ],
      [
        "INSERT INTO followed VALUES (-9, 'gone'); TRUNCATE followed; INSERT INTO followed VALUES (1, 'new')",
        { read: 3, written: 1 },
      ],
    ];
    for (const [sql, report] of steps) {
      await server.query(sql);
      expect(await published(following.run()), sql).toMatchObject(report);
      await expectSame(following, "followed");
    }
    // One slot, and no candidate beside it.
    expect(await following.slots()).toHaveLength(1);
  });

  test("with `append` the dataset is the log, in the order of commits", async () => {
    await createTable("logged");
    await using following = await follow("logged", { mode: "append" });
    await published(following.run());
    await server.query(
      "INSERT INTO logged VALUES (1, 'a'); UPDATE logged SET v = 'b'; DELETE FROM logged; TRUNCATE logged",
    );
    expect(await published(following.run())).toMatchObject({ read: 4, written: 4 });
    expect(await following.rows("select _op, id::int, v, _deleted, _index from logged order by _lsn, _index")).toEqual(
      [
        ["insert", 1, "a", false, 1n],
        ["update", 1, "b", false, 2n],
        ["delete", 1, null, true, 3n],
        ["truncate", null, null, true, 4n],
      ].map((row) => row.map((value) => (typeof value === "bigint" ? expect.anything() : value))),
    );
    const [[moments]] = (await following.rows(
      "select count(distinct _committed_at) from logged where _xid is not null",
    )) as [[number]];
    expect(Number(moments)).toBeGreaterThan(0);
  });

  test("a large transaction comes whole, in a lake that stays open, and its log is let go only after the commit", async () => {
    await createTable("large");
    await using following = await follow(
      "large",
      { mode: "merge", key: ["id"], from: { part_bytes: 100_000 } },
      { maxBytes: 50_000 },
    );
    await using lake = await following.open();
    await published(lake.run("large"));
    const [before] = await following.slots();
    await server.query(
      "INSERT INTO large SELECT n, repeat('x', 100) FROM generate_series(1, 9900) n; INSERT INTO large VALUES (0, 'later')",
    );
    await server.query("INSERT INTO large VALUES (-1, 'last')");
    expect(await published(lake.run("large"))).toMatchObject({ read: 9_901 });
    const [after] = await following.slots();
    expect(after!.confirmed_flush_lsn).toBe(before!.confirmed_flush_lsn);
    await published(lake.run("large"));
    expect((await following.slots())[0]!.confirmed_flush_lsn).not.toBe(before!.confirmed_flush_lsn);
    await expectSame(following, "large");
    // Nobody has to wait for it.
    await server.query("ALTER TABLE large ADD n int");
  });

  test("columns that come, go and are renamed", async () => {
    await createTable("drifting");
    await using following = await follow("drifting");
    await published(following.run());
    await server.query(`INSERT INTO drifting VALUES (1, 'a'); ALTER TABLE drifting ADD w int DEFAULT 7; INSERT INTO drifting VALUES (2, 'b');
      ALTER TABLE drifting ADD x text; INSERT INTO drifting VALUES (3, 'c', 8, 'x')`);
    await published(following.run());
    expect(await following.rows("select id::int, v, w, x from drifting order by id")).toEqual([
      [1, "a", null, null],
      [2, "b", 7, null],
      [3, "c", 8, "x"],
    ]);
    await server.query(
      "INSERT INTO drifting VALUES (4, 'd', 9, 'y'); ALTER TABLE drifting DROP x; INSERT INTO drifting VALUES (5, 'e', 10)",
    );
    await published(following.run());
    expect(await following.rows("select id::int, w, x from drifting where id > 3 order by id")).toEqual([
      [4, 9, null],
      [5, 10, null],
    ]);
    await server.query(
      "INSERT INTO drifting VALUES (6, 'f', 11); ALTER TABLE drifting RENAME w TO z; INSERT INTO drifting VALUES (7, 'g', 12)",
    );
    expect(await errorOf(() => following.run())).toMatchObject({ code: "conflict" });
    await published(following.run({ full: true }));
    expect(await following.rows("select id::int, z from drifting where id > 5 order by id")).toEqual([
      [6, 11],
      [7, 12],
    ]);
  });
});

describe("gaps", () => {
  test("a slot that was dropped, made anew or read by somebody else: the run says so, and `--full` mends it", async () => {
    await createTable("gapped");
    await server.query("INSERT INTO gapped VALUES (1, 'a'), (2, 'b')");
    await using following = await follow("gapped");
    await published(following.run());
    await server.query("INSERT INTO gapped VALUES (3, 'c')");
    await published(following.run());
    const [slot] = await following.slots();
    const name = slot!.slot_name!;
    const mends = async (): Promise<void> => {
      const error = await errorOf(() => following.run());
      expect(error).toMatchObject({ code: "conflict" });
      expect(`${error.message} ${error.hint}`).toContain("--full");
      const report = await published(following.run({ full: true }));
      expect(report.deleted).toBeGreaterThan(0);
      await expectSame(following, "gapped");
      await server.query("INSERT INTO gapped SELECT max(id) + 1, 'next' FROM gapped");
      await published(following.run());
      await expectSame(following, "gapped");
    };
    await server.query(`SELECT pg_drop_replication_slot('${name}')`);
    await server.query("DELETE FROM gapped WHERE id = 1");
    await mends();
    await server.query(`SELECT pg_drop_replication_slot('${name}'); INSERT INTO gapped VALUES (100, 'unseen')`);
    await server.query(`SELECT pg_create_logical_replication_slot('${name}', 'pgoutput')`);
    await mends();
    await server.query("INSERT INTO gapped VALUES (200, 'unseen')");
    await server.query(`SELECT pg_replication_slot_advance('${name}', pg_current_wal_lsn())`);
    await mends();
    await server.query("DROP TABLE gapped CASCADE");
    await server.query("CREATE TABLE gapped (id bigint PRIMARY KEY, v text)");
    await server.query("ALTER PUBLICATION p_gapped ADD TABLE gapped");
    const error = await errorOf(() => following.run());
    expect([error.code, error.message]).toEqual(["conflict", expect.stringContaining("made anew")]);
  });

  test("log that the server has removed", async () => {
    await createTable("removed");
    await using following = await follow("removed");
    await published(following.run());
    await server.query("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
    await server.query("SELECT pg_reload_conf()");
    try {
      for (let segment = 0; segment < 4; segment++) {
        await server.query("INSERT INTO removed VALUES ((SELECT count(*) FROM removed), 'x')");
        await server.query("SELECT pg_switch_wal()");
      }
      await server.query("CHECKPOINT");
      const [state] = await server.query(
        "SELECT wal_status FROM pg_replication_slots WHERE slot_name LIKE 'millrace_removed_%'",
      );
      expect(state!.wal_status).toBe("lost");
      const error = await errorOf(() => following.run());
      expect(error).toMatchObject({ code: "conflict" });
    } finally {
      await server.query("ALTER SYSTEM RESET max_slot_wal_keep_size");
      await server.query("SELECT pg_reload_conf()");
    }
    await published(following.run({ full: true }));
    await expectSame(following, "removed");
  });

  test("a first reading that did not come to its end leaves nothing behind that stands in the way", async () => {
    await createTable("begun");
    await server.query("INSERT INTO begun VALUES (1, 'a')");
    const checks = [{ check: "row-count", min: 5 }];
    await using following = await follow("begun", { mode: "merge", key: ["id"], checks });
    for (let time = 0; time < 2; time++) expect(await following.run()).toMatchObject({ status: "failed" });
    expect(await following.slots()).toEqual([expect.objectContaining({ slot_name: expect.stringMatching(/_new$/) })]);
  });
});

test("what keeps changes from being read is said with the statement that mends it, before anything is made", async () => {
  const refused = async (table: string, options: Record<string, unknown> = {}): Promise<[string, string]> => {
    await using following = await follow(table, undefined, options);
    const error = await errorOf(() => following.run());
    expect(await following.slots()).toEqual([]);
    return [error.code, `${error.message} ${error.hint ?? ""}`];
  };
  await createTable("keyless", "id bigint, v text");
  expect(await refused("keyless")).toEqual(["unsupported", expect.stringContaining("REPLICA IDENTITY FULL")]);
  await server.query("CREATE UNLOGGED TABLE unlogged (id bigint PRIMARY KEY, v text)");
  expect(await refused("unlogged")).toEqual(["unsupported", expect.stringContaining("SET LOGGED")]);
  await server.query("CREATE VIEW seen AS SELECT 1 AS id, 'x' AS v");
  expect((await refused("seen"))[0]).toBe("unsupported");
  await server.query("CREATE TABLE unpublished (id bigint PRIMARY KEY, v text)");
  expect(await refused("unpublished")).toEqual(["not-found", expect.stringContaining("CREATE PUBLICATION")]);
  expect(await refused("unpublished", { publication: undefined })).toEqual([
    "permission",
    expect.stringContaining("CREATE PUBLICATION"),
  ]);
  await server.query(
    "CREATE TABLE partly (id bigint PRIMARY KEY, v text); CREATE PUBLICATION p_partly FOR TABLE partly WHERE (id > 1)",
  );
  expect(await refused("partly")).toEqual(["config", expect.stringContaining("some rows")]);
  await server.query(
    "CREATE TABLE silent (id bigint PRIMARY KEY, v text); CREATE PUBLICATION p_silent FOR TABLE silent WITH (publish = 'insert')",
  );
  expect(await refused("silent")).toEqual(["config", expect.stringContaining("update, delete, truncate")]);
  await createTable("unkeyed");
  await using other = await follow("unkeyed", { mode: "merge", key: ["v"] });
  expect(await errorOf(() => other.run())).toMatchObject({ code: "config", where: { column: "v" } });
});
