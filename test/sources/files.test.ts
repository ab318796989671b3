import { appendFile, mkdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatType, type Cursor } from "../../src/core/index.ts";
import { Position } from "../../src/sources/files/identity.ts";
import { isRemote, openBench, type Bench, type Landing } from "../formats/landing.ts";
import { zip } from "./zip.ts";

let bench: Bench;
beforeAll(async () => {
  bench = await openBench();
});
afterAll(() => bench[Symbol.asyncDispose]());

const at = (landing: Landing): Cursor => landing.plan.cursor!;
const ids = async (landing: Landing): Promise<number[]> => {
  if (landing.plan.parts.length === 0) return [];
  return (await bench.rows(landing, "id")).map((row) => Number(row["id"]));
};

describe("which files are read", () => {
  test("files, folders, globs and lists, each file once, hidden ones never", async () => {
    for (const name of [
      "a.csv",
      "b.csv",
      "deep/c.csv",
      "deep/er/d.csv",
      "_SUCCESS",
      ".hidden.csv",
      "deep/_temporary/e.csv",
    ]) {
      await bench.file(`which/${name}`, `id\n${"abcde".indexOf(name.at(-5)!)}\n`);
    }
    expect(await ids(await bench.land({ path: "which/a.csv" }))).toEqual([0]);
    expect(await ids(await bench.land({ path: "which" }))).toEqual([0, 1, 2, 3]);
    expect(await ids(await bench.land({ path: "which/*.csv" }))).toEqual([0, 1]);
    expect(await ids(await bench.land({ path: "which/**/*.csv" }))).toEqual([0, 1, 2, 3]);
    expect(await ids(await bench.land({ path: ["which/deep", "which/*.csv", "which/a.csv"] }))).toEqual([0, 1, 2, 3]);
    expect(await ids(await bench.land({ path: "which" }, { request: { stream: "deep/*.csv" } }))).toEqual([2]);
  });

  test("names with every kind of character", async () => {
    const all = [
      "sp ace.csv",
      "quo'te\".csv",
      "ünï.csv",
      "new\nline.csv",
      "glob[1]*.csv",
      "que?.csv",
      "back\\slash.csv",
      "back\\[x]*.csv",
      "{a,b}.csv",
      "-dash.csv",
      "%20.csv",
      "$HOME.csv",
      "s3:.csv",
    ];
    // No store has a backslash in a path.
    const names = isRemote() ? all.filter((name) => !name.includes("\\")) : all;
    for (const [index, name] of names.entries()) {
      await bench.file(`odd/${name}`, `id,text\n${index},${index}\nx,\n`);
      const landing = await bench.land({ path: `odd/${name}`, options: { types: { id: "long" } } });
      expect({ name, ids: await ids(landing) }).toEqual({ name, ids: [index] });
      expect(landing.rejected).toMatchObject([{ origin: `odd/${name}:3`, record: "x," }]);
    }
    expect((await bench.land({ path: "odd", options: { types: { id: "long" } } })).written).toBe(names.length);
  });

  test("what is not there, and what leads out", async () => {
    await bench.file("out/in/a.csv", "id\n1\n");
    await bench.file("out/secret.csv", "id\n2\n");
    expect(await bench.refusal({ path: "out/im" })).toMatchObject({ code: "not-found", hint: "did you mean `in`?" });
    expect(await bench.refusal({ path: "out/*.parquet" })).toMatchObject({ code: "not-found" });
    expect(await bench.refusal({ path: "nowhere/*.csv" })).toMatchObject({ code: "not-found" });
    expect(await bench.refusal({ path: "out/in" }, { request: { stream: "../secret.csv" } })).toMatchObject({
      code: "permission",
    });
    expect(await bench.refusal({ path: "out/in" }, { request: { query: "select 1" } })).toMatchObject({
      code: "unsupported",
    });
    expect(await bench.refusal({})).toMatchObject({ code: "config" });
    await symlink("../secret.csv", join(bench.folder, "out/in/link.csv"));
    // A store does not show links at all.
    if (isRemote()) expect(await ids(await bench.land({ path: "out/in" }))).toEqual([1]);
    else expect(await bench.refusal({ path: "out/in" })).toMatchObject({ code: "permission" });
  });

  test("streams are what one flow can read", async () => {
    await bench.file("streams/orders/1.csv", "id,price\n1,2.5\n");
    await bench.file("streams/orders/2.csv", "id,price\n2,3\n");
    await bench.file("streams/events.ndjson.gz", gzipSync('{"at":"2024-01-01"}\n'));
    await bench.file("streams/broken.parquet", "PAR1");
    await using files = await bench.open({ path: "streams" });
    const found = [];
    for await (const { name, columns, bytes } of files.streams())
      found.push([name, columns.map((column) => `${column.name} ${formatType(column.type)}`).join(", "), bytes]);
    expect(found).toEqual([
      ["*.parquet", "", 4],
      ["*.ndjson.gz", "at date", 40],
      ["orders/*.csv", "id long, price double", 28],
    ]);
    expect(await ids(await bench.land({ path: "streams" }, { request: { stream: "orders/*.csv" } }))).toEqual([1, 2]);
  });

  test("options that do not exist are named", async () => {
    await bench.file("options.csv", "id\n1\n");
    expect(await bench.refusal({ path: "options.csv", options: { delimeter: ";" } })).toMatchObject({
      code: "config",
      message: expect.stringContaining("did you mean `delimiter`?") as string,
    });
    expect(await bench.refusal({ path: "options.csv", format: "cvs" })).toMatchObject({
      code: "config",
      hint: "did you mean `csv`?",
    });
    expect(await bench.refusal({ path: "options.csv", options: { types: { id: "bigint" } } })).toMatchObject({
      code: "config",
    });
    expect(await bench.refusal({ path: "options.csv" }, { request: { columns: ["ix"] } })).toMatchObject({
      code: "not-found",
      hint: "did you mean `id`?",
    });
  });
});

