import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isMillraceError, type Column, type Source, type StreamInfo } from "../../src/core/index.ts";
import { startMariadb, type Mariadb } from "../services/mariadb.ts";
import { errorOf, openConnections, openMysql, openShop, readAll } from "./mysql-support.ts";

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

function typesOf(columns: readonly Column[]): Record<string, unknown> {
  return Object.fromEntries(columns.map((column) => [column.name, column.type]));
}

async function streamsOf(of: Source): Promise<StreamInfo[]> {
  const found: StreamInfo[] = [];
  for await (const stream of of.streams()) found.push(stream);
  return found;
}

describe("types", () => {
  /** Definition, the dataset's type, then pairs of a value in SQL and the text that arrives. */
  const matrix: Record<string, [definition: string, type: string, ...values: [sql: string, text: string | null][]]> = {
    ti: ["tinyint", "int", ["-128", "-128"], ["127", "127"], ["NULL", null]],
    tiu: ["tinyint unsigned", "int", ["0", "0"], ["255", "255"], ["NULL", null]],
    flag: ["boolean", "int", ["true", "1"], ["7", "7"], ["NULL", null]],
    si: ["smallint", "int", ["-32768", "-32768"], ["32767", "32767"], ["NULL", null]],
    siu: ["smallint unsigned", "int", ["0", "0"], ["65535", "65535"], ["NULL", null]],
    mi: ["mediumint", "int", ["-8388608", "-8388608"], ["8388607", "8388607"], ["NULL", null]],
    miu: ["mediumint unsigned", "int", ["0", "0"], ["16777215", "16777215"], ["NULL", null]],
    i: ["int", "int", ["-2147483648", "-2147483648"], ["2147483647", "2147483647"], ["NULL", null]],
    iu: ["int unsigned", "long", ["0", "0"], ["4294967295", "4294967295"], ["NULL", null]],
    iz: ["int(8) zerofill", "long", ["42", "00000042"], ["4294967295", "4294967295"], ["NULL", null]],
    bi: [
      "bigint",
      "long",
      ["-9223372036854775808", "-9223372036854775808"],
      ["9223372036854775807", "9223372036854775807"],
      ["NULL", null],
    ],
    biu: [
      "bigint unsigned",
      "decimal(20,0)",
      ["9007199254740993", "9007199254740993"],
      ["18446744073709551615", "18446744073709551615"],
      ["NULL", null],
    ],
    money: [
      "decimal(18,2)",
      "decimal(18,2)",
      ["-9999999999999999.99", "-9999999999999999.99"],
      ["0.10", "0.10"],
      ["NULL", null],
    ],
    d38: [
      "decimal(38,10)",
      "decimal(38,10)",
      [`${"9".repeat(28)}.9999999999`, `${"9".repeat(28)}.9999999999`],
      ["-0.0000000001", "-0.0000000001"],
      ["NULL", null],
    ],
    d65: [
      "decimal(65,30)",
      "string",
      [`${"9".repeat(35)}.${"9".repeat(30)}`, `${"9".repeat(35)}.${"9".repeat(30)}`],
      ["1.5", `1.5${"0".repeat(29)}`],
      ["NULL", null],
    ],
    f: [
      "float",
      "float",
      ["0.1", "0.10000000149011612"],
      ["-3.4028234663852886e38", "-3.4028234663852886e38"],
      ["NULL", null],
    ],
    fs: ["float", "float", ["16777217", "16777216"], ["1.401298464324817e-45", "1.401298464324817e-45"], ["0", "0"]],
    f2: ["float(7,2)", "float", ["0.1", "0.10000000149011612"], ["99999.99", "99999.9921875"], ["NULL", null]],
    d: [
      "double",
      "double",
      ["0.1", "0.1"],
      ["-1.7976931348623157e308", "-1.7976931348623157e308"],
      ["2.2250738585072014e-308", "2.2250738585072014e-308"],
    ],
    dz: [
      "double",
      "double",
      ["0", "0"],
      ["0.30000000000000004", "0.30000000000000004"],
      ["123456789012345680", "1.2345678901234568e17"],
    ],
    d2: ["double(20,3)", "double", ["0.125", "0.125"], ["1e15", "1e15"], ["NULL", null]],
    b1: ["bit(1)", "boolean", ["b'1'", "1"], ["b'0'", "0"], ["NULL", null]],
    b9: ["bit(9)", "long", ["b'101'", "5"], ["b'111111111'", "511"], ["NULL", null]],
    b64: ["bit(64)", "decimal(20,0)", [`b'${"1".repeat(64)}'`, "18446744073709551615"], ["b'0'", "0"], ["NULL", null]],
    c: ["char(5)", "string", ["'ab '", "ab"], ["''", ""], ["NULL", null]],
    v: ["varchar(200)", "string", ["'a\"b,c\\nd\\re\\\\f'", 'a"b,c\nd\re\\f'], ["'NULL'", "NULL"], ["NULL", null]],
    emoji: ["varchar(200)", "string", ["'👩‍👩‍👧 \\0 e\u0301'", "👩‍👩‍👧 \0 e\u0301"], ["'  '", "  "], ["NULL", null]],
    latin: ["varchar(20) character set latin1", "string", ["'grün €'", "grün €"], ["'\"'", '"'], ["NULL", null]],
    utf16: ["text character set utf16", "string", ["'日本語'", "日本語"], ["''", ""], ["NULL", null]],
    big5: ["tinytext character set big5", "string", ["'中文'", "中文"], ["'a'", "a"], ["NULL", null]],
    lt: [
      "longtext",
      "string",
      ["repeat('\"x', 50000)", '"x'.repeat(50_000)],
      ["repeat('é', 300)", "é".repeat(300)],
      ["NULL", null],
    ],
    bin: ["binary(4)", "binary", ["x'00ff0d0a'", "00ff0d0a"], ["x'61'", "61000000"], ["NULL", null]],
    vb: ["varbinary(20)", "binary", ["x'22'", "22"], ["''", ""], ["NULL", null]],
    blob: ["longblob", "binary", ["repeat(x'e2', 100000)", "e2".repeat(100_000)], ["x'00'", "00"], ["NULL", null]],
    date: ["date", "date", ["'0001-01-01'", "0001-01-01"], ["'9999-12-31'", "9999-12-31"], ["NULL", null]],
    dt0: [
      "datetime",
      "timestamp",
      ["'1000-01-01 00:00:00'", "1000-01-01 00:00:00"],
      ["'2024-02-29 23:59:59'", "2024-02-29 23:59:59"],
      ["NULL", null],
    ],
    dt6: [
      "datetime(6)",
      "timestamp",
      ["'9999-12-31 23:59:59.999999'", "9999-12-31 23:59:59.999999"],
      ["'2024-01-01'", "2024-01-01 00:00:00.000000"],
      ["NULL", null],
    ],
    ts: [
      "timestamp(6) null",
      "timestamptz",
      ["'1970-01-01 00:00:01'", "1970-01-01 00:00:01.000000+00"],
      ["'2038-01-19 03:14:07.999999'", "2038-01-19 03:14:07.999999+00"],
      ["NULL", null],
    ],
    time: [
      "time(6)",
      "string",
      ["'-838:59:59.999999'", "-838:59:59.999999"],
      ["'838:59:59'", "838:59:59.000000"],
      ["NULL", null],
    ],
    year: ["year", "int", ["1901", "1901"], ["'0000'", "0000"], ["NULL", null]],
    e: [
      "enum('small','it''s \"big\"','')",
      "string",
      ["'small'", "small"],
      ["'it''s \"big\"'", 'it\'s "big"'],
      ["NULL", null],
    ],
    s: ["set('a','b','c')", "string", ["'c,a'", "a,c"], ["''", ""], ["NULL", null]],
    j: [
      "json",
      "string",
      [`'{"a": [1, 2.50], "b": null}'`, '{"a": [1, 2.50], "b": null}'],
      ["'null'", "null"],
      ["NULL", null],
    ],
    p: [
      "point",
      "binary",
      ["ST_GeomFromText('POINT(1 2)', 4326)", "0101000000000000000000f03f0000000000000040"],
      ["NULL", null],
      ["NULL", null],
    ],
    u: [
      "uuid",
      "uuid",
      ["'123E4567-e89b-12d3-a456-426614174000'", "123e4567-e89b-12d3-a456-426614174000"],
      ["NULL", null],
      ["NULL", null],
    ],
    i4: ["inet4", "string", ["'255.0.10.1'", "255.0.10.1"], ["NULL", null], ["NULL", null]],
    i6: ["inet6", "string", ["'::ffff:1.2.3.4'", "::ffff:1.2.3.4"], ["'2001:db8::1'", "2001:db8::1"], ["NULL", null]],
  };
  const names = Object.keys(matrix);

  beforeAll(async () => {
    await server.run(
      `CREATE TABLE matrix (${names.map((name) => `\`${name}\` ${matrix[name]![0]}`).join(", ")})`,
      `INSERT INTO matrix VALUES ${[2, 3, 4]
        .map((index) => `(${names.map((name) => (matrix[name]![index] as [string, string | null])[0]).join(", ")})`)
        .join(", ")}`,
    );
  });

  test("every type keeps its extremes", async () => {
    const { plan, rows } = await readAll(source, { stream: "matrix" });
    expect(typesOf(plan.columns)).toEqual(Object.fromEntries(names.map((name) => [name, matrix[name]![1]])));
    for (const [row, index] of [0, 1, 2].map((number) => [rows[number]!, number + 2] as const)) {
      expect(Object.fromEntries(names.map((name, column) => [name, row[column]]))).toEqual(
        Object.fromEntries(names.map((name) => [name, (matrix[name]![index] as [string, string | null])[1]])),
      );
    }
  });

  test("a query over the table gives the same types and the same text", async () => {
    const table = await readAll(source, { stream: "matrix" });
    const query = await readAll(source, { query: "SELECT * FROM matrix -- all of it" });
    expect(typesOf(query.plan.columns)).toEqual(typesOf(table.plan.columns));
    expect(query.rows).toEqual(table.rows);
  });

  test("floats arrive as the number they are", async () => {
    await server.run(
      "CREATE TABLE floats (f float)",
      "INSERT INTO floats SELECT RAND(7) * POW(10, CAST(seq AS SIGNED) MOD 60 - 30) FROM seq_1_to_3000",
    );
    const { rows } = await readAll(source, { stream: "floats" });
    expect(rows.length).toBe(3000);
    // A number that a 32-bit float holds survives the way through one.
    for (const [text] of rows) expect(Math.fround(Number(text))).toBe(Number(text));
    const sum = rows.reduce((total, [text]) => total + Number(text), 0);
    const [expected] = await server.query("SELECT SUM(f) AS s FROM floats");
    expect(sum / Number(expected!["s"])).toBeCloseTo(1, 12);
  });

  test("booleans on request", async () => {
    const booleans = await openShop(server, { tinyintAsBoolean: true });
    const { plan } = await readAll(booleans, { stream: "matrix", columns: ["flag", "ti", "b1"] });
    expect(typesOf(plan.columns)).toEqual({ flag: "boolean", ti: "int", b1: "boolean" });
    await booleans[Symbol.asyncDispose]();
  });

  test("a date of zeros comes as it is, for the engine to reject", async () => {
    await server.run(
      "CREATE TABLE zeros (d date, t datetime)",
      "SET sql_mode = ''",
      "INSERT INTO zeros VALUES ('0000-00-00', '2024-00-10 00:00:00')",
    );
    expect((await readAll(source, { stream: "zeros" })).rows).toEqual([["0000-00-00", "2024-00-10 00:00:00"]]);
  });

  test("a value longer than a packet of the protocol arrives whole", async () => {
    const bytes = 17 * 1024 * 1024;
    await server.run(
      "CREATE TABLE large (id int PRIMARY KEY, b longblob, t longtext)",
      `INSERT INTO large VALUES (1, REPEAT(x'ab', ${bytes}), REPEAT('"', 5)), (2, NULL, 'after')`,
    );
    const { rows } = await readAll(source, { stream: "large" });
    expect(rows[0]![1]).toHaveLength(2 * bytes);
    expect(rows[0]![1]!.replaceAll("ab", "")).toBe("");
    expect(rows[0]![2]).toBe('"""""');
    expect(rows[1]).toEqual(["2", null, "after"]);
    // The length of the payload is a multiple of the longest packet: an empty one closes it.
    await server.run(`CREATE TABLE edge (b longblob)`, `INSERT INTO edge VALUES (REPEAT('x', ${0xffffff - 4})), ('y')`);
    const edge = await readAll(source, { stream: "edge" });
    expect(edge.rows.map(([cell]) => cell!.length)).toEqual([2 * (0xffffff - 4), 2]);
  });
});

describe("discovery", () => {
  test("tables and views with key, cursors, comments and estimates", async () => {
    await server.run(
      "CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, customer int NOT NULL COMMENT 'who bought', note text, updated_at timestamp(6) NOT NULL, amount decimal(10,2), KEY (customer))",
      "CREATE TABLE items (order_id bigint, line int, name varchar(10), PRIMARY KEY (order_id, line))",
      "CREATE VIEW big_orders AS SELECT id, amount FROM orders WHERE amount > 100",
      "CREATE TABLE heap_table (a int) ENGINE = MyISAM",
    );
    const streams = await streamsOf(source);
    const orders = streams.find(({ name }) => name === "orders")!;
    expect(orders).toMatchObject({ kind: "table", key: ["id"], cursors: ["updated_at", "id"], rows: 0 });
    expect(orders.columns).toEqual([
      { name: "id", type: "long", required: true },
      { name: "customer", type: "int", required: true, doc: "who bought" },
      { name: "note", type: "string" },
      { name: "updated_at", type: "timestamptz", required: true },
      { name: "amount", type: "decimal(10,2)" },
    ]);
    expect(streams.find(({ name }) => name === "items")!.key).toEqual(["order_id", "line"]);
    expect(streams.find(({ name }) => name === "big_orders")).toMatchObject({ kind: "view", key: [] });
    expect(streams.map(({ name }) => name)).toContain("heap_table");
  });

  test("without a database, streams carry its name", async () => {
    const all = await openMysql({ host: server.host, port: server.port, user: server.user, password: server.password });
    const names = (await streamsOf(all)).map(({ name }) => name);
    expect(names).toContain("shop.orders");
    expect(names.some((name) => /^(mysql|sys|information_schema|performance_schema)\./.test(name))).toBe(false);
    await server.run("INSERT INTO items VALUES (1, 1, 'a')");
    expect((await readAll(all, { stream: "shop.items" })).rows).toEqual([["1", "1", "a"]]);
    const error = await errorOf(() => all.plan({ stream: "items" }, {}));
    expect(error).toMatchObject({ code: "config", message: expect.stringContaining("names no database") });
    await all[Symbol.asyncDispose]();
  });
});

describe("parts", () => {
  beforeAll(async () => {
    await server.run(
      "CREATE TABLE many (id int PRIMARY KEY, t varchar(100))",
      "INSERT INTO many SELECT CAST(seq AS SIGNED) * 3 - 30000, REPEAT('x', 100) FROM seq_1_to_20000",
      "CREATE TABLE texts (code varchar(20) PRIMARY KEY, n int)",
      "INSERT INTO texts SELECT CONCAT('K', MD5(seq)), seq FROM seq_1_to_5000",
      "ALTER TABLE texts MODIFY code varchar(40)",
      "CREATE TABLE pairs (a int, b varchar(40), PRIMARY KEY (a, b))",
      "INSERT INTO pairs SELECT seq MOD 7, CONCAT('b', seq) FROM seq_1_to_20000",
      "CREATE TABLE wide (id bigint unsigned PRIMARY KEY, t char(200))",
      "INSERT INTO wide SELECT seq * 1000000000000000, 'x' FROM seq_1_to_18000",
      "CREATE TABLE none (id int PRIMARY KEY)",
      "CREATE TABLE isam (id int PRIMARY KEY, t char(250)) ENGINE = MyISAM",
      "INSERT INTO isam SELECT seq, 'x' FROM seq_1_to_2000",
      "ANALYZE TABLE many, texts, pairs, wide, none, isam",
    );
  });

  test.each(["many", "texts", "pairs", "wide"])("`%s` in parts is the whole table, once", async (stream) => {
    const { plan, rows, parts } = await readAll(source, { stream, partBytes: 100_000 });
    expect(plan.parts.length).toBeGreaterThan(2);
    const expected = await server.query(
      `SELECT CAST(${stream === "pairs" ? "b" : stream === "texts" ? "code" : "id"} AS CHAR) AS k FROM ${stream}`,
    );
    const column = stream === "pairs" ? 1 : 0;
    expect(new Set(rows.map((row) => row[column]))).toEqual(new Set(expected.map((row) => row["k"] as string)));
    expect(rows.length).toBe(expected.length);
    expect(Math.max(...[...parts.values()].map((part) => part.length))).toBeLessThan(rows.length);
  });

  test("an empty table is one part without rows", async () => {
    const { plan, rows } = await readAll(source, { stream: "none" });
    expect([plan.parts.length, rows]).toEqual([1, []]);
  });

  test("a table without transactions is read by one statement", async () => {
    const { plan, rows } = await readAll(source, { stream: "isam", partBytes: 10_000 });
    expect([plan.parts.length, rows.length]).toEqual([1, 2000]);
  });

  test("all parts see the moment of the plan, and a part can be read again", async () => {
    const request = { stream: "many", partBytes: 300_000, columns: ["id"] };
    const plan = await source.plan(request, {});
    expect(plan.parts.length).toBeGreaterThan(3);
    await server.run(
      "INSERT INTO many SELECT seq + 100000, 'late' FROM seq_1_to_1000",
      "DELETE FROM many WHERE id < -20000",
      "UPDATE many SET id = id + 1 WHERE id BETWEEN 0 AND 1000 AND id % 3 = 0",
    );
    const read = async (part: (typeof plan.parts)[number]): Promise<string> => {
      const payload = await source.read(part, request, {});
      if (payload.form !== "bytes") throw new Error(payload.form);
      const chunks: Uint8Array[] = [];
      for await (const chunk of payload.chunks) chunks.push(chunk);
      return Buffer.concat(chunks).toString();
    };
    const once = await Promise.all(plan.parts.map(read));
    const again = await Promise.all(plan.parts.map(read));
    expect(again).toEqual(once);
    const ids = once
      .join("")
      .trim()
      .split("\n")
      .map(Number)
      .sort((left, right) => left - right);
    expect(ids).toEqual(Array.from({ length: 20_000 }, (_, index) => (index + 1) * 3 - 30_000));
  });

  test("a transaction that is open on the table leaves one reader, with the same rows", async () => {
    const expected = (await readAll(source, { stream: "pairs" })).rows.length;
    await server.run("START TRANSACTION", "INSERT INTO pairs VALUES (99, 'uncommitted')");
    const { plan, rows } = await readAll(source, { stream: "pairs", partBytes: 100_000 });
    await server.run("ROLLBACK");
    expect(plan.parts.length).toBeGreaterThan(2);
    expect(rows.length).toBe(expected);
  });

  test("a user who may only SELECT reads with one connection", async () => {
    await server.run(
      "CREATE USER 'looker'@'%' IDENTIFIED BY 'look-only-secret'",
      "GRANT SELECT ON shop.many TO 'looker'@'%'",
    );
    const looker = await openMysql({
      host: server.host,
      port: server.port,
      user: "looker",
      password: "look-only-secret",
      database: "shop",
      connections: 4,
    });
    const { plan, rows } = await readAll(looker, { stream: "many", partBytes: 300_000 });
    const [count] = await server.query("SELECT COUNT(*) AS n FROM many");
    expect(plan.parts.length).toBeGreaterThan(3);
    expect(rows.length).toBe(Number(count!["n"]));
    await looker[Symbol.asyncDispose]();
  });

  test("a part of another process says that its snapshot is gone", async () => {
    const other = await openShop(server);
    const plan = await other.plan({ stream: "many" }, {});
    await other[Symbol.asyncDispose]();
    const error = await errorOf(() => source.read(plan.parts[0]!, { stream: "many" }, {}));
    expect(isMillraceError(error)).toBe(true);
    expect(error).toMatchObject({ code: "conflict", hint: expect.stringContaining("the run is planned anew") });
    expect(error.message).toMatch(/^the snapshot `.*` of this plan is gone$/);
  });

  test("a closed source leaves no connection behind", async () => {
    const before = await openConnections(server);
    const leaking = await openShop(server, { connections: 4 });
    await leaking.check();
    await streamsOf(leaking);
    await readAll(leaking, { stream: "many", partBytes: 100_000 });
    await leaking.measure!({ stream: "many" }, { columns: [{ name: "id", type: "int" }] });
    expect(await openConnections(server)).toBeGreaterThan(before);
    await leaking[Symbol.asyncDispose]();
    await expect.poll(() => openConnections(server)).toBe(before);
  });
});
