import mysql from "mysql2/promise";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Cursor, Source } from "../../src/core/index.ts";
import { startMariadb, type Mariadb } from "../services/mariadb.ts";
import { errorOf, openShop, readOnce, sorted, type Cells } from "./mysql-support.ts";

let server: Mariadb;
let source: Source;

beforeAll(async () => {
  server = await startMariadb();
  source = await openShop(server);
});
afterAll(async () => {
  await source[Symbol.asyncDispose]();
  await server.stop();
});

/** Through JSON, as a dataset keeps it. */
const kept = (cursor: Cursor | undefined): Cursor => JSON.parse(JSON.stringify(cursor)) as Cursor;
const column = (rows: readonly Cells[], index = 0): (string | null)[] => rows.map((row) => row[index]!);

describe("reading on from a cursor", () => {
  test("each run gives what is new, and nothing twice", async () => {
    await server.run(
      "CREATE TABLE events (id int AUTO_INCREMENT PRIMARY KEY, at datetime NOT NULL, what varchar(20))",
      "INSERT INTO events (at, what) VALUES ('2024-01-01', 'a'), ('2024-01-02', 'b'), ('2024-01-02', 'c')",
    );
    const request = { stream: "events", cursor: "at" };
    const first = await readOnce(server, request);
    expect(column(first.rows, 2)).toEqual(["a", "b", "c"]);
    expect(first.plan.cursor).toMatchObject({
      version: 1,
      column: "at",
      type: "datetime",
      value: "2024-01-02 00:00:00",
      lag: 0,
    });

    const idle = await readOnce(server, request, kept(first.plan.cursor));
    expect(idle.plan.parts).toEqual([]);
    expect(idle.plan.cursor).toEqual(first.plan.cursor);

    // One more at the boundary, one beyond it, and one before it, which only a lag finds.
    await server.run(
      "INSERT INTO events (at, what) VALUES ('2024-01-02', 'd'), ('2024-01-03', 'e'), ('2023-12-31', 'late')",
    );
    const second = await readOnce(server, request, kept(first.plan.cursor));
    expect(sorted(column(second.rows, 2))).toEqual(["d", "e"]);
    expect(second.plan.overlap).toBeUndefined();

    // A row that changes without a new time.
    await server.run("UPDATE events SET what = 'E' WHERE what = BINARY 'e'");
    const third = await readOnce(server, request, kept(second.plan.cursor));
    expect(column(third.rows, 2)).toEqual(["E"]);
    await server.run("DELETE FROM events WHERE what = 'E'");
    expect((await readOnce(server, request, kept(third.plan.cursor))).plan.parts).toEqual([]);
  });

  test("identical rows without a key are counted", async () => {
    await server.run(
      "CREATE TABLE clicks (at int NOT NULL, page varchar(10))",
      "INSERT INTO clicks VALUES (1, 'x'), (5, 'y'), (5, 'y'), (5, NULL), (5, '')",
    );
    const request = { stream: "clicks", cursor: "at" };
    const first = await readOnce(server, request);
    expect(first.rows).toHaveLength(5);
    await server.run("INSERT INTO clicks VALUES (5, 'y'), (5, NULL), (5, 'z')");
    const second = await readOnce(server, request, kept(first.plan.cursor));
    expect(sorted(second.rows)).toEqual(
      sorted([
        ["5", "y"],
        ["5", "z"],
        ["5", null],
      ]),
    );
    await server.run("INSERT INTO clicks VALUES (5, 'y'), (6, '')");
    const third = await readOnce(server, request, kept(second.plan.cursor));
    expect(sorted(third.rows)).toEqual([
      ["5", "y"],
      ["6", ""],
    ]);
  });

  test("more rows at the boundary than a cursor holds: all of them again, and it says so", async () => {
    await server.run(
      "CREATE TABLE bulk (id int PRIMARY KEY, day date NOT NULL)",
      "INSERT INTO bulk SELECT seq, '2024-01-01' FROM seq_1_to_10500",
    );
    const request = { stream: "bulk", cursor: "day" };
    const first = await readOnce(server, request);
    expect((first.plan.cursor as { boundary: object }).boundary).not.toHaveProperty("hashes");
    expect((await readOnce(server, request, kept(first.plan.cursor))).plan.parts).toEqual([]);
    await server.run("INSERT INTO bulk VALUES (20000, '2024-01-01')");
    const again = await readOnce(server, request, kept(first.plan.cursor));
    expect(again.rows).toHaveLength(10_501);
    expect(again.plan.overlap).toBe(true);
    await server.run("DELETE FROM bulk WHERE id BETWEEN 1000 AND 20000");
    const fewer = await readOnce(server, { ...request }, undefined);
    await server.run("INSERT INTO bulk VALUES (1000, '2024-01-01'), (1001, '2024-01-02')");
    const exact = await readOnce(server, request, kept(fewer.plan.cursor));
    expect(sorted(column(exact.rows))).toEqual(["1000", "1001"]);
    expect(exact.plan.overlap).toBeUndefined();
  });

  test("a lag reads the window again only when something in it changed", async () => {
    await server.run(
      "CREATE TABLE slow (id int PRIMARY KEY, at timestamp(3) NOT NULL)",
      "INSERT INTO slow VALUES (1, '2024-01-01 10:00:00'), (2, '2024-01-01 11:00:00'), (3, '2024-01-01 11:59:50')",
    );
    const request = { stream: "slow", cursor: "at", lag: 1800 };
    const first = await readOnce(server, request);
    expect((await readOnce(server, request, kept(first.plan.cursor))).plan.parts).toEqual([]);
    await server.run("INSERT INTO slow VALUES (4, '2024-01-01 12:00:00')");
    const newer = await readOnce(server, request, kept(first.plan.cursor));
    expect([column(newer.rows), newer.plan.overlap]).toEqual([["4"], undefined]);
    await server.run("INSERT INTO slow VALUES (5, '2024-01-01 11:45:00')");
    const late = await readOnce(server, request, kept(newer.plan.cursor));
    expect([sorted(column(late.rows)), late.plan.overlap]).toEqual([["3", "4", "5"], true]);
  });

  test.each([
    ["bigint unsigned", "18446744073709551614", "18446744073709551615"],
    ["decimal(20,5)", "-0.00002", "-0.00001"],
    ["double", "0.1", "0.10000000000000002"],
    ["float", "0.1", "0.2"],
    ["date", "'2024-02-28'", "'2024-02-29'"],
    ["timestamp(6)", "'2024-01-01 00:00:00.000001'", "'2024-01-01 00:00:00.000002'"],
    ["varchar(20) character set latin1", "'it''s \"ä\\\\'", "'z'"],
    ["int(6) zerofill", "7", "8"],
  ])("by a column of %s", async (type, low, high) => {
    await server.run(
      `CREATE OR REPLACE TABLE typed (c ${type} NOT NULL, n int)`,
      `INSERT INTO typed VALUES (${low}, 1)`,
    );
    const request = { stream: "typed", cursor: "c" };
    const first = await readOnce(server, request);
    expect(column(first.rows, 1)).toEqual(["1"]);
    await server.run(`INSERT INTO typed VALUES (${low}, 2), (${high}, 3)`);
    const second = await readOnce(server, request, kept(first.plan.cursor));
    expect(column(second.rows, 1)).toEqual(["2", "3"]);
    expect((await readOnce(server, request, kept(second.plan.cursor))).plan.parts).toEqual([]);
  });

  test("a query and a view have cursors too; chosen columns need not hold it", async () => {
    await server.run(
      "CREATE TABLE facts (id int PRIMARY KEY, v varchar(10))",
      "INSERT INTO facts VALUES (1, 'a'), (2, 'b')",
      "CREATE VIEW seen AS SELECT id, v FROM facts",
    );
    for (const relation of [{ query: "SELECT id + 0 AS id, v FROM facts WHERE v <> '' ; " }, { stream: "seen" }]) {
      const request = { ...relation, cursor: "id", columns: ["v"] };
      const first = await readOnce(server, request);
      await server.run("INSERT INTO facts SELECT MAX(id) + 1, 'new' FROM facts");
      const second = await readOnce(server, request, kept(first.plan.cursor));
      expect(second.rows).toEqual([["new"]]);
    }
  });

  test("an empty table has no position until it has rows", async () => {
    await server.run("CREATE TABLE later (id int PRIMARY KEY)");
    const request = { stream: "later", cursor: "id" };
    const first = await source.plan(request, {});
    expect([first.parts, first.cursor]).toEqual([[], undefined]);
    await server.run("INSERT INTO later VALUES (1)");
    const second = await readOnce(server, request);
    expect(second.rows).toEqual([["1"]]);
    await server.run("DELETE FROM later");
    const emptied = await source.plan(request, { after: kept(second.plan.cursor) });
    expect([emptied.parts, emptied.cursor]).toEqual([[], second.plan.cursor]);
  });

  test("parts of a first load cover what the cursor says", async () => {
    await server.run(
      "CREATE TABLE big (id int PRIMARY KEY, at int NOT NULL, t char(100))",
      "INSERT INTO big SELECT seq, seq MOD 100, 'x' FROM seq_1_to_20000",
      "ANALYZE TABLE big",
    );
    const request = { stream: "big", cursor: "at", partBytes: 200_000 };
    const first = await readOnce(server, request);
    expect(first.plan.parts.length).toBeGreaterThan(3);
    expect(new Set(column(first.rows)).size).toBe(20_000);
    await server.run("INSERT INTO big SELECT seq + 50000, 99 + seq, 'y' FROM seq_0_to_5000");
    const second = await readOnce(server, request, kept(first.plan.cursor));
    expect(new Set(column(second.rows)).size).toBe(5_001);
    expect(second.rows).toHaveLength(5_001);
  });
});

