import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { once } from "node:events";
import * as arrow from "apache-arrow";
import avro from "avsc";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatType } from "../../src/core/index.ts";
import { formatKind } from "../../src/formats/excel/workbook.ts";
import { dateText, decimalText, timestampText } from "../../src/formats/values.ts";
import { zip } from "../sources/zip.ts";
import { corpora, haveCorpora, openBench, type Bench, type Landing } from "./landing.ts";

let bench: Bench;
beforeAll(async () => {
  bench = await openBench();
});
afterAll(() => bench[Symbol.asyncDispose]());

/** Bytes as hexadecimal, so that they compare by value. */
const plain = (rows: Record<string, unknown>[]): Record<string, unknown>[] =>
  rows.map((row) =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => [
        name,
        value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value,
      ]),
    ),
  );
const shape = (landing: Landing): string[] =>
  landing.columns.map((column) => `${column.name} ${formatType(column.type)}`);

describe("csv", () => {
  const land = async (text: string, options: Record<string, unknown> = {}): Promise<Landing> =>
    bench.land({ path: await bench.file("x.csv", text), options });

  test("null is not the empty string", async () => {
    const landing = await land('id,v\n1,\n2,""\n3," "\n4,NULL\n');
    expect((await bench.rows(landing, "id")).map((row) => row["v"])).toEqual([null, "", " ", "NULL"]);
    const named = await land("id,v,n\n1,NA,NA\n2,,3\n", { nulls: ["NA"] });
    expect(await bench.rows(named, "id")).toEqual([
      { id: 1n, v: null, n: null },
      { id: 2n, v: "", n: 3n },
    ]);
  });

  test("numbers with leading zeros are codes and stay text", async () => {
    const landing = await land("zip,n\n00501,1\n10001,2\n");
    expect(shape(landing)).toEqual(["zip string", "n long"]);
    expect((await bench.rows(landing, "n")).map((row) => row["zip"])).toEqual(["00501", "10001"]);
  });

  test("an instant that cannot be read is rejected, never null", async () => {
    const good = Array.from({ length: 5 }, (_, index) => `${index},2024-01-01 00:00:00+02`).join("\n");
    const landing = await land(`id,at\n${good}\n9,0000-00-00 00:00:00+00\n`, { types: { at: "timestamptz" } });
    expect(landing.rejected).toMatchObject([
      { reason: "column `at`: `0000-00-00 00:00:00+00` is not a timestamp with zone" },
    ]);
    expect(await bench.rows(landing, "id")).toHaveLength(5);
  });

  test("ragged rows and broken quotes are rejected with file, line and text", async () => {
    const landing = await land('a,b,c\n1,2,3\n4,5\n6,7,8,9\n10,11,"x"y\n12,13,14\n');
    expect(await bench.rows(landing, "a")).toMatchObject([{ a: 1n }, { a: 12n }]);
    expect(landing.rejected.map(({ origin, record }) => `${origin} ${record}`).toSorted()).toEqual([
      "x.csv:3 4,5",
      "x.csv:4 6,7,8,9",
      'x.csv:5 10,11,"x"y',
    ]);
    expect(landing.rejected.map(({ reason }) => reason.split(":", 1).join()).toSorted()).toEqual([
      "broken quotes",
      "too few values",
      "too many values",
    ]);
    expect(landing.read).toBe(5);
  });

  test("a number with a fraction is never rounded into an integer column", async () => {
    const many = Array.from({ length: 30_000 }, (_, index) => `${index},x`).join("\n");
    const landing = await land(
      `id,v\n${many}\n1.5,late\n30001.0,whole\n9223372036854775807,most\n9223372036854775808,more\n`,
    );
    expect(shape(landing)).toEqual(["id long", "v string"]);
    expect(landing.rejected.map(({ record }) => record).toSorted()).toEqual(["1.5,late", "9223372036854775808,more"]);
    expect((await bench.rows(landing, "id")).slice(-2)).toEqual([
      { id: 30_001n, v: "whole" },
      { id: 9223372036854775807n, v: "most" },
    ]);
    expect(landing.read).toBe(30_004);
  });

  test("duplicate and empty names, one column, a header alone, a byte order mark", async () => {
    expect(shape(await land("a,a,,b\n1,2,3,4\n"))).toEqual(["a long", "a_1 long", "column2 long", "b long"]);
    expect(await bench.rows(await land("v\n1\n\n3\n"))).toEqual([{ v: 1n }, { v: null }, { v: 3n }]);
    expect((await land("a,b\n")).read).toBe(0);
    expect(shape(await land("\ufeffa;b\r\n1;2\r\n"))).toEqual(["a long", "b long"]);
  });

  test("a record longer than the limit is rejected, its neighbours arrive", async () => {
    const landing = await land(`id,v\n1,a\n2,${"x".repeat(3_000_000)}\n3,c\n`, {
      max_line_bytes: 1_000_000,
      types: { id: "long" },
      delimiter: ",",
      header: true,
    });
    expect((await bench.rows(landing, "id")).map((row) => row["id"])).toEqual([1n, 3n]);
    expect(landing.rejected[0]).toMatchObject({
      origin: "x.csv:3",
      reason: expect.stringContaining("max_line_bytes") as string,
    });
  });

  test("dates in the notation that was asked for", async () => {
    const landing = await land("d;p\n31.12.2024;1,5\n01.02.2025;2,25\n", {
      dateformat: "%d.%m.%Y",
      decimal_separator: ",",
      types: { d: "date", p: "decimal(6,2)" },
    });
    expect(await bench.rows(landing, "d")).toEqual([
      { d: "2024-12-31", p: "1.50" },
      { d: "2025-02-01", p: "2.25" },
    ]);
  });
});