describe("only what is new", () => {
  test("new files, then nothing", async () => {
    await bench.file("new/1.csv", "id,v\n1,a\n");
    const first = await bench.land({ path: "new" });
    await bench.file("new/2.csv", "id,v\n2,b\n");
    const second = await bench.land({ path: "new" }, { after: at(first) });
    expect(await ids(second)).toEqual([2]);
    await utimes(join(bench.folder, "new/1.csv"), new Date(), new Date());
    const third = await bench.land({ path: "new" }, { after: at(second) });
    expect(third.plan.parts).toEqual([]);
    // A file that was only touched is not looked at again.
    expect((await bench.land({ path: "new" }, { after: at(third) })).plan.cursor).toEqual(at(third));
    await rm(join(bench.folder, "new/1.csv"));
    expect((await bench.land({ path: "new" }, { after: at(third) })).plan.parts).toEqual([]);
  });

  test("lines that were added are read alone, an unfinished one not before it is whole", async () => {
    for (const [name, header, line] of [
      ["log.csv", "id,v\n", (id: number) => `${id},"x"\n`],
      ["log.ndjson", "", (id: number) => `{"id":${id},"v":"x"}\n`],
      ["log.tsv", "id\tv\n", (id: number) => `${id}\tx\n`],
    ] as const) {
      const path = join(bench.folder, `grow/${name}`);
      await bench.file(`grow/${name}`, header + line(1) + line(2));
      let landing = await bench.land({ path: `grow/${name}` });
      expect(await ids(landing)).toEqual([1, 2]);
      await appendFile(path, line(3) + line(4).slice(0, -2));
      landing = await bench.land({ path: `grow/${name}` }, { after: at(landing) });
      expect(await ids(landing)).toEqual([3]);
      await appendFile(path, line(4).slice(-2));
      landing = await bench.land({ path: `grow/${name}` }, { after: at(landing) });
      expect(await ids(landing)).toEqual([4]);
      expect(landing.columns.map((column) => column.name)).toEqual(["id", "v"]);
      expect((await bench.land({ path: `grow/${name}` }, { after: at(landing) })).plan.parts).toEqual([]);
    }
  });

  test("any other change is a conflict, unless one says what to do", async () => {
    const path = join(bench.folder, "changed.csv");
    await bench.file("changed.csv", "id\n1\n2\n");
    const first = await bench.land({ path: "changed.csv" });
    for (const content of ["id\n1\n3\n", "id\n1\n", "id\n7\n2\n3\n"]) {
      await writeFile(path, content);
      expect(await bench.refusal({ path: "changed.csv" }, { after: at(first) })).toMatchObject({
        code: "conflict",
        where: { file: "changed.csv" },
      });
    }
    const ignored = await bench.land({ path: "changed.csv", changed: "ignore" }, { after: at(first) });
    expect(ignored.plan.parts).toEqual([]);
    expect((await bench.land({ path: "changed.csv" }, { after: at(ignored) })).plan.parts).toEqual([]);
    expect(await ids(await bench.land({ path: "changed.csv", changed: "reread" }, { after: at(first) }))).toEqual([
      2, 3, 7,
    ]);
  });

  test("a document that grew is a change", async () => {
    await bench.file("grown.json", '[{"id":1}]');
    const first = await bench.land({ path: "grown.json" });
    await bench.file("grown.json", '[{"id":1}]\n');
    expect(await bench.refusal({ path: "grown.json" }, { after: at(first) })).toMatchObject({ code: "conflict" });
  });

  test("a file that changes between plan and read is a conflict; a log that grows meanwhile is cut to what was planned", async () => {
    await bench.file("meanwhile.csv", "id\n1\n");
    await bench.file("meanwhile.json", '[{"id":1}]');
    await using files = await bench.open({ path: ["meanwhile.csv", "meanwhile.json"] });
    const { parts } = await files.plan({}, {});
    await appendFile(join(bench.folder, "meanwhile.csv"), "2\n");
    await appendFile(join(bench.folder, "meanwhile.json"), " ");
    const payload = await files.read(parts[0]!, {}, {});
    expect(payload).toMatchObject({ form: "files", files: [{ name: "meanwhile.csv" }] });
    const [row] = await bench.engine.query(
      `SELECT count(*) AS n FROM read_csv('${(payload as { files: { path: string }[] }).files[0]!.path}', header = true)`,
    );
    expect(Number(row!["n"])).toBe(1);
    await expect(files.read(parts[1]!, {}, {})).rejects.toMatchObject({
      code: "conflict",
      where: { file: "meanwhile.json" },
    });
    await rm(join(bench.folder, "meanwhile.json"));
    await expect(files.read(parts[1]!, {}, {})).rejects.toMatchObject({ code: "not-found" });
  });

  test("beyond 10,000 files the cursor keeps hashes, and still knows each", () => {
    const position = new Position(undefined);
    for (let index = 0; index < 10_500; index++)
      position.set(`file-${index}.csv`, { size: index, modified: 1, etag: "e" });
    const again = new Position(JSON.parse(JSON.stringify(position.toCursor())) as Cursor);
    expect(again.get("file-0.csv")).toEqual({ size: 0, modified: 1, etag: "e" });
    expect(again.get("file-10499.csv")?.size).toBe(10_499);
    expect(again.get("file-10500.csv")).toBeUndefined();
    expect(JSON.stringify(position.toCursor())).not.toContain("file-");
    expect(() => new Position({ version: 2 })).toThrow(expect.objectContaining({ code: "unsupported" }));
  });

  test("a file called __proto__ is a file", async () => {
    await bench.file("proto/__proto__", "");
    const position = new Position(undefined);
    position.set("__proto__", { size: 1, modified: 1, etag: "e" });
    expect(new Position(JSON.parse(JSON.stringify(position.toCursor())) as Cursor).get("__proto__")?.size).toBe(1);
  });
});

