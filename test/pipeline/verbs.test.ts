import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { makePlace, published, rowsOf, type Place } from "./place.ts";

/** A Parquet file with values that text formats are known to lose. */
async function makeTypes(place: Place): Promise<void> {
  await using engine = await place.engine();
  const select = `SELECT i::BIGINT + 9007199254740993 AS id, i::INTEGER AS n, (i / 7)::DOUBLE AS f, (i * 1.01)::DECIMAL(18,4) AS d,
    CASE WHEN i % 3 = 0 THEN NULL WHEN i % 3 = 1 THEN '' ELSE 'a "quoted", line' || chr(10) || 'ö ' || i END AS s,
    TIMESTAMP '2024-01-01 00:00:00.000001' + INTERVAL (i) HOUR AS ts, DATE '2024-02-28' + i::INTEGER AS day, i % 2 = 0 AS b,
    CASE WHEN i % 4 < 2 THEN 'train' ELSE 'test' END AS split FROM range(20) t(i)`;
  await engine.export(select, join(place.folder, "t.parquet"), "FORMAT parquet");
}

describe("export", () => {
  test.each(["parquet", "csv", "jsonl", "arrow"])("%s is read back equal", async (format) => {
    await using place = await makePlace();
    await makeTypes(place);
    const options =
      format === "csv"
        ? {
            options: {
              types: {
                id: "long",
                n: "int",
                f: "double",
                d: "decimal(18,4)",
                ts: "timestamp",
                day: "date",
                b: "boolean",
                s: "string",
                split: "string",
              },
            },
          }
        : {};
    await using lake = await place.open({
      t: { from: { path: "t.parquet" }, mode: "replace" },
      back: { from: { path: "out/t@1*", ...options } },
    });
    await published(lake.run("t"));
    const out = join(place.folder, "out");
    const report = await lake.export("t", { format, to: out });
    expect(report).toMatchObject({ rows: 20, to: out, files: [{ rows: 20, path: `t@1.${format}` }] });
    expect((await readdir(out)).sort()).toEqual(["croissant.json", "manifest.json", `t@1.${format}`]);
    await published(lake.run("back"));
    const list = "id, n, f::varchar as f, d::decimal(18,4) as d, s, ts::timestamp as ts, day::date as day, b, split";
    expect(await rowsOf(lake, `(select ${list} from t except all select ${list} from back) limit 1`)).toEqual([]);
    expect(await rowsOf(lake, "select count(*) from back")).toEqual([[20]]);
    // The same again takes its place and is the same; a split alone is another export.
    expect((await lake.export("t", { format, to: out })).files).toEqual(report.files);
    await expect(lake.export("t@1", { format, to: out, split: "test" })).rejects.toMatchObject({
      code: "already-exists",
    });
    expect((await lake.export("t@1", { format, to: `${out}-test`, split: "test" })).files).toMatchObject([
      { path: `t@1-test.${format}`, rows: 10 },
    ]);
    expect(await readdir(out)).toHaveLength(3);
  });

  test("several at once do not get into each other's way", async () => {
    await using place = await makePlace();
    await makeTypes(place);
    await using lake = await place.open({ t: { from: { path: "t.parquet" } } });
    await published(lake.run("t"));
    const reports = await Promise.all(
      ["a", "b", "c", "d"].map((name) => lake.export("t", { format: "jsonl", to: join(place.folder, name) })),
    );
    expect(new Set(reports.map((report) => report.files[0]!.sha256.length))).toEqual(new Set([64]));
    for (const name of ["a", "b", "c", "d"]) {
      const lines = (await readFile(join(place.folder, name, "t@1.jsonl"), "utf8")).trim().split("\n");
      expect(lines).toHaveLength(20);
    }
  });

  test("a cell of CSV is never a formula, unless that is asked for; what is stored stays as it is", async () => {
    await using place = await makePlace();
    const cells = [
      "=1+1",
      "+cmd",
      "-2+3",
      "@SUM(A1)",
      "\ttab",
      "\rreturn",
      "＝1",
      "-5",
      "+1.5e3",
      "1,5",
      "plain",
      "'=quoted",
      "",
    ];
    await place.put(
      "a.ndjson",
      cells.map((cell, index) => JSON.stringify({ id: -index, "=name": cell })),
    );
    await using lake = await place.open({ t: { from: { path: "a.ndjson" } } });
    await published(lake.run("t"));
    await lake.export("t", { format: "csv", to: join(place.folder, "safe") });
    await lake.export("t", { format: "csv", to: join(place.folder, "plain"), escapeFormulas: false });
    await lake.export("t", { format: "jsonl", to: join(place.folder, "json") });
    await using engine = await place.engine();
    const read = async (folder: string): Promise<unknown[][]> => {
      const path = join(place.folder, folder, "t@1.csv");
      const rows = await engine.query(
        `SELECT * FROM read_csv('${path}', header = false, skip = 1, columns = {'id': 'BIGINT', 'cell': 'VARCHAR'}, delim = ',', quote = '"', auto_detect = false, allow_quoted_nulls = false) ORDER BY id DESC`,
      );
      return rows.map((row) => [Number(row.id), row.cell]);
    };
    const prefixed = cells.map((cell, index) => [0 - index, index < 7 ? `'${cell}` : cell]);
    expect(await readFile(join(place.folder, "safe", "t@1.csv"), "utf8")).toMatch(/^id,'=name\n/);
    expect(await read("safe")).toEqual(prefixed);
    expect(await read("plain")).toEqual(cells.map((cell, index) => [0 - index, cell]));
    expect(await readFile(join(place.folder, "json", "t@1.jsonl"), "utf8")).toContain('"=1+1"');
    expect(await rowsOf(lake, `select count(*) from t where "=name" like '''%'`)).toEqual([[1]]);
  });

  test("what cannot be exported is said", async () => {
    await using place = await makePlace();
    await place.put("a.csv", ["id", "1"]);
    await using lake = await place.open({ t: { from: { path: "a.csv" } } });
    await published(lake.run("t"));
    await expect(lake.export("t", { format: "xml", to: place.folder })).rejects.toMatchObject({ code: "usage" });
    await expect(lake.export("t", { format: "csv", to: join(place.folder, "a.csv") })).rejects.toMatchObject({
      code: "usage",
    });
    await expect(lake.export("t", { format: "csv", to: place.folder, split: "test" })).rejects.toMatchObject({
      code: "not-found",
    });
    await expect(lake.export("t@9", { format: "csv", to: place.folder })).rejects.toMatchObject({ code: "not-found" });
    await expect(
      lake.export("t", { format: "csv", to: place.folder, signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({ code: "aborted" });
    expect(await readdir(place.folder)).toEqual(["a.csv", "lake"]);
  });

  test("an Arrow file is one for apache-arrow too", async () => {
    await using place = await makePlace();
    await makeTypes(place);
    await using lake = await place.open({ t: { from: { path: "t.parquet" } } });
    await published(lake.run("t"));
    const { files, to } = await lake.export("t", { format: "arrow", to: join(place.folder, "arrow") });
    const script = `const { tableFromIPC } = await import("apache-arrow");
      const table = tableFromIPC(await (await import("node:fs/promises")).readFile(process.argv[1]));
      let sum = 0n; for (const id of table.getChild("id")) sum += id;
      console.log(JSON.stringify([table.numRows, String(sum), table.getChild("s").nullCount, table.schema.fields.map((field) => String(field.type))]));`;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--input-type=module", "-e", script, join(to, files[0]!.path)],
      {
        cwd: join(import.meta.dirname, "../.."),
      },
    );
    const sum = Array.from({ length: 20 }, (_, index) => 9007199254740993n + BigInt(index)).reduce((a, b) => a + b, 0n);
    expect(JSON.parse(stdout)).toMatchObject([20, String(sum), 7, expect.arrayContaining(["Int64", "Decimal[18e+4]"])]);
  });
});

describe("versions", () => {
  test("tag, diff, rollback; a run after a rollback reads again what was left behind", async () => {
    await using place = await makePlace();
    await place.put("in/1.csv", ["id,v", "1,a", "2,b"]);
    await using lake = await place.open({ t: { from: { path: "in/*.csv" }, mode: "merge", key: ["id"] } });
    await published(lake.run("t"));
    await lake.tag("t@1", "gold");
    await place.put("in/2.csv", ["id,v", "2,B", "3,c"]);
    await published(lake.run("t"));
    expect(await lake.diff("t@gold", "t@2")).toMatchObject({
      rowsAdded: 1,
      rowsRemoved: 0,
      rowsChanged: 1,
      key: ["id"],
    });
    expect(await rowsOf(lake, 'select count(*) from "t@gold"')).toEqual([[2]]);
    await lake.rollback("t@gold");
    expect(await rowsOf(lake, "select id, v from t order by id")).toEqual([
      [1, "a"],
      [2, "b"],
    ]);
    expect(await published(lake.run("t"))).toMatchObject({ read: 2, written: 2, updated: 1, version: 3 });
    expect(await rowsOf(lake, "select id, v from t order by id")).toEqual([
      [1, "a"],
      [2, "B"],
      [3, "c"],
    ]);
    expect((await lake.history("t")).map((version) => [version.number, version.current])).toEqual([
      [1, true],
      [2, false],
      [3, true],
    ]);
    await lake.untag("t", "gold");
    await expect(lake.dataset("t@gold")).rejects.toMatchObject({ code: "not-found" });
  });

  test("preview and quality say what a version holds", async () => {
    await using place = await makePlace();
    await place.put("a.csv", [
      "id,v,grp",
      ...Array.from({ length: 30 }, (_, index) => `${index},${index % 5},g${index % 7}`),
    ]);
    await using lake = await place.open({
      t: {
        from: { path: "a.csv" },
        checks: [{ check: "not-null", columns: ["id"] }],
        split: { train: 0.5, test: 0.5, key: "grp", into: "fold" },
      },
    });
    const report = await published(lake.run("t"));
    const preview = await lake.preview("t", { split: "test", rows: 3, columns: ["id", "fold"] });
    expect(preview.columns.map((column) => column.name)).toEqual(["id", "fold"]);
    expect(preview.rows).toHaveLength(3);
    expect(preview.more).toBe(report.splits!["test"]! > 3);
    expect(new Set(preview.rows.map((row) => row["fold"]))).toEqual(new Set(["test"]));
    await expect(lake.preview("t", { columns: ["ids"] })).rejects.toMatchObject({
      code: "not-found",
      hint: expect.stringContaining("`id`"),
    });
    const quality = await lake.quality("t@1");
    expect(quality.report).toMatchObject({
      run: report.run,
      checks: [
        { check: "not-null", status: "passed" },
        { check: "split-leakage", status: "passed" },
      ],
    });
    expect(quality.profile.rows).toBe(30);
    await expect(lake.query("select * from nothing_here")).rejects.toMatchObject({ code: "usage" });
    await expect(lake.query("copy t to 'x'")).rejects.toMatchObject({ code: "usage" });
  });

  test("gc after a compaction removes what no version names, and nothing of a run that did not end", async () => {
    await using place = await makePlace();
    const flows = {
      t: { from: { path: "in/*.csv" }, checks: [{ check: "range", column: "id", max: 100, on_fail: "reject" }] },
      other: { from: { path: "more/*.csv", part_bytes: 1 }, into: "t" },
    };
    const keep = await (async (): Promise<string[]> => {
      await using lake = await place.open(flows);
      for (let index = 1; index <= 4; index++) {
        await place.put(`in/${index}.csv`, ["id", String(index), String(100 + index)]);
        await published(lake.run("t"));
      }
      await place.put("more/1.csv", ["id", "50"]);
      await place.put("more/2.csv", ["id", "51"]);
      const before = new Set(await place.dataFiles("t"));
      const controller = new AbortController();
      const run = lake.run("other", {
        signal: controller.signal,
        onProgress: (progress) => {
          if (progress.phase === "check") controller.abort();
        },
      });
      await expect(run).rejects.toMatchObject({ code: "aborted" });
      return (await place.dataFiles("t")).filter((file) => !before.has(file));
    })();
    expect(keep).toHaveLength(2);
    await using lake = await place.open(flows);
    expect(await lake.compact("t")).toMatchObject({ before: 4, after: 1 });
    const rows = await rowsOf(lake, "select id from t order by id");
    expect(rows).toEqual([[1], [2], [3], [4]]);
    const dry = await lake.gc("t", { dryRun: true, keepVersions: 1, minimumAgeMs: -1000 });
    expect(dry.removed.filter((entry) => entry.path.includes("/data/"))).toHaveLength(4);
    expect(await place.dataFiles("t")).toHaveLength(7);
    await lake.gc("t", { keepVersions: 1, minimumAgeMs: -1000 });
    expect(await place.dataFiles("t")).toEqual(expect.arrayContaining(keep));
    expect(await place.dataFiles("t")).toHaveLength(3);
    expect(await rowsOf(lake, "select id from t order by id")).toEqual(rows);
    expect((await lake.verify("t", { deep: true })).problems).toEqual([]);
    expect(await published(lake.run("other"))).toMatchObject({ resumed: true, read: 2 });
    expect(await rowsOf(lake, "select count(*), sum(id) from t")).toEqual([[6, 111]]);
  });
});