describe("json", () => {
  test("integers beyond 2^53, and beyond 64 bits", async () => {
    const landing = await bench.land({
      path: await bench.file(
        "big.ndjson",
        '{"a":9007199254740993,"b":18446744073709551615,"c":1.5}\n{"a":-9223372036854775808,"b":1,"c":2}\n',
      ),
    });
    expect(shape(landing)).toEqual(["a long", "b decimal(38,0)", "c double"]);
    expect(await bench.rows(landing, "c")).toEqual([
      { a: 9007199254740993n, b: "18446744073709551615", c: 1.5 },
      { a: -9223372036854775808n, b: "1", c: 2 },
    ]);
  });

  test("bad lines are rejected with their number, and never become nulls", async () => {
    const good = Array.from({ length: 25_000 }, (_, index) => `{"a":${index},"s":{"x":${index},"l":[1,2]}}`).join("\n");
    const bad = [
      '{"a":1.5}',
      '{"a":"x"}',
      "{bad",
      "[1]",
      '{"a":1,"a":2}',
      '{"a":1,"s":{"x":"q"}}',
      '{"a":1,"s":{"l":[1,"z"]}}',
      '{"a":true}',
    ];
    const landing = await bench.land({
      path: await bench.file("bad.ndjson", `${good}\n\n${bad.join("\n")}\n{"a":7.0,"s":null}\n{"a":null}\n`),
    });
    expect(landing.written).toBe(25_002);
    expect(
      landing.rejected
        .map(({ origin, record }) => [Number(origin.split(":")[1]), record])
        .toSorted((left, right) => Number(left[0]) - Number(right[0])),
    ).toEqual(bad.map((line, index) => [25_002 + index, line]));
    const [sums] = await bench.engine.query(
      `SELECT count(*) FILTER (s IS NULL) AS empty, sum(a)::VARCHAR AS total FROM ${landing.relation}`,
    );
    expect(sums).toEqual({ empty: 2n, total: "312487507" });
  });

  test("integers inside of nested values are exact as well, and a fraction is never rounded away", async () => {
    const good = Array.from({ length: 25_000 }, (_, index) =>
      JSON.stringify({ s: { x: index, deep: [{ n: index }] }, l: [[index], []] }),
    ).join("\n");
    const big = '{"s":{"x":9007199254740993,"deep":null},"l":null}';
    const bad = ['{"s":{"x":1.5}}', '{"s":{"deep":[{"n":2},{"n":2.5}]}}', '{"l":[[3],[3.5]]}'];
    const exact = await bench.land({ path: await bench.file("exact.ndjson", `${good}\n${big}\n`) });
    expect(exact).toMatchObject({ written: 25_001, rejected: [] });
    const [facts] = await bench.engine.query(
      `SELECT max(s.x) AS most, sum(s.deep[1].n)::VARCHAR AS sum, count(*) FILTER (l IS NULL) AS none FROM ${exact.relation}`,
    );
    expect(facts).toEqual({ most: 9007199254740993n, sum: "312487500", none: 1n });
    const mixed = await bench.land({
      path: await bench.file("rounded.ndjson", `${good}\n${bad.join("\n")}\n`),
    });
    expect(mixed.written).toBe(25_000);
    expect(mixed.rejected.map(({ record }) => record).toSorted()).toEqual(bad.toSorted());
  });

  test("lines that are no text are rejected, and the others keep their numbers", async () => {
    const lines = [
      '{"a":1}',
      Buffer.from('{"a":"\xff"}', "latin1"),
      '{"a":2}',
      "{bad",
      "",
      Buffer.from([0xc0, 0x80]),
      "{worse",
      '{"a":3}',
    ];
    const content = Buffer.concat(lines.flatMap((line) => [Buffer.from(line), Buffer.from("\n")]));
    const landing = await bench.land({ path: await bench.file("torn.ndjson", content) });
    expect((await bench.rows(landing, "a")).map((row) => row["a"])).toEqual([1n, 2n, 3n]);
    expect(landing.rejected.map(({ origin, reason }) => `${origin} ${reason}`).toSorted()).toEqual([
      "torn.ndjson:2 wrong encoding",
      "torn.ndjson:4 not valid JSON",
      "torn.ndjson:6 wrong encoding",
      "torn.ndjson:7 not valid JSON",
    ]);
  });

  test("an array that was cut is refused, elements that do not fit are rejected", async () => {
    for (const text of ['[{"a":1},{"a":2},', '[{"a":1},{"a":2}', '[{"a":1},{"a":', '{"a":1', " "]) {
      expect(`${text}: ${(await bench.refusal({ path: await bench.file("cut.json", text) })).code}`).toBe(
        `${text}: parse`,
      );
    }
    const many = Array.from({ length: 25_000 }, (_, index) => `{"a":${index}}`).join(",\n");
    const landing = await bench.land({ path: await bench.file("late.json", `[${many},\n{"a":"x"},{"a":1.25}]`) });
    expect([landing.written, landing.rejected.length]).toEqual([25_000, 2]);
  });

  test("a key that is called json, values that are no objects, keys that differ in case", async () => {
    expect(await bench.rows(await bench.land({ path: await bench.file("k.json", '[{"json":1}]') }))).toEqual([
      { json: 1n },
    ]);
    expect(await bench.rows(await bench.land({ path: await bench.file("v.json", '[1,"a",null,{"b":2}]') }))).toEqual([
      { json: "1" },
      { json: "a" },
      { json: null },
      { json: '{"b":2}' },
    ]);
    expect(await bench.refusal({ path: await bench.file("c.json", '[{"a":1,"A":2}]') })).toMatchObject({
      code: "schema",
    });
    expect(await bench.refusal({ path: await bench.file("e.json", '[{"":1}]') })).toMatchObject({ code: "schema" });
    expect(shape(await bench.land({ path: await bench.file("u.json", '[{"a":1,"a_1":2,"C0":3}]') }))).toEqual([
      "a long",
      "a_1 long",
      "C0 long",
    ]);
  });
});

