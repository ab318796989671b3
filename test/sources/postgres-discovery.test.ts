import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { EngineView, MillraceError, ReadRequest, Source, StreamInfo } from "../../src/core/index.ts";
import definition from "../../src/sources/postgres/index.ts";
import { textOf } from "../contracts/source/sql.ts";
import { errorOf, until } from "../contracts/support/observe.ts";
import { startPostgres, type Postgres } from "../services/postgres.ts";

/** The source never asks the engine: a table describes itself. */
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

/** The lines of all parts of a plan, in no order. A source of its own lets go of the table afterwards, so that it can be altered. */
async function linesOf(request: ReadRequest, options: Record<string, unknown> = {}): Promise<string[]> {
  await using own = await open(options);
  const plan = await own.plan(request, {});
  const texts = await Promise.all(plan.parts.map((part) => textOf(own, part, request)));
  return texts.flatMap((text) => text.split("\n").slice(0, -1)).toSorted();
}

/** What planning throws. */
async function planError(request: ReadRequest): Promise<MillraceError> {
  await using own = await open();
  return errorOf(() => own.plan(request, {}));
}

async function partsOf(request: ReadRequest): Promise<number> {
  await using own = await open();
  return (await own.plan(request, {})).parts.length;
}

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => String(from + index)).toSorted();

beforeAll(async () => {
  server = await startPostgres();
});
afterAll(async () => {
  await server.stop();
});

