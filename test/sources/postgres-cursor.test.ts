import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Cursor, EngineView, MillraceError, Part, Plan, ReadRequest, Source } from "../../src/core/index.ts";
import definition from "../../src/sources/postgres/index.ts";
import { maximumBoundaryRows } from "../../src/sources/sql/index.ts";
import { textOf } from "../contracts/source/sql.ts";
import { errorOf } from "../contracts/support/observe.ts";
import { startPostgres, type Postgres } from "../services/postgres.ts";

const noEngine: EngineView = {
  describe: () => Promise.reject(new Error("the engine was asked")),
  query: () => Promise.reject(new Error("the engine was asked")),
};

let server: Postgres;

async function open(options: Record<string, unknown> = {}): Promise<Source> {
  const driver = await definition.load();
  const parsed = definition.options.parse({ url: server.url, ...options });
  return driver.open(parsed, { connection: "shop", folder: tmpdir(), engine: noEngine });
}

interface Sync {
  lines: string[];
  plan: Plan;
}

/** One run: plan, read every part, and the cursor as a snapshot would keep it. */
async function sync(request: ReadRequest, after?: Cursor): Promise<Sync & { cursor: Cursor | undefined }> {
  await using source = await open();
  const plan = await source.plan(request, after === undefined ? {} : { after });
  const lines: string[] = [];
  for (const part of plan.parts) lines.push(...(await textOf(source, part, request)).split("\n").slice(0, -1));
  const cursor = plan.cursor === undefined ? undefined : (JSON.parse(JSON.stringify(plan.cursor)) as Cursor);
  return { lines: lines.toSorted(), plan, cursor };
}

async function planError(request: ReadRequest, after?: Cursor): Promise<MillraceError> {
  await using source = await open();
  return errorOf(() => source.plan(request, after === undefined ? {} : { after }));
}

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