test("arrow keeps every value of every type", async () => {
  const field = (name: string, type: arrow.DataType): arrow.Field => new arrow.Field(name, type, true);
  const vectors: Record<string, arrow.Vector> = {
    long: arrow.vectorFromArray([9007199254740993n, -9223372036854775808n, null], new arrow.Int64()),
    unsigned: arrow.vectorFromArray([18446744073709551615n, 0n, null], new arrow.Uint64()),
    double: arrow.vectorFromArray([0.1, Infinity, null], new arrow.Float64()),
    text: arrow.vectorFromArray(['a "quoted",\r\n line', "", null], new arrow.Utf8()),
    bytes: arrow.vectorFromArray([new Uint8Array([0, 255]), new Uint8Array(), null], new arrow.Binary()),
    flag: arrow.vectorFromArray([true, false, null], new arrow.Bool()),
    day: arrow.vectorFromArray([new Date("0001-01-01"), new Date("9999-12-31"), null], new arrow.DateDay()),
    word: arrow.vectorFromArray(["x", "y", null], new arrow.Dictionary(new arrow.Utf8(), new arrow.Int32())),
    list: arrow.vectorFromArray(
      [[1n, null, 9007199254740993n], [], null],
      new arrow.List(field("item", new arrow.Int64())),
    ),
    struct: arrow.vectorFromArray(
      [{ a: 'q"', b: true }, { a: null, b: null }, null],
      new arrow.Struct([field("a", new arrow.Utf8()), field("b", new arrow.Bool())]),
    ),
  };
  const table = new arrow.Table(vectors);
  for (const kind of ["file", "stream"] as const) {
    const name = await bench.file(`types-${kind}.arrow`, arrow.tableToIPC(table, kind));
    const landing = await bench.land({ path: name });
    expect(shape(landing)).toEqual([
      "long long",
      "unsigned decimal(20,0)",
      "double double",
      "text string",
      "bytes binary",
      "flag boolean",
      "day date",
      "word string",
      "list list<long>",
      "struct struct<a: string, b: boolean>",
    ]);
    expect(plain(await bench.rows(landing))).toEqual([
      {
        long: 9007199254740993n,
        unsigned: "18446744073709551615",
        double: 0.1,
        text: 'a "quoted",\r\n line',
        bytes: "00ff",
        flag: true,
        day: "0001-01-01",
        word: "x",
        list: [1n, null, 9007199254740993n],
        struct: { a: 'q"', b: true },
      },
      {
        long: -9223372036854775808n,
        unsigned: "0",
        double: Infinity,
        text: "",
        bytes: "",
        flag: false,
        day: "9999-12-31",
        word: "y",
        list: [],
        struct: { a: null, b: null },
      },
      {
        long: null,
        unsigned: null,
        double: null,
        text: null,
        bytes: null,
        flag: null,
        day: null,
        word: null,
        list: null,
        struct: null,
      },
    ]);
    expect(landing.read).toBe(3);
  }
});