describe("columns", () => {
  test("files of different columns are one table; types are widened", async () => {
    await bench.file("mixed/1.csv", "id,v\n1,10\n");
    await bench.file("mixed/2.csv", "v;id;w\n1.5;2;2024-01-01\n");
    await bench.file("mixed/3.ndjson", '{"id":3,"v":null,"extra":[1]}\n');
    const landing = await bench.land({ path: "mixed" });
    expect(landing.columns.map((column) => `${column.name} ${formatType(column.type)}`)).toEqual([
      "id long",
      "v double",
      "w date",
      "extra list<long>",
    ]);
    expect(await bench.rows(landing, "id")).toEqual([
      { id: 1n, v: 10, w: null, extra: null },
      { id: 2n, v: 1.5, w: "2024-01-01", extra: null },
      { id: 3n, v: null, w: null, extra: [1n] },
    ]);
  });

  test("the first files fix the types of text; what does not fit later is rejected, an empty column says nothing", async () => {
    await bench.file("fixed/1.csv", "id,code,note\n1,5,\n");
    const first = await bench.land({ path: "fixed" });
    await bench.file("fixed/2.csv", "id,code,note\n2,,x\n3,abc,y\n4,1.5,z\n5,6.0,\n");
    const second = await bench.land({ path: "fixed" }, { after: at(first) });
    expect(second.columns.map((column) => column.type)).toEqual(["long", "long", "string"]);
    expect(await bench.rows(second, "id")).toEqual([
      { id: 2n, code: null, note: "x" },
      { id: 5n, code: 6n, note: null },
    ]);
    expect(second.rejected.map((record) => record.reason).toSorted()).toEqual(
      [
        expect.stringContaining('Could not convert string "abc"') as string,
        "column `code`: `1.5` is not an integer",
      ].toSorted(),
    );
    expect(second.read).toBe(4);
  });

  test("a header without rows says nothing about types", async () => {
    await bench.file("headers/1.csv", "id,v\n");
    await bench.file("headers/2.csv", "id,v\n1,2024-01-01\n");
    const landing = await bench.land({ path: "headers" });
    expect(landing.columns.map((column) => column.type)).toEqual(["long", "date"]);
  });

  test("stated types that do not fit are a schema error that names both files", async () => {
    await bench.engine.export("SELECT 1 AS id, 'a' AS v", join(bench.folder, "one.parquet"), "FORMAT parquet");
    await bench.engine.export("SELECT 2 AS id, 5 AS v", join(bench.folder, "two.parquet"), "FORMAT parquet");
    const error = await bench.refusal({ path: "*.parquet" });
    expect(error).toMatchObject({ code: "schema", where: { column: "v" } });
    expect(error.message).toContain("one.parquet");
    expect(error.message).toContain("two.parquet");
  });

  test("parquet files of different widths are read as the wider", async () => {
    await bench.engine.export(
      "SELECT 1::INTEGER AS id, 1.5::FLOAT AS v",
      join(bench.folder, "widths/1.pq").replace("widths/", "w1-"),
      "FORMAT parquet",
    );
    await bench.engine.export(
      "SELECT 9007199254740993::BIGINT AS id, 2.5::DOUBLE AS v, true AS b",
      join(bench.folder, "w2-.pq"),
      "FORMAT parquet",
    );
    const landing = await bench.land({ path: "w*.pq" });
    expect(await bench.rows(landing, "id")).toEqual([
      { id: 1n, v: 1.5, b: null },
      { id: 9007199254740993n, v: 2.5, b: true },
    ]);
  });

  test("only the columns asked for", async () => {
    await bench.file("chosen.csv", "a,b,c\n1,2,3\n");
    const landing = await bench.land({ path: "chosen.csv" }, { request: { columns: ["c", "A"] } });
    expect(await bench.rows(landing)).toEqual([{ c: 3n, a: 1n }]);
  });
});

