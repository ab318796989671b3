import { constants, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isMillraceError } from "../../src/core/index.ts";
import { decodeBzip2 } from "../../src/sandbox/bzip2.ts";
import { decodeLz4Frame } from "../../src/sandbox/lz4.ts";
import { decodeSnappy } from "../../src/sandbox/snappy.ts";
import { openBench, type Bench } from "../formats/landing.ts";
import { zip } from "../sources/zip.ts";

let bench: Bench;
beforeAll(async () => {
  bench = await openBench();
});
afterAll(() => bench[Symbol.asyncDispose]());

/** What an archive may call its entries to write elsewhere, to hide, or to be taken for another. */
const hostileNames = [
  "../a.csv",
  "../../../../etc/passwd",
  "a/../../b.csv",
  "a/..",
  "..",
  "./../a.csv",
  "/a.csv",
  "//server/share/a.csv",
  "/etc/passwd",
  "\\a.csv",
  "..\\a.csv",
  "a\\..\\..\\b.csv",
  "..\\..\\windows\\win.ini",
  "\\\\server\\share\\a.csv",
  "C:a.csv",
  "C:\\a.csv",
  "c:/a.csv",
  "z:../a.csv",
  "a\0.csv",
  "a.csv\0.png",
  "\0",
  "a\n.csv",
  "a\r\n.csv",
  "a\u001b[2J.csv",
  "a\u0007.csv",
  "a\u007f.csv",
  "a\u0085.csv",
  "a\u2028.csv",
  "\u202ecsv.exe",
  "a\u202e.csv",
  "a\u2066.csv",
  `${"a".repeat(2_000)}.csv`,
  `${"a/".repeat(600)}b.csv`,
  "a/../a.csv",
  "..//a.csv",
  ".././a.csv",
  "a/b/../../../c.csv",
  "/..",
  "..\\",
  "\t.csv",
];
/** Names of which only one may be there. */
const twins: [string, string][] = [
  ["a.csv", "A.csv"],
  ["\u00e9.csv", "e\u0301.csv"],
  ["\u00c9.csv", "e\u0301.csv"],
  ["a/b.csv", "a/B.CSV"],
  ["a.csv", "a.csv/"],
];