test.skipIf(!haveCorpora)("arrow times and decimals are exact, nanoseconds are not rounded", async () => {
  const folder = join(corpora, "good/tables/arrow-ipc");
  const decimals = await bench.land({ path: join(folder, "cpp-21.0.0-generated_decimal.stream") });
  const stated = JSON.parse(
    gunzipSync(readFileSync(join(folder, "cpp-21.0.0-generated_decimal.json.gz"))).toString(),
  ) as {
    batches: { columns: { name: string; VALIDITY: number[]; DATA: string[] }[] }[];
  };
  const rows = await bench.rows(decimals);
  for (const { name } of decimals.columns) {
    const values = stated.batches.flatMap(({ columns }) => {
      const { VALIDITY, DATA } = columns.find((column) => column.name === name)!;
      return DATA.map((unscaled, index) => (VALIDITY[index] === 1 ? decimalText(BigInt(unscaled), 2) : null));
    });
    expect({ name, values: rows.map((row) => row[name]) }).toEqual({ name, values });
  }
  const times = await bench.land({
    path: join(corpora, "good/tables/arrow-ipc/1.0.0-littleendian-generated_datetime.stream"),
  });
  expect(times.read).toBe(17);
  for (const { reason, origin } of times.rejected) {
    expect(reason).toMatch(/nanoseconds|not a time of day/);
    expect(origin).toMatch(/generated_datetime\.stream:row \d+$/);
  }
});

