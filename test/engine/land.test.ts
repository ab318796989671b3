import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isMillraceError, type Column, type Payload } from "../../src/core/index.ts";
import { openEngine, type Engine, type Landed, type LandRequest } from "../../src/engine/index.ts";

let root: string;
let engine: Engine;
let prefix = 0;
const spill = (): string => join(root, "spill");

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "millrace-engine-"));
  engine = await openEngine({ spillFolder: spill(), allowed: [root], threads: 2 });
});
afterAll(async () => {
  await engine[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

async function* chunks(...texts: (string | Buffer)[]): AsyncIterable<Uint8Array> {
  for (const text of texts) yield typeof text === "string" ? Buffer.from(text) : text;
}

const withIds = (columns: Column[]): Column[] => {
  let next = columns.length + 1;
  return columns.map((column, index) => {
    const { type } = column;
    if (typeof type === "string") return { ...column, id: index + 1 };
    if (type.type === "list") return { ...column, id: index + 1, type: { ...type, elementId: next++ } };
    if (type.type === "map") return { ...column, id: index + 1, type: { ...type, keyId: next++, valueId: next++ } };
    return {
      ...column,
      id: index + 1,
      type: { ...type, fields: type.fields.map((field) => ({ ...field, id: next++ })) },
    };
  });
};

function land(payload: Payload, columns: Column[], more: Partial<LandRequest> = {}): Promise<Landed> {
  return engine.land({ payload, columns: withIds(columns), folder: root, prefix: `p${prefix++}`, ...more });
}

const rowsOf = (landed: Landed, select = "*"): Promise<Record<string, unknown>[]> =>
  engine.query(`SELECT ${select} FROM read_parquet('${landed.files[0]!.path}')`);

describe("bytes as CSV", () => {
  const columns: Column[] = [
    { name: "id", type: "long" },
    { name: 'odd "name", 😀', type: "string" },
    { name: "amount", type: "decimal(38,10)" },
    { name: "at", type: "timestamptz" },
    { name: "raw", type: "binary" },
    { name: "tags", type: { type: "list", element: "long" } },
    { name: "key", type: "uuid" },
    { name: "day", type: "date" },
    { name: "flag", type: "boolean" },
  ];
  const encodings = { raw: "pg-hex", tags: "json" } as const;

  test("keeps every type exact, and null apart from the empty string", async () => {
    const text = [
      `9223372036854775807,"a ""quoted""\nline",1234567890123456789012345678.0123456789,2024-02-29 12:34:56.789012+02,\\x00ff10,"[1,9007199254740993,null]",2f0c1b9a-6f3c-4f0a-9d5e-3c1a2b4d5e6f,0001-01-01,t`,
      `-9223372036854775808,"",,,,,,9999-12-31,false`,
      `,,,,,,,,`,
    ];
    const landed = await land(
      { form: "bytes", format: "csv", columns, encodings, chunks: chunks(`${text.join("\n")}\n`) },
      columns,
    );
    expect(landed).toMatchObject({ read: 3, written: 3, rejected: [], filtered: 0 });
    const rows = await rowsOf(landed, `* EXCLUDE (raw), hex(raw) AS raw`);
    const byId = new Map(rows.map((row) => [row.id, row]));
    expect(byId.get(9223372036854775807n)).toEqual({
      id: 9223372036854775807n,
      'odd "name", 😀': 'a "quoted"\nline',
      amount: "1234567890123456789012345678.0123456789",
      at: "2024-02-29 10:34:56.789012+00",
      raw: "00FF10",
      tags: [1n, 9007199254740993n, null],
      key: "2f0c1b9a-6f3c-4f0a-9d5e-3c1a2b4d5e6f",
      day: "0001-01-01",
      flag: true,
    });
    expect(byId.get(-9223372036854775808n)![columns[1]!.name]).toBe("");
    expect(byId.get(null)![columns[1]!.name]).toBeNull();
    const statistics = landed.files[0]!.statistics;
    expect(statistics[1]).toMatchObject({ nulls: 1, min: "-9223372036854775808", max: "9223372036854775807" });
    expect(statistics[9]).toMatchObject({ min: "false", max: "true" });
    expect(statistics[10]).toMatchObject({ min: "1", max: "9007199254740993" });
  });

  test("says parse, and the second reading sets the bad records apart", async () => {
    const simple: Column[] = [
      { name: "id", type: "int" },
      { name: "day", type: "date" },
    ];
    const payload = (): Payload => ({
      form: "bytes",
      format: "csv",
      columns: simple,
      chunks: chunks("1,2024-01-01\nx,2024-01-02\n3,2024-13-45\n4,\n"),
    });
    await expect(land(payload(), simple)).rejects.toMatchObject({ code: "parse" });
    const landed = await land(payload(), simple, { tolerant: true });
    expect(landed).toMatchObject({ read: 4, written: 2, filtered: 0 });
    expect(landed.rejected.map((record) => record.reason).sort()).toEqual([
      "`day` is not a date: 2024-13-45",
      "`id` is not a int: x",
    ]);
    expect(JSON.parse(landed.rejected[0]!.record)).toHaveProperty("id");
  });

  test.each(["timestamptz", "timestamp", "date", "time", "uuid", "boolean", "decimal(10,2)", "double", "int"] as const)(
    "text that is no %s is never taken for null",
    async (type) => {
      const one: Column[] = [{ name: "value", type }];
      const payload = (): Payload => ({
        form: "bytes",
        format: "csv",
        columns: one,
        chunks: chunks("0000-00-00 00:00:00\n"),
      });
      await expect(land(payload(), one)).rejects.toMatchObject({ code: "parse" });
      expect(await land(payload(), one, { tolerant: true })).toMatchObject({
        read: 1,
        written: 0,
        rejected: [{ record: expect.stringContaining("0000") }],
      });
    },
  );

  test("a source that counts more than what arrived is an error, never a short dataset", async () => {
    const simple: Column[] = [{ name: "id", type: "int" }];
    const payload: Payload = { form: "bytes", format: "csv", columns: simple, chunks: chunks("1\n2\n"), rows: () => 3 };
    await expect(land(payload, simple)).rejects.toMatchObject({ code: "corrupt" });
  });

  test("an iterator that fails wins over what the query makes of the cut stream", async () => {
    const simple: Column[] = [{ name: "id", type: "int" }];
    const failing = async function* (): AsyncIterable<Uint8Array> {
      yield Buffer.from("1\n2\n");
      throw new Error("the peer went away");
    };
    await expect(land({ form: "bytes", format: "csv", columns: simple, chunks: failing() }, simple)).rejects.toThrow(
      "the peer went away",
    );
  });

  test("a query that fails early frees a writer with megabytes to go", async () => {
    const simple: Column[] = [{ name: "id", type: "int" }];
    let pulled = 0;
    const endless = async function* (): AsyncIterable<Uint8Array> {
      for (; pulled < 10_000; pulled++) yield Buffer.from("x\n".repeat(50_000));
    };
    await expect(
      land({ form: "bytes", format: "csv", columns: simple, chunks: endless() }, simple),
    ).rejects.toMatchObject({ code: "parse" });
    expect(pulled).toBeLessThan(10_000);
  });

  test("a statement that is wrong frees a writer that nobody listens to", async () => {
    const simple: Column[] = [{ name: "id", type: "int" }];
    const payload: Payload = { form: "bytes", format: "csv", columns: simple, chunks: chunks("1\n") };
    await expect(land(payload, simple, { select: (input) => `SELECT nothing FROM ${input}` })).rejects.toMatchObject({
      code: "usage",
    });
  });

  test("an abort ends it within a second", async () => {
    const simple: Column[] = [{ name: "id", type: "int" }];
    const controller = new AbortController();
    const slow = async function* (): AsyncIterable<Uint8Array> {
      for (let index = 0; ; index++) {
        yield Buffer.from(`${index}\n`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    const started = performance.now();
    setTimeout(() => controller.abort(), 200);
    const error = await land({ form: "bytes", format: "csv", columns: simple, chunks: slow() }, simple, {
      signal: controller.signal,
    }).catch((caught: unknown) => caught);
    expect(isMillraceError(error) && error.code).toBe("aborted");
    expect(performance.now() - started).toBeLessThan(1500);
  });

  test.each(["csv", "ndjson"] as const)("a record longer than a small buffer is read whole (%s)", async (format) => {
    const one: Column[] = [{ name: "text", type: "string" }];
    const line = (text: string): string => (format === "csv" ? `${text}\n` : `${JSON.stringify({ text })}\n`);
    const payload = (): Payload => ({
      form: "bytes",
      format,
      columns: one,
      chunks: chunks(line("a"), line("x".repeat(6_000_000)), line("b")),
    });
    const landed = await land(payload(), one).catch((error: unknown) => {
      expect(error).toMatchObject({ code: "parse" });
      return land(payload(), one, { tolerant: true });
    });
    expect(landed).toMatchObject({ read: 3, written: 3, rejected: [] });
    expect(
      await rowsOf(landed, "sum(length(text))::INTEGER AS length, max(text) = repeat('x', 6000000) AS same"),
    ).toEqual([{ length: 6_000_002, same: true }]);
  });

  test("no rows give no file", async () => {
    const simple: Column[] = [{ name: "id", type: "int" }];
    expect(await land({ form: "bytes", format: "csv", columns: simple, chunks: chunks() }, simple)).toMatchObject({
      files: [],
      read: 0,
    });
  });

  test("leaves no pipe and no half-written file behind", async () => {
    expect((await readdir(spill())).filter((name) => name.startsWith("pipe-"))).toEqual([]);
    expect((await readdir(root)).filter((name) => name.endsWith(".partial"))).toEqual([]);
  });
});

describe("bytes as NDJSON", () => {
  const columns: Column[] = [
    { name: "id", type: "long" },
    {
      name: "who",
      type: {
        type: "struct",
        fields: [
          { name: "name", type: "string" },
          { name: "big", type: "long" },
        ],
      },
    },
    { name: "price", type: "decimal(18,4)" },
  ];
  test("nested, with integers beyond 2^53 and decimals exact", async () => {
    const lines = `{"id":9007199254740993,"who":{"name":"Ä","big":-9007199254740993},"price":"12345678901234.5678"}\n{"id":2}\n`;
    const landed = await land({ form: "bytes", format: "ndjson", columns, chunks: chunks(lines) }, columns);
    const rows = await rowsOf(landed);
    expect(rows).toContainEqual({
      id: 9007199254740993n,
      who: { name: "Ä", big: -9007199254740993n },
      price: "12345678901234.5678",
    });
    expect(rows).toContainEqual({ id: 2n, who: null, price: null });
  });
  test("a single column, in chunks cut anywhere, with blank lines and no newline at the end", async () => {
    const one: Column[] = [{ name: "id", type: "long" }];
    const texts = ['{"i', 'd":1}\n\n', ' \r\n{"id":2}', "\n", '{"id":3}'];
    const payload = (): Payload => ({ form: "bytes", format: "ndjson", columns: one, chunks: chunks(...texts) });
    expect(await land(payload(), one)).toMatchObject({ read: 3, written: 3 });
    // A transform that leaves rows out: what was read is known all the same.
    const select = (input: string): string => `SELECT * FROM ${input} WHERE id > 1`;
    expect(await land(payload(), one, { select })).toMatchObject({ read: 3, written: 2, filtered: 1 });
  });
  test("the second reading sets bad lines apart as they were", async () => {
    const payload: Payload = {
      form: "bytes",
      format: "ndjson",
      columns,
      chunks: chunks(`{"id":1}\n{"id":"x"}\n{broken\n{"id":4}\n`),
    };
    const landed = await land(payload, columns, { tolerant: true });
    expect(landed).toMatchObject({ read: 4, written: 2 });
    expect(landed.rejected.map(({ record }) => record).sort()).toEqual(['{"id":"x"}', "{broken"]);
  });
});

describe("columns and assets", () => {
  test("typed arrays with validity, text of exact types", async () => {
    const columns: Column[] = [
      { name: "n", type: "long" },
      { name: "x", type: "double" },
      { name: "d", type: "decimal(20,2)" },
      { name: "b", type: "binary" },
    ];
    const rows = 5000;
    const batch = {
      rows,
      columns: [
        {
          values: BigInt64Array.from({ length: rows }, (_, index) => BigInt(index)),
          validity: Uint8Array.from({ length: rows }, (_, index) => (index === 3 ? 0 : 1)),
        },
        { values: Float64Array.from({ length: rows }, (_, index) => index / 2) },
        { values: Array.from({ length: rows }, (_, index) => `${index}.25`) },
        { values: Array.from({ length: rows }, () => Uint8Array.of(0, 255)) },
      ],
    };
    const landed = await land(
      {
        form: "columns",
        columns,
        batches: (async function* () {
          yield batch;
          yield batch;
        })(),
      },
      columns,
    );
    expect(landed).toMatchObject({ read: 10_000, written: 10_000 });
    const [facts] = await rowsOf(landed, "count(n) AS n, sum(x) AS x, sum(d) AS d, min(hex(b)) AS b");
    expect(facts).toEqual({ n: 9998n, x: 12497500, d: "24997500.00", b: "00FF" });
  });
  test("assets land with their metadata", async () => {
    const { assetColumns } = await import("../../src/core/index.ts");
    const asset = {
      uri: "a.txt",
      mediaType: "text/plain",
      size: 3,
      sha256: "ab".repeat(32),
      modified: Date.UTC(2024, 0, 2),
      bytes: Buffer.from("abc"),
    };
    const landed = await land(
      {
        form: "assets",
        assets: (async function* () {
          yield asset;
        })(),
      },
      [...assetColumns],
    );
    expect(await rowsOf(landed, "uri, size, modified, bytes::VARCHAR AS text")).toEqual([
      { uri: "a.txt", size: 3n, modified: "2024-01-02 00:00:00+00", text: "abc" },
    ]);
  });
});

describe("the session", () => {
  test.each([
    "SELECT * FROM read_text('/etc/passwd')",
    "COPY (SELECT 1) TO '/tmp/millrace-outside.csv'",
    "ATTACH '/tmp/millrace-outside.db'",
    "INSTALL httpfs",
    "SET enable_external_access = true",
    "SET memory_limit = '10GB'",
    "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')",
  ])("refuses %s", async (sql) => {
    await expect(engine.query(sql)).rejects.toSatisfy(isMillraceError);
  });

  const deadly = "../shared/corpora/good/tables/parquet-variant/case-132.parquet";
  test.skipIf(!existsSync(deadly))("goes on in a new engine after an error that ends the engine", async () => {
    const folder = join(root, "deadly");
    await mkdir(folder);
    await copyFile(deadly, join(folder, "file.parquet"));
    const ended = engine.query(`SELECT * FROM read_parquet('${folder}/file.parquet')`);
    await expect(ended).rejects.toMatchObject({ code: "internal" });
    expect(await engine.query("SELECT 42 AS answer")).toEqual([{ answer: 42 }]);
    // As locked as the first one.
    await expect(engine.query("SELECT * FROM read_text('/etc/hostname')")).rejects.toMatchObject({
      code: "permission",
    });
  });

  test("streams results of any size in order of columns", async () => {
    let rows = 0;
    let sum = 0n;
    for await (const { batch } of engine.stream("SELECT range AS n, 'x' || range AS s FROM range(100000)")) {
      rows += batch.rows;
      for (const value of batch.columns[0]!.values as BigInt64Array) sum += value;
    }
    expect([rows, sum]).toEqual([100_000, 4999950000n]);
  });

  test("a stream that is left early gives its connection back", async () => {
    for await (const { batch } of engine.stream("SELECT * FROM range(1000000)")) {
      expect(batch.rows).toBeGreaterThan(0);
      break;
    }
    expect(await engine.query("SELECT 1 AS one")).toEqual([{ one: 1 }]);
  });
});