describe("what cannot be read on from", () => {
  test("rows without a value, types without order, columns that do not exist", async () => {
    await server.run(
      "CREATE TABLE odd (id int PRIMARY KEY, at datetime, j json, e enum('b','a') NOT NULL)",
      "INSERT INTO odd VALUES (1, NULL, '{}', 'a')",
    );
    expect(await errorOf(() => source.plan({ stream: "odd", cursor: "at" }, {}))).toMatchObject({
      code: "value",
      message: expect.stringContaining("`at` is empty in some rows"),
    });
    expect(await errorOf(() => source.plan({ stream: "odd", cursor: "e" }, {}))).toMatchObject({
      code: "config",
      message: expect.stringContaining("no usable order"),
    });
    expect(await errorOf(() => source.plan({ stream: "odd", cursor: "idd" }, {}))).toMatchObject({
      code: "not-found",
      hint: expect.stringContaining("`id`"),
    });
  });

  test("a cursor of another column, type or version", async () => {
    await server.run(
      "CREATE TABLE turned (id int PRIMARY KEY, at datetime NOT NULL)",
      "INSERT INTO turned VALUES (1, '2024-01-01')",
    );
    const { plan } = await readOnce(server, { stream: "turned", cursor: "at" });
    expect(
      await errorOf(() => source.plan({ stream: "turned", cursor: "id" }, { after: kept(plan.cursor) })),
    ).toMatchObject({ code: "conflict" });
    expect(
      await errorOf(() => source.plan({ stream: "turned", cursor: "at" }, { after: { ...plan.cursor, version: 9 } })),
    ).toMatchObject({ code: "conflict" });
    await server.run("ALTER TABLE turned MODIFY at varchar(30) NOT NULL");
    expect(
      await errorOf(() => source.plan({ stream: "turned", cursor: "at" }, { after: kept(plan.cursor) })),
    ).toMatchObject({ code: "conflict", message: expect.stringContaining("now has the type `varchar`") });
  });
});