describe("parts", () => {
  test("are of about the size asked for, in the order of the names, and together all", async () => {
    for (let index = 0; index < 20; index++)
      await bench.file(`parts/${String(index).padStart(2, "0")}.csv`, `id\n${index}\n`);
    const landing = await bench.land({ path: "parts" }, { request: { partBytes: 20 } });
    expect(landing.plan.parts.length).toBeGreaterThan(4);
    expect(landing.plan.parts.map((part) => part.id)).toEqual(landing.plan.parts.map((part) => part.id).toSorted());
    expect(landing.plan.parts.every((part) => part.bytes! <= 20)).toBe(true);
    expect(await ids(landing)).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect((await bench.land({ path: "parts" })).plan.parts).toHaveLength(1);
  });
});

describe("wrapped files", () => {
  const csv = 'id,text\n1,ä\n2,"b\nc"\n';
  const rows = [
    { id: 1n, text: "ä" },
    { id: 2n, text: "b\nc" },
  ];
  // What bzip2 1.0.8 makes of it.
  const bzip2 = Buffer.from(
    "QlpoOTFBWSZTWYg7C44AAAfZlAAQEAQwAB4gBEAEAAgAIAAijRjI1MQAAKU+EAk6jl0yC+2C7kinChIRB2FxwA==",
    "base64",
  );
  test("gzip, zstd, bzip2, zip and UTF-16 are known by their content", async () => {
    const wrapped: Record<string, Uint8Array> = {
      "w.csv.gz": gzipSync(csv),
      "w-noname": gzipSync(csv),
      "w-two.csv.gz": Buffer.concat([gzipSync("id,text\n1,ä\n"), gzipSync('2,"b\nc"\n')]),
      "w.csv.zst": zstdCompressSync(Buffer.from(csv)),
      "w.csv.bz2": bzip2,
      "w.zip": zip({ "in/side.csv": csv, "__MACOSX/x": "x", ".DS_Store": "x" }),
      "w-le.csv": Buffer.from(`\ufeff${csv}`, "utf16le"),
      "w-be.csv": Buffer.from(`\ufeff${csv}`, "utf16le").swap16(),
      "w-le.csv.gz": gzipSync(Buffer.from(`\ufeff${csv}`, "utf16le")),
      "w-bom.csv": Buffer.from(`\ufeff${csv}`),
      "w-crlf.csv": Buffer.from(csv.replace(/\n(?=\d|$)/g, "\r\n").replace("text\n", "text\r\n")),
    };
    for (const [name, bytes] of Object.entries(wrapped)) {
      await bench.file(`wrapped/${name}`, bytes);
      const landing = await bench.land({ path: `wrapped/${name}` });
      expect({ name, rows: await bench.rows(landing, "id") }).toEqual({ name, rows });
    }
    const latin = await bench.file("latin.csv", Buffer.from(csv, "latin1"));
    expect(await bench.rows(await bench.land({ path: latin, options: { encoding: "latin1" } }), "id")).toEqual(rows);
    const wrong = await bench.land({ path: latin });
    expect(wrong.rejected).toMatchObject([
      { origin: "latin.csv:2", reason: expect.stringContaining("wrong encoding") as string },
    ]);
    expect(
      await bench.refusal({
        path: await bench.file("not-sjis.csv", Buffer.from([0x61, 0x0a, 0xff, 0xff, 0x0a])),
        options: { encoding: "shift_jis" },
      }),
    ).toMatchObject({ code: "parse", where: { file: "not-sjis.csv" } });
  });

  test("json in every wrapping", async () => {
    const json = '[{"id":9007199254740993}]';
    for (const [name, bytes] of Object.entries({
      "j.json.gz": gzipSync(json),
      "j.json.zst": zstdCompressSync(Buffer.from(json)),
      "j-bom.json": Buffer.from(`\ufeff${json}`),
      "j-16.json": Buffer.from(`\ufeff${json}`, "utf16le"),
      "j.ndjson.gz": gzipSync('{"id":9007199254740993}\n'),
      "j.zip": zip({ "a.json": json }),
    })) {
      await bench.file(`wrapped-json/${name}`, bytes);
      expect({ name, rows: await bench.rows(await bench.land({ path: `wrapped-json/${name}` })) }).toEqual({
        name,
        rows: [{ id: 9007199254740993n }],
      });
    }
  });

  test("members of an archive are files: new ones are read, changed ones are a conflict", async () => {
    await bench.file("members.zip", zip({ "1.csv": "id\n1\n", "2.csv": "id\n2\n" }));
    const first = await bench.land({ path: "members.zip" });
    expect(await ids(first)).toEqual([1, 2]);
    await bench.file("members.zip", zip({ "1.csv": "id\n1\n", "2.csv": "id\n2\n", "3.csv": "id\n3\n" }));
    const second = await bench.land({ path: "members.zip" }, { after: at(first) });
    expect(await ids(second)).toEqual([3]);
    await bench.file("members.zip", zip({ "1.csv": "id\n9\n" }));
    expect(await bench.refusal({ path: "members.zip" }, { after: at(second) })).toMatchObject({
      code: "conflict",
      where: { file: "members.zip!1.csv" },
    });
  });

  test("bombs, cut files and archives with tricks are refused", async () => {
    const zeros = Buffer.alloc(50_000_000);
    const cases: [string, Uint8Array, string][] = [
      ["bomb.json.gz", gzipSync(zeros), "limit"],
      ["bomb.zip", zip({ "a.csv": zeros }), "limit"],
      [
        "bomb.xlsx",
        zip({
          "[Content_Types].xml": "<x/>",
          "_rels/.rels":
            '<Relationships><Relationship Id="1" Type="x/officeDocument" Target="xl/workbook.xml"/></Relationships>',
          "xl/workbook.xml": `<workbook>${" ".repeat(50_000_000)}`,
        }),
        "limit",
      ],
      ["cut.csv.bz2", bzip2.subarray(0, -4), "parse"],
      ["flipped.csv.bz2", bzip2.map((byte, index) => (index === 30 ? byte ^ 1 : byte)), "parse"],
      ["cut.json.gz", gzipSync("[1,2,3]").subarray(0, -9), "parse"],
      ["cut.csv.gz", gzipSync("id\n" + "1\n".repeat(5000)).subarray(0, -12), "parse"],
      ["crc.zip", zip({ "a.csv": "id\n1\n" }, { crc: 1 }), "parse"],
      ["link.zip", zip({ "a.csv": "/etc/passwd" }, { mode: 0o120777 }), "parse"],
      ["slip.zip", zip({ "../a.csv": "id\n1\n" }), "parse"],
      ["twice.zip", zip({ "\u00e1.csv": "id\n1\n", "a\u0301.csv": "id\n1\n" }), "parse"],
      ["empty.parquet", Buffer.alloc(0), "parse"],
      ["empty.json", Buffer.alloc(0), "parse"],
      ["table.orc", Buffer.from("ORC\x00"), "unsupported"],
    ];
    for (const [name, bytes, code] of cases) {
      await bench.file(`tricks/${name}`, bytes);
      const error = await bench.refusal({ path: `tricks/${name}` });
      expect(`${name}: ${error.code}`).toBe(`${name}: ${code}`);
      expect(error.where.file).toContain(`tricks/${name}`);
    }
  });

  test("an empty folder of text is no rows, and no error", async () => {
    await bench.file("nothing/a.csv", "");
    await mkdir(join(bench.folder, "nothing/folder"));
    expect((await bench.land({ path: "nothing" })).plan.parts).toEqual([]);
  });
});