test("avro keeps every value of every type", async () => {
  const schema = {
    type: "record",
    name: "Everything",
    fields: [
      { name: "i", type: "int" },
      { name: "d", type: ["null", "double"] },
      { name: "s", type: ["null", "string"] },
      { name: "b", type: "bytes" },
      { name: "e", type: { type: "enum", name: "E", symbols: ["A", "B"] } },
      { name: "l", type: { type: "array", items: ["null", "int"] } },
      { name: "m", type: { type: "map", values: "string" } },
      { name: "day", type: { type: "int", logicalType: "date" } },
      { name: "amount", type: { type: "bytes", logicalType: "decimal", precision: 20, scale: 3 } },
      { name: "u", type: { type: "string", logicalType: "uuid" } },
      { name: "n", type: ["int", "string"] },
      { name: "self", type: ["null", "Everything"], default: null },
    ],
  } as const;
  const encoder = new avro.streams.BlockEncoder(schema as unknown as avro.Schema, { codec: "deflate" });
  const chunks: Buffer[] = [];
  encoder.on("data", (chunk: Buffer) => chunks.push(chunk));
  const base = {
    b: Buffer.from([0, 255]),
    e: "B",
    day: -719162,
    amount: Buffer.from([0xff, 0x38]),
    u: "3f333df6-90a4-4fda-8dd3-9485d27cee36",
    self: null,
  };
  encoder.write({ ...base, i: 1, d: 0.1, s: 'x"\n', l: [1, null], m: { k: "v" }, n: 5 });
  encoder.end({ ...base, i: 2, d: null, s: null, l: [], m: {}, n: "5", self: null });
  await once(encoder, "end");
  await bench.file("types.avro", Buffer.concat(chunks));
  const landing = await bench.land({ path: "types.avro" });
  expect(shape(landing)).toEqual([
    "i int",
    "d double",
    "s string",
    "b binary",
    "e string",
    "l list<int>",
    "m map<string, string>",
    "day date",
    "amount decimal(20,3)",
    "u uuid",
    "n string",
    "self string",
  ]);
  expect(plain(await bench.rows(landing, "i"))).toEqual([
    {
      i: 1,
      d: 0.1,
      s: 'x"\n',
      b: "00ff",
      e: "B",
      l: [1, null],
      m: [["k", "v"]],
      day: "0001-01-01",
      amount: "-0.200",
      u: base.u,
      n: "5",
      self: null,
    },
    {
      i: 2,
      d: null,
      s: null,
      b: "00ff",
      e: "B",
      l: [],
      m: [],
      day: "0001-01-01",
      amount: "-0.200",
      u: base.u,
      n: "5",
      self: null,
    },
  ]);
});

