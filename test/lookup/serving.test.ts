import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Lake, Transformer } from "../../src/pipeline/index.ts";
import { serveLookups } from "../../src/lookup/serve.ts";
import { valueJson } from "../../src/lookup/values.ts";
import { millrace } from "../cli/millrace.ts";
import { makePlace, published, type Place } from "../pipeline/place.ts";
import { startDynamo, type DynamoServer } from "../services/dynamodb.ts";
import { startPostgres, type Postgres } from "../services/postgres.ts";
import { startRedis, type RedisServer } from "../services/redis.ts";

const rows = 400;
const transform = `
  WITH named AS (SELECT *, upper(s) AS loud, coalesce(f, 0) * 1.1 AS scaled FROM input)
  SELECT id, n * 2 - 1 AS n, f, g / 3 AS g, odd, d * 3 AS d, wide, loud AS s, raw, "at" + INTERVAL 1 DAY AS "at", zone, day, time, b, u,
    list_transform(vector, lambda x: x / 2) AS vector, nested, ["at"] AS moments, struct_pack(day := day, "at" := zone) AS both, scaled::FLOAT AS scaled,
    date_part('hour', zone) AS hour, names.name AS kind
  FROM named LEFT JOIN (VALUES (0, 'even'), (1, 'odd')) AS names(rest, name) ON id % 2 = names.rest
  WHERE id % 11 > 0`;

const credentials = { access_key_id: "owner", secret_access_key: "owner" };
let place: Place;
let lake: Lake;
let postgres: Postgres;
let redis: RedisServer;
let dynamo: DynamoServer;

function connections(): Record<string, object> {
  const { user, password, database, port } = postgres;
  return {
    postgres: { sink: "postgres", host: "127.0.0.1", port, user, password, database, ssl: "disable" },
    redis: { sink: "redis", port: redis.port },
    dynamo: { sink: "dynamodb", table: "online", endpoint: dynamo.endpoint, credentials },
  };
}

beforeAll(async () => {
  [place, postgres, redis, dynamo] = await Promise.all([makePlace(), startPostgres(), startRedis(), startDynamo()]);
  await dynamo.table("online");
  await postgres.query(`GRANT CREATE ON SCHEMA public TO ${postgres.user}`);
  await using engine = await place.engine();
  await engine.export(
    `SELECT i::BIGINT * 3 + 9007199254740993 AS id, (i - 1500)::INTEGER AS n, CASE WHEN i % 7 = 0 THEN NULL ELSE i / 3 END::DOUBLE AS f,
       (i / 7)::FLOAT AS g, CASE i % 5 WHEN 0 THEN 'nan' WHEN 1 THEN '-inf' WHEN 2 THEN '-0' WHEN 3 THEN '0' ELSE '0.1' END::DOUBLE AS odd,
       (i * 1.01 - 200)::DECIMAL(14,4) AS d, (i - 200) * 12345678901234567890::DECIMAL(38,2) AS wide,
       CASE WHEN i = 1 THEN '' WHEN i % 9 = 0 THEN NULL ELSE 'ö "\\''\\t' || chr((1 + i % 100)::INTEGER) || i END AS s, ('b' || i)::BLOB AS raw,
       TIMESTAMP '1969-12-01 00:00:00.000001' + INTERVAL (i) HOUR AS "at", TIMESTAMPTZ '2024-01-01 00:00:00+02' + INTERVAL (i * 61) MINUTE AS zone,
       DATE '1969-12-28' + i::INTEGER AS day, TIME '00:00:00.5' + INTERVAL (i) SECOND AS time, CASE WHEN i % 3 = 0 THEN NULL ELSE i % 2 = 0 END AS b,
       ('00000000-0000-4000-8000-' || lpad(i::VARCHAR, 12, '0'))::UUID AS u, CASE WHEN i % 4 = 0 THEN NULL ELSE [i::FLOAT, NULL, -1.5::FLOAT] END AS vector,
       {'a': i::BIGINT + 9007199254740993, 'b': ['x'], 'e': 1.5::DECIMAL(20,2), 't': TIMESTAMP '2024-01-01 00:00:00.25'} AS nested FROM range(${rows}) t(i)`,
    join(place.folder, "t.parquet"),
    "FORMAT parquet",
  );
  lake = await place.open(
    {
      raw: { from: { path: "t.parquet" }, mode: "replace", key: ["id"] },
      made: { from: { path: "t.parquet" }, mode: "replace", key: ["id"], transform, split: { train: 0.8, test: 0.2, seed: 1 } },
      across: { from: { path: "t.parquet" }, mode: "replace", transform: "SELECT n, count(*) AS c FROM input GROUP BY n" },
    },
    { connections: connections() },
  ); // prettier-ignore
  for (const name of ["raw", "made", "across"]) await published(lake.run(name));
}, 120_000);
afterAll(async () => {
  await lake[Symbol.asyncDispose]();
  await Promise.all([postgres.stop(), redis[Symbol.asyncDispose](), dynamo[Symbol.asyncDispose]()]);
  await place[Symbol.asyncDispose]();
});