describe("archives", () => {
  test("forty hostile names", async () => {
    expect(hostileNames).toHaveLength(40);
    const wrong: string[] = [];
    for (const [index, name] of hostileNames.entries()) {
      await bench.file(`names/${index}.zip`, zip({ [name]: "id\n1\n" }));
      const error = await bench.refusal({ path: `names/${index}.zip` }).catch((thrown: unknown) => String(thrown));
      if (typeof error === "string" || error.code !== "parse")
        wrong.push(`${JSON.stringify(name)}: ${JSON.stringify(error)}`);
    }
    expect(wrong).toEqual([]);
  });

  test("names that only one system tells apart", async () => {
    for (const [index, [left, right]] of twins.entries()) {
      await bench.file(`twins/${index}.zip`, zip({ [left]: "id\n1\n", [right]: "id\n2\n" }));
      expect((await bench.refusal({ path: `twins/${index}.zip` })).code).toBe("parse");
    }
    await bench.file("twins/good.zip", zip({ "a.csv": "id\n1\n", "b/a.csv": "id\n2\n", "a..csv": "id\n3\n" }));
    expect((await bench.land({ path: "twins/good.zip" })).written).toBe(2 + 1);
  });

  test("entries that lie over each other", async () => {
    const honest = zip({ "a.csv": "id\n1\n", "b.csv": "id\n2\n" });
    // The directory entry of the second points to the first: 42 bytes into it stands the offset.
    const second = honest.lastIndexOf(Buffer.from("PK\x01\x02", "latin1"));
    const overlapping = Buffer.from(honest);
    overlapping.writeUInt32LE(0, second + 42);
    await bench.file("honest.zip", honest);
    await bench.file("overlapping.zip", overlapping);
    expect((await bench.land({ path: "honest.zip" })).written).toBe(2);
    expect((await bench.refusal({ path: "overlapping.zip" })).message).toContain("lies over another");
  });

  test("archives within archives, many entries, and more than a size says", async () => {
    const inner = zip({ "a.csv": "id\n1\n" });
    for (const [name, bytes] of [
      ["nested.zip", zip({ "b.zip": inner })],
      ["nested.csv.gz", gzipSync(gzipSync("id\n1\n"))],
      ["nested2.zip", zip({ "a.csv.gz": gzipSync("id\n1\n") })],
      ["zipped.gz", gzipSync(inner)],
    ] as const) {
      await bench.file(name, bytes);
      expect(`${name}: ${(await bench.refusal({ path: name })).code}`).toBe(`${name}: unsupported`);
    }
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`${index}.csv`, "id\n1\n"]));
    await bench.file("many.zip", zip(many));
    expect((await bench.refusal({ path: "many.zip", unpack_max_entries: 100 })).code).toBe("limit");
    const parts = Object.fromEntries(
      Array.from({ length: 20 }, (_, index) => [`${index}.csv`, Buffer.alloc(1_000_000, "1\n")]),
    );
    await bench.file("sum.zip", zip(parts));
    expect((await bench.refusal({ path: "sum.zip" })).code).toBe("limit");
  });

  test("what lies beside the data is left out, and nothing but such is refused", async () => {
    const picture = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
    await bench.file("beside.zip", zip({ "read-me.md": "# Data", "a.csv": "id\n1\n", "logo.png": picture }));
    expect((await bench.land({ path: "beside.zip" })).written).toBe(1);
    await bench.file("only.zip", zip({ "logo.png": picture }));
    expect((await bench.refusal({ path: "only.zip" })).code).toBe("unsupported");
  });
});

/** Avro: a file with one block, compressed. https://avro.apache.org/docs/1.12.0/specification/#object-container-files */
function avro(codec: string, block: Uint8Array, records: number, type = "bytes"): Buffer {
  const long = (value: number): Buffer => {
    const bytes: number[] = [];
    let rest = BigInt(value) * 2n;
    for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
    return Buffer.from([...bytes, Number(rest)]);
  };
  const text = (value: string): Buffer => Buffer.concat([long(Buffer.byteLength(value)), Buffer.from(value)]);
  const sync = Buffer.alloc(16, 7);
  const schema = `{"type":"record","name":"r","fields":[{"name":"b","type":"${type}"}]}`;
  return Buffer.concat([
    Buffer.from("Obj\x01", "latin1"),
    long(2),
    text("avro.schema"),
    text(schema),
    text("avro.codec"),
    text(codec),
    long(0),
    sync,
    long(records),
    long(block.length),
    block,
    sync,
  ]);
}

/** The zstd tool writes a checksum; zlib does only when told to. */
const checked = (bytes: Uint8Array): Buffer =>
  zstdCompressSync(bytes, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });

describe("bombs", () => {
  const zeros = Buffer.alloc(300_000_000);
  test.each([
    ["gzip", "bomb.json.gz", () => gzipSync(zeros.subarray(0, 100_000_000))],
    ["zstd", "bomb.json.zst", () => zstdCompressSync(zeros)],
    ["zip", "bomb.zip", () => zip({ "a.csv": zeros.subarray(0, 100_000_000) })],
    ["deflate of Avro", "deflate.avro", () => avro("deflate", deflateRawSync(zeros, { level: 1 }), 1)],
    ["zstd of Avro", "zstandard.avro", () => avro("zstandard", zstdCompressSync(zeros), 1)],
    // A block that says it has 2 GiB.
    ["snappy of Avro", "snappy.avro", () => avro("snappy", Buffer.from([0x80, 0x80, 0x80, 0x80, 8, 0, 0, 0, 0, 0]), 1)],
    [
      "deflate of a workbook",
      "bomb.xlsx",
      () =>
        zip({
          "xl/workbook.xml": `<workbook>${" ".repeat(80_000_000)}`,
          "_rels/.rels":
            '<Relationships><Relationship Id="1" Type="x/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        }),
    ],
  ] as const)("%s ends in an error within its memory", { timeout: 60_000 }, async (_, name, make) => {
    await bench.file(name, make());
    const error = await bench.refusal({ path: name, parse_memory_mb: 512, parse_timeout_s: 20 });
    expect(["limit", "parse"]).toContain(error.code);
    expect(error.where.file).toContain(name);
  });

  const lines = (line: string, count: number): Buffer => Buffer.alloc(line.length * count, line);
  test.each([
    ["bomb.csv.gz", () => gzipSync(Buffer.concat([Buffer.from("id\n"), lines("1\n", 30_000_000)]))],
    ["bomb.tsv.zst", () => zstdCompressSync(Buffer.concat([Buffer.from("id\n"), lines("1\n", 30_000_000)]))],
    ["bomb.ndjson.gz", () => gzipSync(lines('{"id":1}\n', 5_000_000))],
    ["bomb.ndjson.zst", () => zstdCompressSync(lines('{"id":1}\n', 5_000_000))],
    // Two members: the end of the file says that there is nothing in it.
    ["members.csv.gz", () => Buffer.concat([gzipSync(lines("1\n", 30_000_000)), gzipSync("")])],
  ] as const)("%s, which the engine unpacks itself", { timeout: 60_000 }, async (name, make) => {
    const bytes = make();
    await bench.file(name, bytes);
    const error = await bench.refusal({ path: name });
    expect(`${error.code} ${error.message}`).toMatch(/^limit .*more than 200 times its size/);
    expect(error.where.file).toBe(name);
    const landing = await bench.land({ path: name, unpack_max_ratio: 20_000 });
    expect(landing.written).toBeGreaterThanOrEqual(5_000_000);
  });

  test("records that take no bytes", { timeout: 60_000 }, async () => {
    // 20 million times null, in a block of a few bytes.
    const nothing = avro("null", Buffer.alloc(0), 20_000_000, "null");
    await bench.file("nothing.avro", nothing);
    expect((await bench.refusal({ path: "nothing.avro" })).code).toBe("limit");
  });

  test.each([
    ["csv.gz", gzipSync, (row: number) => `${row},${row * 7}\n`],
    ["ndjson.gz", gzipSync, (row: number) => `{"id":${row},"x":${row * 7}}\n`],
    ["csv.zst", checked, (row: number) => `${row},${row * 7}\n`],
  ] as const)("no flipped bit of a %s becomes a wrong row", { timeout: 60_000 }, async (suffix, pack, line) => {
    const rows = 3_000;
    const header = suffix.startsWith("csv") ? "id,x\n" : "";
    const good = pack(Buffer.from(header + Array.from({ length: rows }, (_, row) => line(row)).join("")));
    await bench.file(`good.${suffix}`, good);
    expect((await bench.land({ path: `good.${suffix}` })).written).toBe(rows);
    const taken: string[] = [];
    for (let turn = 0; turn < 24; turn++) {
      const damaged = Buffer.from(good);
      // From behind the header, which the content is known by, to the checksum at the end.
      const place = 64 + Math.floor((turn * (good.length - 65)) / 23);
      damaged[place]! ^= 1 << (turn % 8);
      await bench.file(`damaged-${turn}.${suffix}`, damaged);
      const error = await bench.refusal({ path: `damaged-${turn}.${suffix}` }).catch((thrown: unknown) => thrown);
      if (!isMillraceError(error) || error.where.file !== `damaged-${turn}.${suffix}`)
        taken.push(`${place}: ${String(error)}`);
    }
    expect(taken).toEqual([]);
  });

  test("decoders of our own hold their limit before they allocate", () => {
    const before = process.memoryUsage().rss;
    expect(() => decodeSnappy(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0]), 1_000)).toThrow(/limit|damaged/);
    // LZ4: one literal, then a match of 16 MB in 64 KiB of lengths.
    const body = Buffer.concat([Buffer.from([0x1f, 0x61, 1, 0]), Buffer.alloc(65_535, 255), Buffer.from([0])]);
    const frame = Buffer.alloc(11);
    frame.writeUInt32LE(0x184d2204, 0);
    frame[4] = 0x60;
    frame[5] = 0x40;
    frame.writeUInt32LE(body.length, 7);
    expect(() => decodeLz4Frame(Buffer.concat([frame, body, Buffer.alloc(4)]), 1_000_000)).toThrow(/limit|more than/);
    expect(() => [...decodeBzip2(() => undefined)]).toThrow();
    expect(process.memoryUsage().rss - before).toBeLessThan(200_000_000);
  });

  test("zlib without the wrapping of gzip is no container", async () => {
    await bench.file("a.zlib", deflateSync("id\n1\n"));
    expect((await bench.refusal({ path: "a.zlib" })).code).toBe("unsupported");
  });

  test("a text whose first line never ends is refused at once", async () => {
    await bench.file("endless.csv.gz", gzipSync(Buffer.alloc(300_000_000, "a")));
    expect((await bench.refusal({ path: "endless.csv.gz" })).code).toBe("limit");
  });
});