test("rows with the value of the last read are committed all the time: nothing lost, nothing twice", async () => {
  await server.run(
    "CREATE TABLE busy (id int AUTO_INCREMENT PRIMARY KEY, at int NOT NULL, writer int NOT NULL, n int NOT NULL)",
  );
  const writers = await Promise.all([1, 2, 3].map(() => mysql.createConnection(server.url)));
  const until = Date.now() + 1500;
  let inserted = 0;
  const write = async (): Promise<void> => {
    for (let at = 0; Date.now() < until; at++) {
      const round = writers.map(async (connection, writer) => {
        for (let n = 0; n < 20; n++, inserted++) {
          await connection.query(`INSERT INTO busy (at, writer, n) VALUES (${at}, ${writer}, ${n})`);
        }
      });
      await Promise.all(round);
    }
  };
  const seen: string[] = [];
  let cursor: Cursor | undefined;
  const readOn = async (): Promise<void> => {
    const { plan, rows } = await readOnce(server, { stream: "busy", cursor: "at" }, cursor);
    expect(plan.overlap).toBeUndefined();
    for (const row of rows) seen.push(row.slice(1).join("/"));
    cursor = plan.cursor === undefined ? undefined : kept(plan.cursor);
  };
  const read = async (): Promise<void> => {
    while (Date.now() < until) await readOn();
  };
  await Promise.all([write(), read()]);
  await readOn();
  await Promise.all(writers.map((connection) => connection.end()));
  expect(inserted).toBeGreaterThan(100);
  expect(seen).toHaveLength(inserted);
  expect(new Set(seen).size).toBe(inserted);
});