describe("excel", () => {
  const relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
  const workbook = (sheet: string, more: Record<string, string> = {}): Buffer =>
    zip({
      "_rels/.rels": `<Relationships><Relationship Id="r1" Type="${relation}/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
      "xl/workbook.xml": `<workbook><sheets><sheet name="One" r:id="s1"/><sheet name="Two" r:id="s2"/></sheets></workbook>`,
      "xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="s1" Type="${relation}/worksheet" Target="worksheets/1.xml"/><Relationship Id="s2" Type="${relation}/worksheet" Target="/xl/worksheets/2.xml"/><Relationship Id="t" Type="${relation}/styles" Target="styles.xml"/><Relationship Id="u" Type="${relation}/sharedStrings" Target="sharedStrings.xml"/></Relationships>`,
      "xl/styles.xml": `<styleSheet><numFmts><numFmt numFmtId="170" formatCode="dd/mm/yyyy\\ hh:mm"/></numFmts><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="170"/><xf numFmtId="21"/></cellXfs></styleSheet>`,
      "xl/sharedStrings.xml": `<sst><si><t>id</t></si><si><r><t>ri</t></r><r><t>ch</t></r><rPh><t>no</t></rPh></si></sst>`,
      "xl/worksheets/1.xml": `<worksheet><sheetData>${sheet}</sheetData></worksheet>`,
      "xl/worksheets/2.xml": `<worksheet><sheetData><row><c t="inlineStr"><is><t>only</t></is></c></row><row><c><v>7</v></c></row></sheetData></worksheet>`,
      ...more,
    });

  test("numbers, text, dates, booleans, errors and holes", async () => {
    const sheet = `<row r="2"><c r="A2" t="s"><v>0</v></c><c r="B2" t="str"><v>day</v></c><c r="C2" t="inlineStr"><is><t>at</t></is></c><c r="D2" t="str"><v>time</v></c><c r="E2" t="str"><v>flag</v></c><c r="F2" t="str"><v>x</v></c></row>
      <row r="3"><c r="A3"><v>1</v></c><c r="B3" s="1"><v>45658</v></c><c r="C3" s="2"><v>45658.75</v></c><c r="D3" s="3"><v>0.5</v></c><c r="E3" t="b"><v>1</v></c><c r="F3" t="s"><v>1</v></c></row>
      <row r="4"/><row r="5"><c r="A5"><v>2</v></c><c r="F5"><v>0.1</v></c></row>
      <row r="6"><c r="A6"><v>3</v></c><c r="F6" t="e"><v>#DIV/0!</v></c></row>`;
    const name = await bench.file("book.xlsx", workbook(sheet));
    const landing = await bench.land({ path: name });
    expect(shape(landing)).toEqual(["id long", "day date", "at timestamp", "time time", "flag boolean", "x string"]);
    expect(await bench.rows(landing, "id")).toEqual([
      { id: 1n, day: "2025-01-01", at: "2025-01-01 18:00:00", time: "12:00:00", flag: true, x: "rich" },
      { id: 2n, day: null, at: null, time: null, flag: null, x: "0.1" },
    ]);
    expect(landing.rejected).toMatchObject([
      { origin: "book.xlsx:6", reason: "column `x`: the cell is the error `#DIV/0!`" },
    ]);
    expect(landing.read).toBe(3);
    expect((await bench.land({ path: name, options: { errors: "null" } })).written).toBe(3);
    expect(await bench.rows(await bench.land({ path: name, options: { sheet: "Two" } }))).toEqual([{ only: 7n }]);
    expect(await bench.rows(await bench.land({ path: name, options: { sheet: 2, header: false } }))).toHaveLength(2);
    expect(await bench.refusal({ path: name, options: { sheet: "Tow" } })).toMatchObject({
      code: "not-found",
      hint: "did you mean `Two`?",
    });
  });

  test("a document type, entities and deep nesting are refused", async () => {
    for (const part of [
      `<!DOCTYPE x [<!ENTITY a "aaaa">]><sst><si><t>&a;</t></si></sst>`,
      `<sst><si><t>&unknown;</t></si></sst>`,
      `<sst>${"<a>".repeat(200)}`,
      `<sst><si>`,
    ]) {
      const name = await bench.file("attack.xlsx", workbook("", { "xl/sharedStrings.xml": part }));
      expect(["parse", "limit"]).toContain((await bench.refusal({ path: name })).code);
    }
  });

  test.skipIf(!haveCorpora)("the same table as csv and as xlsx", async () => {
    const path = join(corpora, "good/tables/xlsx/test-columnar");
    const columns = '"Record Number", "Square of the Record Number", "Description of the Row", "date", "time"';
    const both = await Promise.all(
      ["csv", "xlsx"].map(async (format) => {
        const landing = await bench.land({ path: `${path}.${format}` });
        return bench.engine.query(`SELECT ${columns} FROM ${landing.relation} ORDER BY 1`);
      }),
    );
    expect(both[1]).toEqual(both[0]);
    expect(both[0]).toHaveLength(11);
  });

  test("formats of numbers", () => {
    const kinds = Object.fromEntries(
      [
        "General",
        "0.00",
        "yyyy-mm-dd",
        "h:mm",
        "[h]:mm:ss",
        "m/d/yy h:mm",
        '"day" 0',
        "\\d0",
        "#,##0.00;[Red]-#,##0.00",
        "mmm",
        "@",
        "0.00E+00",
      ].map((code) => [code, formatKind(code)]),
    );
    expect(kinds).toEqual({
      General: "number",
      "0.00": "number",
      "yyyy-mm-dd": "date",
      "h:mm": "time",
      "[h]:mm:ss": "time",
      "m/d/yy h:mm": "timestamp",
      '"day" 0': "number",
      "\\d0": "number",
      "#,##0.00;[Red]-#,##0.00": "number",
      mmm: "date",
      "@": "number",
      "0.00E+00": "number",
    });
  });
});

test("text of dates and decimals is what the engine reads", async () => {
  const days = [-719_528, -719_162, -1, 0, 59, 11_016, 2_932_896, 3_000_000, -800_000];
  for (const day of days) {
    const [row] = await bench.engine.query(`SELECT CAST('${dateText(day)}' AS DATE) - DATE '1970-01-01' AS day`);
    expect(Number(row!["day"])).toBe(day);
  }
  for (const micros of [0n, -1n, 1_234_567_890_123_456n, -62_135_596_800_000_001n, -70_000_000_000_000_000n]) {
    const [row] = await bench.engine.query(
      `SELECT epoch_us(CAST('${timestampText(micros, false)}' AS TIMESTAMP)) AS a, epoch_us(CAST('${timestampText(micros, true)}' AS TIMESTAMPTZ)) AS b`,
    );
    expect(row).toEqual({ a: micros, b: micros });
  }
  expect([
    decimalText(-5n, 3),
    decimalText(0n, 2),
    decimalText(12345n, 2),
    decimalText(7n, 0),
    decimalText(7n, -2),
  ]).toEqual(["-0.005", "0.00", "123.45", "7", "700"]);
});
