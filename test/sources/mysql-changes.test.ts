import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Cursor, Source } from "../../src/core/index.ts";
import definition from "../../src/sources/mysql-changes/index.ts";
import { inScratch } from "../faults/sweep.ts";
import { type Mariadb, startMariadb } from "../services/mariadb.ts";
import { loadLake } from "../support/lake.ts";
import { openMysql, readAll, type Cells } from "./mysql-support.ts";

const logged = [
  "--log-bin=changes",
  "--server-id=7",
  "--binlog-format=ROW",
  "--binlog-row-image=FULL",
  "--binlog-row-metadata=FULL",
  "--sync-binlog=1",
];
let server: Mariadb;
beforeAll(async () => {
  server = await startMariadb(logged);
  await server.run(`GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO ${server.user}`);
});
afterAll(() => server[Symbol.asyncDispose]());

const openChanges = async (options: Record<string, unknown> = {}): Promise<Source> =>
  (await definition.load()).open(definition.options.parse({ url: server.url, ...options }), {
    connection: "shop",
    folder: tmpdir(),
    engine: { describe: () => Promise.reject(new Error("asked")), query: () => Promise.reject(new Error("asked")) },
  });

/** Value columns, and what happened to them. */
const values = (rows: readonly Cells[], columns: number): Cells[] => rows.map((row) => row.slice(0, columns));
const operations = (rows: readonly Cells[], columns: number): (string | null)[] => rows.map((row) => row[columns]!);

const types: [string, string, string[]][] = [
  ["tiny", "TINYINT", ["-128", "127"]],
  ["tiny_u", "TINYINT UNSIGNED", ["0", "255"]],
  ["small", "SMALLINT", ["-32768", "7"]],
  ["medium", "MEDIUMINT", ["-8388608", "8388607"]],
  ["number", "INT UNSIGNED ZEROFILL", ["4294967295", "1"]],
  ["big", "BIGINT", ["-9223372036854775808", "9007199254740993"]],
  ["big_u", "BIGINT UNSIGNED", ["18446744073709551615", "1"]],
  ["exact", "DECIMAL(38,10)", ["1234567890123456789012345678.0123456789", "-0.0000000001"]],
  ["single", "FLOAT", ["0.1", "-1.5e20"]],
  ["twice", "DOUBLE", ["0.1", "1.7976931348623157e308"]],
  ["flag", "BIT(1)", ["b'1'", "b'0'"]],
  ["bits", "BIT(64)", ["b'1111111111111111111111111111111111111111111111111111111111111111'", "b'101'"]],
  ["at_year", "YEAR", ["2155", "0"]],
  ["day", "DATE", ["'2026-11-24'", "'1000-01-01'"]],
  ["moment", "DATETIME(6)", ["'2026-11-24 01:02:03.123456'", "'1000-01-01 00:00:00.000001'"]],
  ["plain_moment", "DATETIME", ["'2026-11-24 01:02:03'", "'9999-12-31 23:59:59'"]],
  ["stamp", "TIMESTAMP(6) NULL", ["'2026-06-24 01:02:03.654321'", "'1970-01-02 00:00:01.000001'"]],
  ["span", "TIME(3)", ["'-838:59:58.999'", "'00:00:00.001'"]],
  ["fixed", "CHAR(10)", ["'ab\"c, d'", "''"]],
  ["name", "VARCHAR(300) CHARACTER SET utf8mb4", ["'naïve 🎈\nline'", "''"]],
  ["latin", "VARCHAR(20) CHARACTER SET latin1", ["'café €'", "'ÿ'"]],
  ["long_text", "LONGTEXT", ["REPEAT('é', 5000)", "NULL"]],
  ["state", "ENUM('a','b, c','d''e')", ["'b, c'", "'d''e'"]],
  ["many", "SET('x','y','z')", ["'x,z'", "''"]],
  ["code", "BINARY(4)", ["x'0100'", "x'00000000'"]],
  ["bytes", "VARBINARY(10)", ["x'00FF'", "''"]],
  ["blob_", "BLOB", ["x'DEADBEEF'", "NULL"]],
  ["document", "JSON", ['\'{"a": [1, 2.50, "ü"]}\'', "NULL"]],
  ["uid", "UUID", ["'123e4567-e89b-12d3-a456-426655440000'", "'ffffffff-ffff-4fff-8fff-ffffffffffff'"]],
];