const ids = Array.from({ length: rows }, (_, index) => [9_007_199_254_740_993n + 3n * BigInt(index)]);

test.each(["postgres", "redis", "dynamo"])("a copy in %s answers what the index answers, to the last bit", async (connection) => {
  await lake.publish("made", { to: connection, key: ["id"] });
  await using index = await lake.lookup("made");
  await using copy = await lake.lookup("made", { connection });
  const [expected, found] = [await index.get(ids), await copy.get(ids)];
  expect(expected.rows.filter((row) => row !== undefined).length).toBeGreaterThan(rows * 0.85);
  expect(found.rows).toEqual(expected.rows);
  expect(found.rows.map(valueJson)).toEqual(expected.rows.map(valueJson));
}); // prettier-ignore

/** Rows of random bits: doubles of every exponent, moments of all centuries, digits of every scale, any text. */
function randomRow(random: () => number, id: number): Record<string, string | number | null> {
  const bits = (count: number): bigint => BigInt.asUintN(count, (BigInt(random()) << 32n) | BigInt(random()));
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, bits(64));
  const [double, float] = [view.getFloat64(0), view.getFloat32(0)];
  const moment = new Date(Number(bits(40)) * 2 - 2 ** 40).toISOString();
  const points = Array.from({ length: random() % 8 }, () => random() % 0x11_0000).filter((point) => point > 0);
  const row = {
    x: String(double),
    f: String(float),
    n: String(BigInt.asIntN(64, bits(64))),
    d: `${random() % 2 ? "-" : ""}${bits(50)}.${String(random()).slice(-4).padStart(4, "0")}`,
    t: moment,
    z: moment,
    day: moment.slice(0, moment.indexOf("T")),
    s: String.fromCodePoint(...points).toWellFormed(),
  };
  const entries = Object.entries(row).map(([name, value]) => [name, random() % 8 === 0 ? null : value]);
  return { id, ...Object.fromEntries(entries) };
}

test.each([1, 2])("random rows (seed %i) are the same from the run, from every copy and at inference", async (seed) => {
  let state = seed;
  const random = (): number => (state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0);
  const given = Array.from({ length: 500 }, (_, id) => randomRow(random, id));
  const text = given.map((row) => JSON.stringify(row)).join("\n");
  const types = { id: "BIGINT", x: "DOUBLE", f: "FLOAT", n: "BIGINT", d: "DECIMAL(24,4)", t: "TIMESTAMP", z: "TIMESTAMPTZ", day: "DATE", s: "VARCHAR" };
  const path = await place.put(`random${seed}.ndjson`, text);
  await using engine = await place.engine();
  const typed = Object.entries(types).map(([name, type]) => `${name}::${type} AS ${name}`);
  const lines = `read_ndjson('${path}', columns = {${Object.keys(types).map((name) => `${name}: 'VARCHAR'`).join(", ")}})`;
  await engine.export(`SELECT ${typed.join(", ")} FROM ${lines}`, join(place.folder, `random${seed}.parquet`), "FORMAT parquet");
  const from = { path: `random${seed}.parquet` };
  const own = "SELECT *, x * 3 AS x3, x::FLOAT AS narrow, d * 2 AS d2, [x, x / 7] AS list, s || '\u{1F600}' AS emoji, sqrt(abs(f)) AS root, t + INTERVAL 1 SECOND AS later, hash(s) % 100 AS bucket FROM input WHERE x IS NULL OR isnan(x) OR abs(x) < 1e38";
  await using other = await place.open({ random: { from, mode: "replace", key: ["id"], transform: own } }, { connections: connections() });
  await published(other.run("random"));
  await using index = await other.lookup("random");
  const keys = given.map(({ id }) => [id as number]);
  const expected = (await index.get(keys)).rows;
  expect(expected.filter((row) => row !== undefined).length).toBeGreaterThan(100);
  for (const connection of ["postgres", "redis", "dynamo"]) {
    await other.publish("random", { to: connection, key: ["id"] });
    await using copy = await other.lookup("random", { connection });
    expect((await copy.get(keys)).rows.map(valueJson), connection).toEqual(expected.map(valueJson));
  }
  const { rows: made, invalid } = await (await other.transformer("random")).apply(given);
  expect(invalid).toEqual([]);
  // The engine's Parquet writer keeps one zero of a column, with whichever sign came first.
  const texts = (rows: (object | undefined)[]): string[] => rows.map((row) => valueJson(row as never).replaceAll(/-0\.0(?=[,\]}])/g, "0"));
  expect(texts(made.map(([row]) => row))).toEqual(texts(expected));
}); // prettier-ignore