describe("discovery", () => {
  let streams: Map<string, StreamInfo>;

  beforeAll(async () => {
    await server.query(`
      CREATE SCHEMA sales; CREATE SCHEMA "odd.schema"; GRANT USAGE ON SCHEMA sales, "odd.schema" TO reader;
      CREATE TABLE sales.orders (
        id bigint GENERATED ALWAYS AS IDENTITY, gone text, created date NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(),
        line int, total numeric(12,2) GENERATED ALWAYS AS (line * 1.5) STORED, note text, PRIMARY KEY (line, id));
      ALTER TABLE sales.orders DROP COLUMN gone;
      COMMENT ON COLUMN sales.orders.note IS 'as the customer wrote it';
      INSERT INTO sales.orders (created, line) SELECT '2024-01-01', n FROM generate_series(1, 1000) n;
      CREATE VIEW sales.recent AS SELECT id, note FROM sales.orders;
      CREATE MATERIALIZED VIEW sales.totals AS SELECT line, sum(total) AS total FROM sales.orders GROUP BY 1;
      CREATE TABLE "odd.schema"."t ""able " ("a.b" int);
      CREATE TABLE sales.parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
      CREATE TABLE sales.parted_low PARTITION OF sales.parted FOR VALUES FROM (0) TO (500);
      CREATE TABLE sales.parted_high PARTITION OF sales.parted FOR VALUES FROM (500) TO (5000) PARTITION BY LIST (id);
      CREATE TABLE sales.parted_rest PARTITION OF sales.parted_high DEFAULT;
      INSERT INTO sales.parted SELECT n, 'v' FROM generate_series(1, 1500) n;
      CREATE TABLE sales.nothing ();
      CREATE TABLE sales.never_analysed (id int);
      CREATE TEMP TABLE temporary (id int)`);
    await server.query('GRANT SELECT ON ALL TABLES IN SCHEMA sales, "odd.schema" TO reader');
    await server.query("ANALYZE sales.orders, sales.parted");
    streams = new Map();
    await using source = await open();
    for await (const stream of source.streams()) streams.set(stream.name, stream);
  });

  test("tables, views and partitioned tables, and nothing of the system", () => {
    expect([...streams.keys()]).toEqual([
      '"odd.schema"."t ""able "',
      "sales.never_analysed",
      "sales.nothing",
      "sales.orders",
      "sales.parted",
      "sales.recent",
      "sales.totals",
    ]);
    expect(streams.get("sales.recent")!.kind).toBe("view");
  });

  test("columns, key, cursors and estimates", () => {
    expect(streams.get("sales.orders")).toMatchObject({
      columns: [
        { name: "id", type: "long", required: true },
        { name: "created", type: "date", required: true },
        { name: "updated_at", type: "timestamptz", required: true },
        { name: "line", type: "int", required: true },
        { name: "total", type: "decimal(12,2)" },
        { name: "note", type: "string", doc: "as the customer wrote it" },
      ],
      key: ["line", "id"],
      cursors: ["updated_at", "id", "created"],
      rows: 1000,
    });
    expect(streams.get("sales.orders")!.bytes).toBeGreaterThan(0);
    expect(streams.get("sales.parted")).toMatchObject({ key: ["id"], rows: 1500 });
    expect(streams.get("sales.never_analysed")!.rows).toBeUndefined();
  });

  test("`schemas` narrows it, and a wrong one is named", async () => {
    await using narrow = await open({ schemas: ["odd.schema"] });
    const names: string[] = [];
    for await (const stream of narrow.streams()) names.push(stream.name);
    expect(names).toEqual(['"odd.schema"."t ""able "']);
    await using wrong = await open({ schemas: ["sale"] });
    const error = await errorOf(() => wrong.check());
    expect(error).toMatchObject({ code: "not-found", hint: "did you mean `sales`?" });
  });

  test("names with quotes and dots, names along search_path, names with the database", async () => {
    await server.query(`INSERT INTO "odd.schema"."t ""able " VALUES (7)`);
    expect(await linesOf({ stream: '"odd.schema"."t ""able "' })).toEqual(["7"]);
    expect(await linesOf({ stream: "shop.sales.recent", columns: ["id"] })).toEqual(numbers(1, 1000));
    await server.query("ALTER ROLE reader SET search_path = sales");
    expect(await linesOf({ stream: "recent", columns: ["id"] })).toEqual(numbers(1, 1000));
    await server.query("ALTER ROLE reader RESET search_path");
    expect((await planError({ stream: "recent" })).code).toBe("not-found");
    expect((await planError({ stream: 'sales."recent' })).code).toBe("config");
    expect((await planError({ stream: "sales.orders_pkey" })).message).toContain("neither a table");
    expect((await planError({ stream: "sales.nothing" })).code).toBe("unsupported");
  });

  test("views, materialised views, foreign tables, inheritance and partitions are read in full", async () => {
    expect(await linesOf({ stream: "sales.totals", columns: ["line"] })).toEqual(numbers(1, 1000));
    await server.query(`
      CREATE EXTENSION IF NOT EXISTS postgres_fdw;
      CREATE SERVER itself FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '${server.socketFolder}', port '${server.port}', dbname 'shop');
      CREATE USER MAPPING FOR reader SERVER itself OPTIONS (user 'reader', password '${server.password}');
      CREATE FOREIGN TABLE sales.far (id bigint, note text) SERVER itself OPTIONS (schema_name 'sales', table_name 'recent');
      CREATE TABLE sales.parent (id int); CREATE TABLE sales.child (extra text) INHERITS (sales.parent);
      INSERT INTO sales.parent SELECT n FROM generate_series(1, 3000) n;
      INSERT INTO sales.child SELECT n FROM generate_series(3001, 9000) n;
      GRANT SELECT ON ALL TABLES IN SCHEMA sales TO reader`);
    expect(await linesOf({ stream: "sales.far", columns: ["id"] })).toEqual(numbers(1, 1000));
    expect(await linesOf({ stream: "sales.parent", partBytes: 40_000 })).toEqual(numbers(1, 9000));
    expect(await linesOf({ stream: "sales.parted", columns: ["id"], partBytes: 20_000 })).toEqual(numbers(1, 1500));
    expect(await linesOf({ stream: "sales.parted_high", columns: ["id"] })).toEqual(numbers(500, 1500));
  });

  test("partitions that may not be read themselves are read through their table, and its policies hold", async () => {
    await server.query("REVOKE SELECT ON sales.parted_low, sales.parted_rest FROM reader");
    const request: ReadRequest = { stream: "sales.parted", columns: ["id"], partBytes: 20_000 };
    expect(await partsOf(request)).toBeGreaterThan(1);
    expect(await linesOf(request)).toEqual(numbers(1, 1500));
    await server.query(`
      GRANT SELECT ON sales.parted_low, sales.parted_rest TO reader;
      ALTER TABLE sales.parted ENABLE ROW LEVEL SECURITY;
      CREATE POLICY low ON sales.parted TO reader USING (id <= 700)`);
    expect(await linesOf(request)).toEqual(numbers(1, 700));
    await server.query("ALTER TABLE sales.parted DISABLE ROW LEVEL SECURITY");
  });

  test("a missing permission names the grant; a grant on some columns is enough for those", async () => {
    await server.query(`CREATE TABLE sales.secret (id int, name text, salary int); INSERT INTO sales.secret VALUES (1, 'a', 2); REVOKE ALL ON sales.secret FROM reader;
      GRANT SELECT (id, name) ON sales.secret TO reader`);
    const error = await planError({ stream: "sales.secret" });
    expect(error).toMatchObject({ code: "permission", where: { stream: "sales.secret" } });
    expect(error.hint).toContain('GRANT SELECT ON "sales"."secret" TO "reader"');
    expect(await linesOf({ stream: "sales.secret", columns: ["name", "id"] })).toEqual(["a,1"]);
  });
});