test("values of the log are those that a SELECT gives, of every type", async () => {
  const columns = types.map(([name, type]) => `\`${name}\` ${type}`);
  await server.run("DROP TABLE IF EXISTS matrix", `CREATE TABLE matrix (id INT PRIMARY KEY, ${columns.join(", ")})`);
  await using source = await openChanges();
  const first = await readAll(source, { stream: "matrix" });
  expect(first.rows).toEqual([]);
  await server.run("SET SESSION sql_mode = ''");
  for (const which of [0, 1]) {
    await server.run(
      `INSERT INTO matrix VALUES (${[which + 1, ...types.map(([, , each]) => each[which]!)].join(", ")})`,
    );
  }
  await server.run("INSERT INTO matrix (id) VALUES (3)");
  const { rows, plan } = await readAll(source, { stream: "matrix" }, first.plan.cursor);
  const width = types.length + 1;
  expect(operations(rows, width)).toEqual(["insert", "insert", "insert"]);
  await using plain = await openMysql({ url: server.url });
  const selected = await readAll(plain, { stream: "matrix" });
  const found = values(rows, width);
  for (const [index, row] of selected.rows.entries()) {
    for (const [at, cell] of row.entries()) {
      const name = at === 0 ? "id" : types[at - 1]![0];
      const same = ["single", "twice", "number"].includes(name)
        ? Number(found[index]![at]) === Number(cell)
        : found[index]![at] === cell;
      expect(`${name} of row ${index + 1}: ${same ? "same" : `${found[index]![at]} and not ${cell}`}`).toBe(
        `${name} of row ${index + 1}: same`,
      );
    }
  }
  expect(plan.columns.slice(0, width).map(({ type }) => type)).toEqual(selected.plan.columns.map(({ type }) => type));
});

test("insertions, updates, deletions and truncations come in their order, once each, with their transactions", async () => {
  await server.run(
    "DROP TABLE IF EXISTS orders",
    "CREATE TABLE orders (id INT PRIMARY KEY, state VARCHAR(20))",
    "CREATE TABLE IF NOT EXISTS others (id INT)",
  );
  await server.run("INSERT INTO orders VALUES (1, 'old'), (2, 'old')");
  let cursor: Cursor;
  {
    await using source = await openChanges();
    const first = await readAll(source, { stream: "orders" });
    expect(first.rows.map((row) => row.slice(0, 3))).toEqual([
      ["1", "old", "snapshot"],
      ["2", "old", "snapshot"],
    ]);
    cursor = first.plan.cursor!;
    const again = await source.plan({ stream: "orders" }, { after: cursor });
    expect(again.parts).toEqual([]);
  }
  await server.run(
    "START TRANSACTION",
    "INSERT INTO orders VALUES (3, 'new'), (4, 'new')",
    "INSERT INTO others VALUES (1)",
    "UPDATE orders SET state = 'paid' WHERE id IN (1, 3)",
    "DELETE FROM orders WHERE id = 4",
    "COMMIT",
    "UPDATE orders SET id = 22 WHERE id = 2",
    "START TRANSACTION",
    "INSERT INTO orders VALUES (5, 'never')",
    "ROLLBACK",
  );
  await server.run("FLUSH LOGS", "TRUNCATE TABLE orders", "INSERT INTO orders VALUES (6, 'after')");
  await using source = await openChanges();
  expect(await source.wait!({ stream: "orders" }, { after: cursor, milliseconds: 1 })).toBe(true);
  expect((await source.lag!({ stream: "orders" }, { after: cursor })).bytes).toBeGreaterThan(100);
  const { rows, plan } = await readAll(source, { stream: "orders" }, cursor);
  expect(rows.map((row) => [...row.slice(0, 3), row[8]])).toEqual([
    ["3", "new", "insert", "false"],
    ["4", "new", "insert", "false"],
    ["1", "paid", "update", "false"],
    ["3", "paid", "update", "false"],
    ["4", "new", "delete", "true"],
    ["2", "old", "delete", "true"],
    ["22", "old", "update", "false"],
    [null, null, "truncate", "false"],
    ["6", "after", "insert", "false"],
  ]);
  const places = rows.map((row) => row.slice(3, 6).map(Number));
  expect(places).toEqual(
    places.toSorted((left, right) => left[0]! - right[0]! || left[1]! - right[1]! || left[2]! - right[2]!),
  );
  expect(new Set(places.map((place) => place.join(" "))).size).toBe(rows.length);
  expect(new Set(rows.slice(0, 5).map((row) => row[6])).size).toBe(1);
  expect(rows[0]![6]).toMatch(/^0-7-\d+$/);
  // The same part gives the same rows, to another process, too.
  await using other = await openChanges();
  const payload = await other.read(JSON.parse(JSON.stringify(plan.parts[0])), { stream: "orders" }, {});
  expect(payload.form).toBe("bytes");
  await server.run("INSERT INTO others VALUES (2)");
  const idle = await source.plan({ stream: "orders" }, { after: plan.cursor! });
  expect(idle.parts).toEqual([]);
  expect(idle.cursor).toEqual(plan.cursor);
});