describe("positions", () => {
  const values: Record<string, [first: string, second: string, third: string]> = {
    timestamptz: ["2024-01-01 00:00:00.000001+00", "2024-01-01 00:00:00.000002+00", "2024-06-01 12:00:00+00"],
    timestamp: ["2024-01-01 00:00:00.000001", "2024-01-01 00:00:00.000002", "2024-06-01 12:00:00"],
    date: ["2024-01-01", "2024-01-02", "2025-01-01"],
    smallint: ["-5", "3", "20"],
    integer: ["-5", "3", "20"],
    bigint: ["9007199254740992", "9007199254740993", "9223372036854775807"],
    numeric: ["0.1", "0.10000000000000000001", "1e30"],
    "numeric(20,5)": ["0.00001", "0.00002", "7"],
    text: ["a'b", "b", "c\\d"],
    "varchar(9)": ["a", "b", "c"],
    uuid: [
      "00000000-0000-0000-0000-000000000001",
      "00000000-0000-0000-0000-000000000002",
      "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ],
  };

  test.each(Object.entries(values))("by a column of %s", async (type, [first, second, third]) => {
    const table = `by_${type.replace(/\W/g, "_")}`;
    const add = (id: number, value: string): Promise<unknown> =>
      server.query(`INSERT INTO ${table} VALUES (${id}, $1::text::${type})`, [value]);
    await server.query(`CREATE TABLE ${table} (id int, c ${type} NOT NULL)`);
    const request: ReadRequest = { stream: table, cursor: "c", columns: ["id"] };
    await add(1, first);
    await add(2, second);
    const one = await sync(request);
    expect(one.lines).toEqual(["1", "2"]);
    expect((await sync(request, one.cursor)).plan.parts).toEqual([]);
    await add(3, second);
    await add(4, third);
    const two = await sync(request, one.cursor);
    expect(two.lines).toEqual(["3", "4"]);
    expect((await sync(request, two.cursor)).plan.parts).toEqual([]);
    // The greatest value going away does not move the position back.
    await server.query(`DELETE FROM ${table} WHERE id = 4`);
    expect((await sync(request, two.cursor)).plan.parts).toEqual([]);
    await add(5, second);
    expect((await sync(request, two.cursor)).lines).toEqual([]);
    // A query reads on as a table does.
    const query: ReadRequest = { query: `select c, id from ${table} where id <> 2`, cursor: "c" };
    const viaQuery = await sync(query);
    expect(viaQuery.lines).toHaveLength(3);
    await add(6, third);
    expect((await sync(query, viaQuery.cursor)).lines).toHaveLength(1);
  });

  test("values that have no place in the order are refused: null, the infinities, NaN", async () => {
    for (const [type, value] of [
      ["timestamptz", "infinity"],
      ["date", "-infinity"],
      ["timestamp", "infinity"],
      ["numeric", "NaN"],
      ["numeric", "Infinity"],
      ["int", null],
    ] as const) {
      await server.query(`DROP TABLE IF EXISTS unplaced; CREATE TABLE unplaced (id int, c ${type})`);
      await server.query("INSERT INTO unplaced VALUES (1, $1)", [value]);
      const error = await planError({ stream: "unplaced", cursor: "c" });
      expect(error, `${type} ${value}`).toMatchObject({ code: "value", where: { column: "c" } });
    }
  });

  test("another column, another type, a foreign cursor and a type without order are refused", async () => {
    await server.query(
      "CREATE TABLE moved (id int, a int NOT NULL, b int NOT NULL, j jsonb); INSERT INTO moved VALUES (1, 1, 1)",
    );
    const { cursor } = await sync({ stream: "moved", cursor: "a" });
    expect(await planError({ stream: "moved", cursor: "b" }, cursor)).toMatchObject({ code: "conflict" });
    expect(await planError({ stream: "moved", cursor: "a" }, { file: "x" })).toMatchObject({ code: "conflict" });
    expect(await planError({ stream: "moved", cursor: "j" })).toMatchObject({ code: "config" });
    expect(await planError({ stream: "moved", cursor: "c" })).toMatchObject({ code: "not-found" });
    await server.query("ALTER TABLE moved ALTER a TYPE bigint");
    expect((await sync({ stream: "moved", cursor: "a" }, cursor)).plan.parts.length).toBeLessThan(2);
    await server.query("ALTER TABLE moved ALTER a TYPE text");
    expect(await planError({ stream: "moved", cursor: "a" }, cursor)).toMatchObject({ code: "conflict" });
    await server.query("CREATE TABLE lagged (t text NOT NULL)");
    expect(await planError({ stream: "lagged", cursor: "t", lag: 5 })).toMatchObject({ code: "config" });
  });

  test("a column more does not make the rows of the last position new; a column less makes them so, and says it", async () => {
    await server.query(
      "CREATE TABLE widened (id int, c int NOT NULL, v text); INSERT INTO widened VALUES (1, 5), (2, 5)",
    );
    const request: ReadRequest = { stream: "widened", cursor: "c" };
    const one = await sync(request);
    await server.query("ALTER TABLE widened ADD extra text DEFAULT 'x'");
    const two = await sync(request, one.cursor);
    expect(two.plan.parts).toEqual([]);
    await server.query("INSERT INTO widened VALUES (3, 5)");
    expect((await sync(request, one.cursor)).lines).toEqual(["3,5,,x"]);
    await server.query("ALTER TABLE widened DROP v");
    const less = await sync(request, one.cursor);
    expect(less.plan.overlap).toBe(true);
    expect(less.lines).toHaveLength(3);
  });

  test("more rows with one value than are kept one by one: read again as a whole, and only when they changed", async () => {
    const many = maximumBoundaryRows + 5;
    await server.query(`CREATE TABLE day (id int, c date NOT NULL);
      INSERT INTO day SELECT n, '2024-01-01' FROM generate_series(1, ${many}) n`);
    const request: ReadRequest = { stream: "day", cursor: "c" };
    const one = await sync(request);
    expect(one.lines).toHaveLength(many);
    expect((await sync(request, one.cursor)).plan.parts).toEqual([]);
    await server.query("INSERT INTO day VALUES (0, '2024-01-02')");
    const two = await sync(request, one.cursor);
    expect(two.plan.overlap ?? false).toBe(false);
    expect(two.lines).toEqual(["0,2024-01-02"]);
    await server.query("INSERT INTO day VALUES (-1, '2024-01-01')");
    const again = await sync(request, one.cursor);
    expect(again.plan.overlap).toBe(true);
    expect(again.lines).toHaveLength(many + 2);
  });

  test("much that is new is read in parts of the table", async () => {
    await server.query(
      `CREATE TABLE big (id int PRIMARY KEY, v text); INSERT INTO big SELECT n, repeat('x', 100) FROM generate_series(1, 30000) n`,
    );
    await server.query("ANALYZE big");
    const request: ReadRequest = { stream: "big", cursor: "id", columns: ["id"], partBytes: 50_000 };
    await server.query("DELETE FROM big WHERE id > 100");
    const one = await sync(request);
    await server.query("INSERT INTO big SELECT n, repeat('x', 100) FROM generate_series(101, 30000) n");
    await server.query("ANALYZE big");
    const two = await sync(request, one.cursor);
    expect(two.plan.parts.length).toBeGreaterThan(5);
    expect(new Set(two.lines).size).toBe(29_900);
    expect(two.lines).toHaveLength(29_900);
  });

  test("three writers that commit late, and a dataset that follows them by a lag", async () => {
    await server.query("CREATE TABLE events (id serial PRIMARY KEY, at timestamptz NOT NULL, writer int)");
    const request: ReadRequest = { stream: "events", cursor: "at", lag: 30 };
    let writing = true;
    const write = async (writer: number): Promise<void> => {
      const client = new pg.Client({ connectionString: server.adminUrl, ssl: false });
      await client.connect();
      while (writing) {
        // The moment is that of the beginning of the transaction, and it is committed later.
        await client.query("BEGIN");
        await client.query("INSERT INTO events (at, writer) SELECT now(), $1 FROM generate_series(1, 3)", [writer]);
        await sleep(Math.random() * 30);
        await client.query(Math.random() < 0.1 ? "ROLLBACK" : "COMMIT");
      }
      await client.end();
    };
    const writers = [1, 2, 3].map(write);
    const dataset = new Map<string, string>();
    let cursor: Cursor | undefined;
    const follow = async (): Promise<void> => {
      const { lines, cursor: next } = await sync(request, cursor);
      // Merge by key.
      for (const line of lines) dataset.set(line.split(",")[0]!, line);
      cursor = next;
    };
    for (let run = 0; run < 12; run++) await follow();
    writing = false;
    await Promise.all(writers);
    await follow();
    const rows = await server.query("SELECT id FROM events ORDER BY id");
    expect([...dataset.keys()].map(Number).toSorted((left, right) => left - right)).toEqual(
      rows.map((row) => Number(row.id)),
    );
    expect((await sync(request, cursor)).plan.parts).toEqual([]);
  });

  test("measures end where the position is", async () => {
    await server.query(
      "CREATE TABLE measured (id int NOT NULL, v text); INSERT INTO measured VALUES (1, 'a'), (2, NULL)",
    );
    const { cursor, plan } = await sync({ stream: "measured", cursor: "id" });
    await server.query("INSERT INTO measured VALUES (3, 'c')");
    await using source = await open();
    const upTo = await source.measure!({ stream: "measured", cursor: "id" }, { upTo: cursor!, columns: plan.columns });
    expect(upTo).toMatchObject({
      rows: 2,
      columns: { id: { nulls: 0, min: "1", max: "2" }, v: { nulls: 1, min: "a", max: "a" } },
    });
    expect((await source.measure!({ stream: "measured" }, { columns: plan.columns })).rows).toBe(3);
  });
});

describe("snapshots", () => {
  test("a reader that loses its connection reads the same part again, in the same moment", async () => {
    await server.query(
      "CREATE TABLE cut (n int, t text); INSERT INTO cut SELECT n, repeat('x', 200) FROM generate_series(1, 100000) n",
    );
    await using source = await open();
    const request: ReadRequest = { stream: "cut" };
    const plan = await source.plan(request, {});
    await server.query("DELETE FROM cut");
    const payload = await source.read(plan.parts[0]!, request, {});
    if (payload.form !== "bytes") throw new Error("a SQL source gives bytes");
    let bytes = 0;
    const error = await errorOf(async () => {
      for await (const chunk of payload.chunks) {
        if (bytes === 0) {
          await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%'");
        }
        bytes += chunk.byteLength;
      }
    });
    expect(error).toMatchObject({ code: "unreachable", temporary: true, where: { part: plan.parts[0]!.id } });
    expect((await textOf(source, plan.parts[0]!, request)).split("\n")).toHaveLength(100_001);
  });

  test("a snapshot of before a restart is not mistaken for one of after that has the same number", async () => {
    await using other = await startPostgres();
    await other.query("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    const request: ReadRequest = { stream: "t" };
    const planned = async (source: Source): Promise<Part & { spec: { snapshot: { id: string; server: string } } }> =>
      (await source.plan(request, {})).parts[0]! as never;
    await using before = await open({ url: other.url });
    const old = await planned(before);
    await other.restart();
    await using after = await open({ url: other.url });
    const current = await planned(after);
    expect(await textOf(after, current, request)).toBe("1\n");
    await using reader = await open({ url: other.url });
    const snapshot = { ...old.spec.snapshot, id: current.spec.snapshot.id };
    const mistaken = { ...old, spec: { ...old.spec, snapshot } };
    expect((await errorOf(() => textOf(reader, mistaken, request))).code).toBe("conflict");
  });

  test("somebody who waits to alter the table makes the reader give way", async () => {
    await server.query("CREATE TABLE altered (id int); INSERT INTO altered VALUES (1)");
    await using source = await open();
    const request: ReadRequest = { stream: "altered" };
    const plan = await source.plan(request, {});
    const altering = server.query("ALTER TABLE altered ADD other int");
    await sleep(100);
    expect(await errorOf(() => textOf(source, plan.parts[0]!, request))).toMatchObject({ code: "conflict" });
    await source[Symbol.asyncDispose]();
    await altering;
    expect((await sync(request)).lines).toEqual(["1,"]);
  });

  test("the oldest of many plans is given up, the newest are kept", async () => {
    await server.query("CREATE TABLE planned (id int); INSERT INTO planned VALUES (1)");
    await using source = await open();
    const request: ReadRequest = { stream: "planned" };
    const plans: Plan[] = [];
    for (let number = 0; number < 6; number++) plans.push(await source.plan(request, {}));
    expect((await errorOf(() => textOf(source, plans[0]!.parts[0]!, request))).code).toBe("conflict");
    expect(await textOf(source, plans[5]!.parts[0]!, request)).toBe("1\n");
    expect(await textOf(source, plans[2]!.parts[0]!, request)).toBe("1\n");
  });

  test("no more readers than `connections`", async () => {
    await using source = await open({ connections: 2 });
    const request: ReadRequest = { query: "select n, repeat('x', 100) from generate_series(1, 200000) n" };
    const plan = await source.plan(request, {});
    let most = 0;
    const reading = Promise.all([1, 2, 3, 4, 5].map(() => textOf(source, plan.parts[0]!, request)));
    const watching = (async () => {
      for (let look = 0; look < 20; look++) {
        const [row] = await server.query(
          "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'COPY%' AND state = 'active'",
        );
        most = Math.max(most, Number(row!.n));
        await sleep(10);
      }
    })();
    const texts = await reading;
    await watching;
    expect(new Set(texts).size).toBe(1);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(2);
  });
});

describe("values", () => {
  test("a numeric without precision as a decimal: exact, or left for the engine to reject", async () => {
    await server.query(
      "CREATE TABLE free (id int, amount numeric, name text); INSERT INTO free VALUES (1, 1.5), (2, 1.23456), (3, 'NaN'), (4, NULL)",
    );
    const request: ReadRequest = {
      stream: "free",
      columns: ["amount"],
      options: { types: { amount: "decimal(20,2)" } },
    };
    const { plan, lines } = await sync(request);
    expect(plan.columns).toEqual([{ name: "amount", type: "decimal(20,2)" }]);
    expect(lines).toEqual(["", "1.50", "NaN", "has more than 2 decimals: 1.23456"]);
    expect(await planError({ ...request, options: { types: { amount: "decimal(40,2)" } } })).toMatchObject({
      code: "config",
    });
    expect(await planError({ ...request, options: { types: { name: "decimal(4,2)" } } })).toMatchObject({
      code: "config",
    });
    expect(await planError({ ...request, options: { types: { amuont: "string" } } })).toMatchObject({
      code: "not-found",
    });
    expect(await planError({ ...request, options: { tpyes: {} } })).toMatchObject({ code: "config" });
    expect((await sync({ ...request, options: { types: { amount: "string" } } })).plan.columns[0]!.type).toBe("string");
  });

  test("a value longer than the socket's buffer, and a row of a thousand columns", async () => {
    await server.query(`CREATE TABLE long (t text); INSERT INTO long VALUES (repeat('long "text", ', 1000000)), ('')`);
    const { lines } = await sync({ stream: "long" });
    expect(lines.map((line) => line.length)).toEqual([2, 15_000_002]);
    const columns = Array.from({ length: 1000 }, (_, index) => `c${index} int`).join(", ");
    await server.query(`CREATE TABLE wide (${columns}); INSERT INTO wide (c999) VALUES (7)`);
    const wide = await sync({ stream: "wide" });
    expect(wide.lines).toEqual([`${",".repeat(999)}7`]);
    await using source = await open();
    const measured = await source.measure!({ stream: "wide" }, { columns: wide.plan.columns });
    expect(measured.columns["c999"]).toMatchObject({ nulls: 0, min: "7" });
    expect(measured.columns["c0"]).toMatchObject({ nulls: 1, checksum: "0" });
  });

  test("a database that is not in UTF-8 gives UTF-8, and the same checksums", async () => {
    await using latin = await startPostgres({ encoding: "LATIN1" });
    await latin.query("CREATE TABLE t (v text)");
    await latin.query("INSERT INTO t VALUES ($1)", ["Grüße"]);
    await server.query("CREATE TABLE utf (v text)");
    await server.query("INSERT INTO utf VALUES ($1)", ["Grüße"]);
    await using there = await open({ url: latin.url });
    const plan = await there.plan({ stream: "t" }, {});
    expect(await textOf(there, plan.parts[0]!, { stream: "t" })).toBe("Grüße\n");
    await using here = await open();
    const [one, two] = await Promise.all([
      there.measure!({ stream: "t" }, { columns: plan.columns }),
      here.measure!({ stream: "utf" }, { columns: plan.columns }),
    ]);
    expect(one).toEqual(two);
  });
});