describe("queries", () => {
  test("comments, semicolons and names of all kinds", async () => {
    expect(await linesOf({ query: "select 1 as a -- the end;" })).toEqual(["1"]);
    expect(await linesOf({ query: 'select 1 as "A b", \'x\' as "a""b" ; ; ' })).toEqual(["1,x"]);
    expect(await linesOf({ query: "with n as (values (1), (2)) select * from n" })).toEqual(["1", "2"]);
  });

  test("nothing but one SELECT, and nothing is changed", async () => {
    await server.query("CREATE TABLE kept (id int); INSERT INTO kept VALUES (1); GRANT ALL ON kept TO reader");
    for (const query of [
      "delete from kept returning id",
      "select 1) as x; delete from kept; select * from (select 1",
      "select 1) TO STDOUT; delete from kept; copy (select 1",
      "",
      ";",
    ]) {
      expect((await planError({ query })).code, query).toBe("config");
    }
    await server.query(
      "CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM kept; RETURN 1; END'",
    );
    const request: ReadRequest = { query: "select wipe() as w from generate_series(1, 1)" };
    await using source = await open();
    const plan = await source.plan(request, {});
    expect((await errorOf(() => textOf(source, plan.parts[0]!, request))).code).toBe("permission");
    expect(await linesOf({ stream: "kept" })).toEqual(["1"]);
  });

  test("two columns of one name, and a value that the query cannot make", async () => {
    const twice = await planError({ query: "select 1 as a, 2 as a" });
    expect(twice).toMatchObject({ code: "config" });
    await using source = await open();
    const request: ReadRequest = { query: "select 10 / (n - 5000) as x from generate_series(1, 6000) n" };
    const plan = await source.plan(request, {});
    const error = await errorOf(() => textOf(source, plan.parts[0]!, request));
    expect(error).toMatchObject({ code: "value", where: { part: plan.parts[0]!.id } });
    expect(error.message).toContain("division by zero");
  });
});

describe("connections", () => {
  test("encryption: offered, demanded, checked, refused", async () => {
    expect(server.ca).toBeDefined();
    const encrypted = async (options: Record<string, unknown>): Promise<string> => {
      const lines = await linesOf({ query: "select ssl from pg_stat_ssl where pid = pg_backend_pid()" }, options);
      return lines.join();
    };
    expect(await encrypted({})).toBe("t");
    expect(await encrypted({ ssl: "disable" })).toBe("f");
    expect(await encrypted({ ssl: "require" })).toBe("t");
    expect(await encrypted({ ssl: "verify-full", ca: server.ca })).toBe("t");
    const { host, port, user, password, database } = server;
    const unix = { url: undefined, host: server.socketFolder, port, user, password, database };
    expect(await encrypted(unix)).toBe("f");
    await using other = await open({
      url: undefined,
      host: "localhost",
      port,
      user,
      password,
      database,
      ssl: "verify-full",
    });
    expect(await errorOf(() => other.check())).toMatchObject({ code: "authentication" });
    expect(readFileSync(server.ca!, "utf8")).toContain("BEGIN CERTIFICATE");
    expect(host).toBe("127.0.0.1");
  });

  test("a server without encryption, and one that demands it", async () => {
    await using plain = await startPostgres({ settings: ["ssl=off"] });
    await using preferring = await open({ url: plain.url });
    await preferring.check();
    await using demanding = await open({ url: `${plain.url}?sslmode=require` });
    expect(await errorOf(() => demanding.check())).toMatchObject({
      code: "config",
      hint: expect.stringContaining("ssl"),
    });
  });

  test("the server ends a statement at the time limit; a silent server is given up", async () => {
    await using limited = await open({ statementTimeoutMs: 300 });
    const request: ReadRequest = { query: "select 1 as one from (select pg_sleep(20)) as nap" };
    const plan = await limited.plan(request, {});
    expect(await errorOf(() => textOf(limited, plan.parts[0]!, request))).toMatchObject({
      code: "timeout",
      temporary: true,
    });
    await using impatient = await open({ readTimeoutMs: 300 });
    const same = await impatient.plan(request, {});
    expect(await errorOf(() => textOf(impatient, same.parts[0]!, request))).toMatchObject({ code: "timeout" });
    await until(async () => {
      const [row] = await server.query(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND state = 'active' AND pid <> pg_backend_pid()",
      );
      return row!.n === "0";
    });
  });

  test("too many connections is temporary", async () => {
    await using small = await startPostgres({ settings: ["max_connections=5", "superuser_reserved_connections=3"] });
    await using first = await open({ url: small.url, connections: 4 });
    const request: ReadRequest = { query: "select n from generate_series(1, 1000000) n" };
    const plan = await first.plan(request, {});
    const error = await errorOf(() => Promise.all([0, 1, 2].map(() => textOf(first, plan.parts[0]!, request))));
    expect(error).toMatchObject({ code: "limit", temporary: true });
  });

  test("options that do not fit together are refused before anything is opened", () => {
    const problems = (options: Record<string, unknown>): string =>
      definition.options
        .safeParse(options)
        .error?.issues.map((issue) => issue.message)
        .join() ?? "";
    expect(problems({ url: "postgres://h/d", host: "x" })).toContain("`host` is part of `url`");
    expect(problems({ host: "x", certificate: "c.pem" })).toContain("go together");
    expect(problems({ hots: "x" })).toContain("hots");
    expect(problems({ host: "x" })).toBe("");
  });
});