test("a dataset follows its table, also while rows come in from many sides", { timeout: 60_000 }, () =>
  inScratch(async (folder) => {
    await server.run(
      "DROP TABLE IF EXISTS stock",
      "CREATE TABLE stock (id INT PRIMARY KEY, amount INT, note VARCHAR(40))",
    );
    await server.run("INSERT INTO stock SELECT seq, seq, 'first' FROM seq_1_to_2000");
    const connections = { shop: { source: "mysql-changes", url: server.url } };
    const flows = { stock: { from: { connection: "shop", stream: "stock" }, mode: "merge", key: ["id"] } };
    writeFileSync(join(folder, "millrace.yaml"), JSON.stringify({ store: "./lake", connections, flows }));
    const state = async (): Promise<unknown> => {
      await using lake = await loadLake(folder);
      const { rows } = await lake.query(
        "SELECT count(*)::INT AS n, sum(id)::INT AS ids, sum(amount)::INT AS amounts FROM stock",
      );
      return rows[0];
    };
    const table = async (): Promise<unknown> => {
      const [row] = await server.query("SELECT count(*) AS n, sum(id) AS ids, sum(amount) AS amounts FROM stock");
      return { n: Number(row!["n"]), ids: Number(row!["ids"]), amounts: Number(row!["amounts"]) };
    };
    const writing = { goesOn: true };
    let written = 0;
    const writer = (async () => {
      for (let id = 10_000; writing.goesOn; id++, written++) {
        await server.run(
          `INSERT INTO stock VALUES (${id}, 1, 'late')`,
          `UPDATE stock SET amount = amount + 1 WHERE id % 97 = ${id % 97}`,
          `DELETE FROM stock WHERE id = ${id - 9_900}`,
        );
      }
    })();
    await using lake = await loadLake(folder);
    for (let round = 0; round < 4; round++) {
      const before = written;
      const report = await lake.run("stock");
      expect(report.read).toBe(report.written + report.rejected + report.filtered);
      while (written < before + 20) await new Promise(setImmediate);
    }
    writing.goesOn = false;
    await writer;
    const last = await lake.run("stock");
    expect(last.deletions).toBeGreaterThan(0);
    expect(await state()).toEqual(await table());
    expect((await lake.run("stock")).status).toBe("unchanged");
  }),
);

test("what keeps changes from being read is said, with what mends it", async () => {
  await server.run(
    "DROP TABLE IF EXISTS gone",
    "CREATE TABLE gone (id INT PRIMARY KEY, a INT)",
    "INSERT INTO gone VALUES (1, 1)",
  );
  await using source = await openChanges();
  const { plan } = await readAll(source, { stream: "gone" });
  // Once it is committed nothing is held: the table can be altered.
  await source.plan({ stream: "gone" }, { after: plan.cursor! });
  await server.run("INSERT INTO gone VALUES (2, 2)", "ALTER TABLE gone DROP COLUMN a");
  const next = await source.plan({ stream: "gone" }, { after: plan.cursor! });
  const drain = async (): Promise<void> => {
    const payload = await source.read(next.parts[0]!, { stream: "gone" }, {});
    if (payload.form === "bytes") for await (const _ of payload.chunks);
  };
  await expect(drain()).rejects.toMatchObject({ code: "schema", hint: expect.stringContaining("--full") as string });

  await server.run("FLUSH LOGS", "FLUSH LOGS", "INSERT INTO gone VALUES (3)");
  // The server keeps files for as long as one that reads them has not gone.
  for (
    let logs = await server.query("SHOW BINARY LOGS");
    logs.length > 1;
    logs = await server.query("SHOW BINARY LOGS")
  ) {
    await server.run(`PURGE BINARY LOGS TO '${String(logs.at(-1)!["Log_name"])}'`);
  }
  await expect(readAll(source, { stream: "gone" }, plan.cursor)).rejects.toMatchObject({ code: "not-found" });

  for (const [setting, value, restore] of [
    ["binlog_row_image", "MINIMAL", "FULL"],
    ["binlog_row_metadata", "NO_LOG", "FULL"],
    ["binlog_format", "MIXED", "ROW"],
  ] as const) {
    await server.run(`SET GLOBAL ${setting} = '${value}'`);
    await expect(source.plan({ stream: "gone" }, {})).rejects.toMatchObject({
      code: "config",
      hint: expect.stringContaining(`SET GLOBAL ${setting} = '${restore}'`) as string,
    });
    await server.run(`SET GLOBAL ${setting} = '${restore}'`);
  }
  await expect(source.plan({ query: "SELECT 1" }, {})).rejects.toMatchObject({ code: "unsupported" });
});

test("the rights that the guide names are enough, and one that is missing is named", async () => {
  await server.run(
    "CREATE TABLE IF NOT EXISTS granted (id INT PRIMARY KEY)",
    "CREATE OR REPLACE USER follower IDENTIFIED BY 'secret-word'",
    "GRANT SELECT, LOCK TABLES ON shop.* TO follower",
    "GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO follower",
  );
  const url = server.url.replace(/\/\/.*@/, "//follower:secret-word@");
  {
    await using source = await openChanges({ url });
    const { plan } = await readAll(source, { stream: "granted" });
    await server.run("REPLACE INTO granted VALUES (1)");
    expect((await readAll(source, { stream: "granted" }, plan.cursor)).rows).toHaveLength(1);
  }
  await server.run("REVOKE REPLICATION SLAVE, BINLOG MONITOR ON *.* FROM follower");
  await using source = await openChanges({ url });
  const error = (await source.plan({ stream: "granted" }, {}).catch((problem: unknown) => problem)) as {
    code: string;
    hint: string;
    message: string;
  };
  expect(error).toMatchObject({ code: "permission" });
  expect(JSON.stringify(error)).not.toContain("secret-word");
});