describe("XML of workbooks", () => {
  const wrap = (workbook: string | Uint8Array): Buffer =>
    zip({
      "_rels/.rels":
        '<Relationships><Relationship Id="1" Type="x/officeDocument" Target="xl/workbook.xml"/></Relationships>',
      "xl/workbook.xml": workbook,
    });
  const utf16 = (text: string): Buffer => Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(text, "utf16le")]);
  const lol = Array.from({ length: 9 }, (_, index) => `<!ENTITY l${index + 1} "${`&l${index};`.repeat(10)}">`).join("");

  test.each([
    ["an external entity", '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><workbook>&e;</workbook>'],
    ["an entity over HTTP", '<!DOCTYPE x [<!ENTITY e SYSTEM "http://127.0.0.1:1/">]><workbook>&e;</workbook>'],
    ["a parameter entity", '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd"> %p;]><workbook/>'],
    ["a billion laughs", `<!DOCTYPE x [<!ENTITY l0 "lol">${lol}]><workbook>&l9;</workbook>`],
    [
      "a quadratic blow-up",
      `<!DOCTYPE x [<!ENTITY a "${"a".repeat(50_000)}">]><workbook>${"&a;".repeat(50_000)}</workbook>`,
    ],
    ["an external subset", '<!DOCTYPE workbook SYSTEM "http://127.0.0.1:1/x.dtd"><workbook/>'],
    ["a document type in UTF-16", utf16('<!DOCTYPE x [<!ENTITY e "e">]><workbook>&e;</workbook>')],
    ["a document type in UTF-7", '<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE x+AD4-<workbook/>'],
    ["an unknown entity", "<workbook>&nbsp;</workbook>"],
    ["a nesting of 100,000", "<a>".repeat(100_000) + "</a>".repeat(100_000)],
    ["many numeric references", `<workbook>${"&#x41;".repeat(2_000_000)}</workbook>`],
    [
      "an inclusion",
      '<workbook xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd"/></workbook>',
    ],
    ["a style sheet", '<?xml-stylesheet type="text/xsl" href="http://127.0.0.1:1/x.xsl"?><workbook/>'],
    ["a NUL", "<workbook>\0</workbook>"],
    ["a million attributes", `<workbook ${Array.from({ length: 200_000 }, (_, index) => `a${index}=""`).join(" ")}/>`],
  ])("%s", async (what, workbook) => {
    const name = `xml/${what.replaceAll(/\W/g, "-")}.xlsx`;
    await bench.file(name, wrap(workbook));
    const error = await bench.refusal({ path: name, parse_timeout_s: 20, parse_memory_mb: 512 });
    expect(["parse", "limit", "not-found"]).toContain(error.code);
    expect(error.message).not.toContain("root:");
  });
});