describe("the transform of a version", () => {
  let transformer: Transformer;
  beforeAll(async () => {
    transformer = await lake.transformer("made");
  });

  test("makes of a row at inference what the run made of it, for every type", async () => {
    await using given = await lake.lookup("raw");
    await using made = await lake.lookup("made");
    const inputs = (await given.get(ids)).rows.map((row) => row!);
    const expected = (await made.get(ids)).rows;
    const result = await transformer.apply(inputs);
    expect(result.invalid).toEqual([]);
    expect(result.version).toBe(1);
    for (const [index, row] of expected.entries()) {
      if (row !== undefined) delete row["split"];
      expect(result.rows[index], String(index)).toEqual(row === undefined ? [] : [row]);
    }
    // Alone as in company, and whatever the order.
    const [one] = (await transformer.apply([inputs[17]!])).rows;
    expect(one).toEqual(result.rows[17]);
    const backwards = await transformer.apply(inputs.toReversed());
    expect(backwards.rows.toReversed()).toEqual(result.rows);
    // As a client sends them: JSON.
    const sent = JSON.parse(`[${inputs.map(valueJson).join(",")}]`) as Record<string, string>[];
    expect((await transformer.apply(sent)).rows).toEqual(result.rows);
  });

  test("says of each row that does not fit why, and takes the others", async () => {
    const { rows: made, invalid } = await transformer.apply([
      { id: "12", n: 4 },
      { id: "x", n: 1.5 },
      { id: 1, m: 4 },
      7 as never,
      { id: 13, s: "a'; DROP TABLE x; --" },
      { id: 2, nested: { a: "one" } },
    ]);
    expect(made.map((each) => each.length)).toEqual([1, 0, 0, 0, 1, 0]);
    expect(made[0]![0]).toMatchObject({ id: 12n, n: 7, s: null, kind: "even" });
    expect(made[4]![0]).toMatchObject({ s: "A'; DROP TABLE X; --" });
    expect(invalid.map(({ index, problem }) => [index, problem.replace(/:.*/, "")])).toEqual([
      [1, "`id` is not a long"],
      [2, "there is no column `m`"],
      [3, "it is not a JSON object"],
      [5, "`nested` is not a struct"],
    ]);
  });

  test("a row that the transform fails on is one bad row", async () => {
    await using other = await place.open({
      strict: { from: { path: "t.parquet" }, mode: "replace", transform: "SELECT id, s::INTEGER AS number FROM input WHERE s IS NULL OR s = '7'" },
    }); // prettier-ignore
    await published(other.run("strict"));
    const strict = await other.transformer("strict");
    const result = await strict.apply([{ id: 1, s: "7" }, { id: 2, s: "8" }, { id: 3 }]);
    expect(result.rows).toEqual([[{ id: 1n, number: 7 }], [], [{ id: 3n, number: null }]]);
    await using failing = await place.open({
      failing: { from: { path: "t.parquet" }, mode: "replace", transform: "SELECT id, CASE WHEN n > 0 THEN error('n is ' || n) ELSE n END AS n FROM input" },
    }); // prettier-ignore
    await published(failing.run("failing"));
    const { rows: made, invalid } = await (
      await failing.transformer("failing")
    ).apply([{ n: -1 }, { n: 5 }, { n: -2 }]);
    expect(made.map((each) => each[0]?.["n"])).toEqual([-1, undefined, -2]);
    expect(invalid).toEqual([{ index: 1, problem: expect.stringContaining("n is 5") }]);
  });

  test("stays that of the version, whatever the configuration says later", async () => {
    const from = { path: "t.parquet" };
    await using before = await place.open({ pinned: { from, mode: "replace", transform: "SELECT id, n + 1 AS n, s FROM input" } });
    await published(before.run("pinned"));
    await using after = await place.open({ pinned: { from, mode: "replace", transform: "SELECT id, n - 1 AS n FROM input" } });
    await published(after.run("pinned"));
    const given = [{ id: 1, n: 1, s: "a" }];
    expect((await (await after.transformer("pinned")).apply(given)).rows).toEqual([[{ id: 1n, n: 0 }]]);
    expect((await (await after.transformer("pinned@1")).apply(given)).rows).toEqual([[{ id: 1n, n: 2, s: "a" }]]);
  }); // prettier-ignore

  test("is that of the rows, not of a run that a rollback left behind", async () => {
    const open = (sign: string): Promise<Lake> =>
      place.open({ back: { from: { path: "back/*.csv" }, mode: "append", transform: `SELECT id, n ${sign} 1 AS n FROM input` } });
    await using before = await open("+");
    for (const part of [1, 2]) {
      await place.put(`back/${part}.csv`, ["id,n", `${part},10`]);
      await published(before.run("back"));
    }
    await place.put("back/3.csv", ["id,n", "3,10"]);
    await using after = await open("-");
    await published(after.run("back"));
    await after.rollback("back@2");
    expect((await after.compact("back")).version).toMatchObject({ number: 4 });
    const made = async (reference: string): Promise<unknown> =>
      (await (await after.transformer(reference)).apply([{ id: 1, n: 10 }])).rows;
    expect(await made("back")).toEqual([[{ id: 1n, n: 11n }]]);
    expect(await made("back@3")).toEqual([[{ id: 1n, n: 9n }]]);
  }); // prettier-ignore

  test("over HTTP, of the version that answers lookups", async () => {
    await using index = await lake.lookup("made");
    await using server = await serveLookups([index], { refreshMs: 0, maxKeys: 3, transformer: (name) => lake.transformer(name) });
    const post = async (body: unknown, name = "made"): Promise<{ status: number; text: string }> => {
      const response = await fetch(`${server.url}/v1/transform/${name}`, { method: "POST", body: JSON.stringify(body) });
      return { status: response.status, text: await response.text() };
    };
    const { status, text } = await post({ rows: [{ id: "9007199254740994", n: 3 }, { id: 11 }, { id: [] }] });
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({
      dataset: "made",
      version: index.index!.version,
      rows: [{ id: "9007199254740994", n: 5, kind: "even", vector: null }, null, null],
      invalid: [{ row: 2, problem: expect.stringContaining("`id` is not a long") }],
    });
    expect((await post({ rows: [{}, {}, {}, {}] })).status).toBe(413);
    for (const wrong of [[], { rows: 7 }, { rows: [], more: 1 }]) expect((await post(wrong)).status).toBe(400);
    expect((await post({ rows: [] }, "other")).status).toBe(404);
    expect((await fetch(`${server.url}/v1/transform/made`)).status).toBe(405);
    await using without = await serveLookups([index], { refreshMs: 0 });
    expect((await fetch(`${without.url}/v1/transform/made`, { method: "POST", body: "{}" })).status).toBe(404);
  }); // prettier-ignore

  test("by the verb: lines in, lines out, bad lines named", async () => {
    await place.put("millrace.yaml", "store: ./lake\nflows:\n  raw: { from: { path: t.parquet }, mode: replace }\n");
    const input = '{"id": 1, "s": "ö"}\nnothing\n{"n": "x"}\n\n{"id": 2}';
    const { code, stdout, stderr } = await millrace(place.folder, ["transform", "raw"], { input });
    const made = stdout.trim().split("\n").map((line) => JSON.parse(line) as unknown);
    expect(made).toMatchObject([{ id: "1", s: "ö" }, { id: "2", s: null }]);
    expect(stderr).toMatch(/line 2: not JSON[^]*line 3: `n` is not a int: x[^]*2 lines did not go through/);
    expect(code).toBe(1);
  }); // prettier-ignore

  test("one that looks across rows is refused", async () => {
    await expect(lake.transformer("across")).rejects.toMatchObject({ code: "unsupported", hint: expect.stringContaining("millrace lookup") });
  }); // prettier-ignore
});
