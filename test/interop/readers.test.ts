import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { icebergMetadata, icebergRead } from "icebird";
import { afterAll, beforeAll, expect, test } from "vitest";
import { formatType } from "../../src/core/index.ts";
import { type Dataset, eraseRows, openCatalog, openTable, verifyDataset } from "../../src/dataset/index.ts";
import { type Workplace, closeEngine, engine, query, workplace } from "../dataset/helpers.ts";
import { type PythonEnvironment, mavenJar, pythonEnvironment, runPython } from "../services/python.ts";
import { checksums, datasetWithHistory } from "./history.ts";

let place: Workplace;
let dataset: Dataset;
let python: PythonEnvironment;

beforeAll(async () => {
  place = await workplace();
  dataset = await datasetWithHistory(place, "orders", false);
  python = await pythonEnvironment(["pyiceberg[pyarrow]==0.9.1", "pyspark==3.5.6", "polars==2.1.0"]);
});

afterAll(async () => {
  await closeEngine();
  await place[Symbol.asyncDispose]();
});

const newestMetadata = async (of: Dataset): Promise<string> => {
  const folder = place.store.local!(`${of.folder}/metadata`);
  return join(folder, `v${(await readFile(join(folder, "version-hint.text"), "utf8")).trim()}.metadata.json`);
};

test("Millrace reads its own history", async () => {
  const sums = await checksums(await dataset.relation(), dataset.columns());
  expect(sums.rows).toBe(1600 + 300);
  expect(sums.columns["rating"]!.present).toBe(300);
  expect(sums.columns["title"]!.present).toBeGreaterThan(1500);
  const [row] = await query(`SELECT * FROM ${await dataset.relation()} WHERE id = 950`);
  expect(row).toMatchObject({
    title: "merged ünïcode 😀 with a long tail 950",
    qty: String(950 * 31 - 5000),
    rating: null,
  });
});

const readWithPyIceberg = `
import sys
import pyarrow.parquet as pq
from pyiceberg.table import StaticTable
table = StaticTable.from_metadata(sys.argv[1])
data = table.scan().to_arrow()
pq.write_table(data, sys.argv[2])
one = table.scan(row_filter="id >= 940 and id < 950").to_arrow()
wide = table.scan(row_filter="qty > 100000").to_arrow()
print(data.num_rows, one.num_rows, wide.num_rows)
`;

/** What a reader wrote; some write a UUID as its 16 bytes. */
async function relationOf(output: string): Promise<string> {
  const plain = await query(`DESCRIBE SELECT ref FROM read_parquet('${output}')`);
  if (plain[0]!["column_type"] !== "BLOB") return `read_parquet('${output}')`;
  return `(SELECT * REPLACE (lower(hex(ref)) AS ref) FROM read_parquet('${output}'))`;
}

test.each([false, true])("PyIceberg reads the same (with time of day: %s)", async (withTime) => {
  const subject = withTime ? await datasetWithHistory(place, "with_time", true) : dataset;
  const output = join(place.folder, `pyiceberg-${withTime}.parquet`);
  const printed = await runPython(python, readWithPyIceberg, [await newestMetadata(subject), output]);
  expect(printed).toContain("1900 10");
  const columns = subject.columns();
  expect(await checksums(await relationOf(output), columns)).toEqual(
    await checksums(await subject.relation(), columns),
  );
});

const readWithPolars = `
import sys
import polars as pl
table = pl.scan_iceberg(sys.argv[1])
table.collect().write_parquet(sys.argv[2])
print(table.filter((pl.col("id") >= 940) & (pl.col("id") < 950)).select(pl.len()).collect().item())
`;

test("Polars reads the same", async () => {
  const output = join(place.folder, "polars.parquet");
  const printed = await runPython(python, readWithPolars, [await newestMetadata(dataset), output]);
  expect(printed.trim()).toBe("10");
  const columns = dataset.columns();
  expect(await checksums(await relationOf(output), columns)).toEqual(
    await checksums(await dataset.relation(), columns),
  );
});

const readAllWithPyIceberg = `
import json, sys
from pyiceberg.table import StaticTable
table = StaticTable.from_metadata(sys.argv[1])
def count(snapshot, **more):
    return table.scan(snapshot_id=snapshot.snapshot_id, **more).to_arrow().num_rows
# Filters of a column that was widened since fail in this release on the versions before.
def wide(s):
    return count(s, row_filter="qty > 20000") if s.snapshot_id == table.current_snapshot().snapshot_id else None
print("FOUND", json.dumps([[s.sequence_number, count(s), count(s, row_filter="id >= 940 and id < 950"), wide(s)] for s in table.snapshots()]))
`;

test("PyIceberg reads every version after an erasure", async () => {
  const subject = await datasetWithHistory(place, "erased", true);
  const where = "id % 100 = 42 OR id = 945";
  const before = new Map<number, number>();
  for (const version of subject.versions()) {
    const [row] = await query(`SELECT count(*) AS n FROM ${await subject.relation(version)} WHERE NOT (${where})`);
    before.set(version.number, Number(row!["n"]));
  }
  const erasing = eraseRows(subject, engine, { where, predicate: where, by: "test", folder: place.folder });
  await erasing.begin();
  await erasing.apply();
  expect(await erasing.sweep()).toBeGreaterThan(10);
  await erasing.finish();
  expect(subject.erasures().done[0]!.rows).toBeGreaterThan(20);
  const printed = await runPython(python, readAllWithPyIceberg, [await newestMetadata(subject)]);
  const found = JSON.parse(/FOUND (.*)/.exec(printed)![1]!) as [number, number, number, number | null][];
  expect(found.map(([version, rows]) => [version, rows])).toEqual([...before]);
  expect(found.filter(([, , , wide]) => wide !== null).length).toBe(1);
  for (const [number, , part, wide] of found) {
    const relation = await subject.relation(subject.version(number));
    const [row] = await query(
      `SELECT count(*) FILTER (id >= 940 AND id < 950) AS part, count(*) FILTER (qty > 20000) AS wide FROM ${relation}`,
    );
    expect(part).toBe(Number(row!["part"]));
    if (wide !== null) expect(wide).toBe(Number(row!["wide"]));
  }
  expect((await verifyDataset(subject, engine, { deep: true })).problems).toEqual([]);
});

const readWithSpark = `
import sys
from pyspark.sql import SparkSession
spark = (SparkSession.builder.master("local[2]")
  .config("spark.jars", sys.argv[1])
  .config("spark.ui.enabled", "false")
  .config("spark.driver.memory", "1g")
  .config("spark.sql.session.timeZone", "UTC")
  .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
  .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
  .config("spark.sql.catalog.lake", "org.apache.iceberg.spark.SparkCatalog")
  .config("spark.sql.catalog.lake.type", "hadoop")
  .config("spark.sql.catalog.lake.warehouse", sys.argv[2])
  .getOrCreate())
spark.sparkContext.setLogLevel("ERROR")
spark.table(sys.argv[3]).coalesce(1).write.parquet(sys.argv[4])
print("ROWS", spark.table(sys.argv[3]).count(),
  spark.sql("select count(*) from %s where id >= 940 and id < 950" % sys.argv[3]).first()[0],
  spark.sql("select count(*) from %s version as of %s" % (sys.argv[3], sys.argv[5])).first()[0],
  spark.sql("select count(*) from %s.files" % sys.argv[3]).first()[0],
  spark.sql("select count(*) from %s.snapshots" % sys.argv[3]).first()[0])
spark.sql("insert into %s select * from %s where id = 5" % (sys.argv[3], sys.argv[3]))
spark.sql("call lake.system.rewrite_manifests('%s')" % sys.argv[3])
`;

test("Spark reads the same, and Millrace reads on after Spark has written", { timeout: 300_000 }, async () => {
  const jar = mavenJar("org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.9.2");
  const output = join(place.folder, "spark");
  const columns = dataset.columns();
  const ours = await checksums(await dataset.relation(), columns);
  const first = dataset.version(1);
  // The folder of the store is a namespace of the warehouse that is its parent.
  const args = [jar, place.folder, "lake.lake.orders", output, String(first.snapshotId)];
  const printed = await runPython(python, readWithSpark, args);
  const rows = /ROWS (.*)/.exec(printed)![1]!.split(" ").map(Number);
  expect(rows.slice(0, 3)).toEqual([1900, 10, 1000]);
  expect(rows[3]).toBe((await dataset.files()).length);
  expect(rows[4]).toBe(dataset.versions().length);
  expect(await checksums(`read_parquet('${output}/*.parquet')`, columns)).toEqual(ours);

  await dataset.refresh();
  expect((await checksums(await dataset.relation(), columns)).rows).toBe(1901);
  // Spark's snapshot ids need 64 bits; they must survive a commit of ours.
  const ids = dataset.versions().map((version) => version.snapshotId);
  expect(ids.some((id) => id > 2n ** 53n)).toBe(true);
  const [file] = await dataset.files();
  const again = await dataset.commit({
    operation: "overwrite",
    add: [],
    remove: [file!.path],
    base: dataset.current()!.number,
  });
  expect(again.rows).toBe(1901 - file!.rows);
  await dataset.refresh();
  expect((await checksums(await dataset.relation(), columns)).rows).toBe(again.rows);
  const reopened = await openCatalog(place.store).open("orders");
  expect(reopened.versions().map((version) => version.snapshotId)).toEqual([...ids, again.snapshotId]);
});

test("icebird reads the same", async () => {
  const subject = await datasetWithHistory(place, "for_icebird", false);
  const original = globalThis.fetch;
  // icebird fetches everything; here its addresses are paths of this machine.
  globalThis.fetch = async (input, init) => {
    const bytes = await readFile(input instanceof Request ? input.url : input);
    const range = /bytes=(\d+)-(\d+)/.exec(new Headers(init?.headers).get("range") ?? "");
    if (range) return new Response(bytes.subarray(Number(range[1]), Number(range[2]) + 1), { status: 206 });
    return new Response(bytes, { headers: { "content-length": String(bytes.length) } });
  };
  try {
    const tableUrl = place.store.local!(subject.folder);
    const metadata = await icebergMetadata({ tableUrl });
    const rows = await icebergRead({ tableUrl, metadata });
    expect(rows.length).toBe(1900);
    // JavaScript holds these exactly; its dates have milliseconds and its decimals are floating point.
    const exact = subject
      .columns()
      .filter((column) => ["id", "qty", "price", "title", "flag", "rating", "gone"].includes(column.name));
    const text = rows
      .map((row) => JSON.stringify(row, (_key, value: unknown) => (typeof value === "bigint" ? Number(value) : value)))
      .join("\n");
    const file = join(place.folder, "icebird.ndjson");
    await writeFile(file, text);
    const types = { long: "BIGINT", double: "DOUBLE", string: "VARCHAR", boolean: "BOOLEAN" } as Record<string, string>;
    const fields = exact.map((column) => `${column.name}: '${types[formatType(column.type)]}'`).join(", ");
    expect(await checksums(`read_json('${file}', format = 'newline_delimited', columns = {${fields}})`, exact)).toEqual(
      await checksums(await subject.relation(), exact),
    );
  } finally {
    globalThis.fetch = original;
  }
});

const writeWithPyIceberg = `
import sys, os, datetime, decimal, uuid
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
folder = sys.argv[1]
catalog = SqlCatalog("local", uri="sqlite:///" + os.path.join(folder, "catalog.db"), warehouse="file://" + folder)
catalog.create_namespace("theirs")
def rows(start, end):
    return pa.table({
        "id": pa.array(range(start, end), pa.int64()),
        "name": pa.array([None if i % 5 == 0 else "name %d" % i for i in range(start, end)], pa.string()),
        "amount": pa.array([decimal.Decimal(i) / 4 for i in range(start, end)], pa.decimal128(20, 2)),
        "at": pa.array([datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=i) for i in range(start, end)], pa.timestamp("us", "UTC")),
        "tags": pa.array([["a", str(i)] for i in range(start, end)]),
        "region": pa.array(["north" if i % 2 else "south" for i in range(start, end)]),
    })
plain = catalog.create_table("theirs.plain", schema=rows(0, 1).schema)
plain.append(rows(0, 100))
plain.append(rows(100, 250))
plain.overwrite(rows(1000, 1010), "id < 50")
with plain.update_schema() as update:
    update.rename_column("name", "title")
    update.add_column("extra", pyiceberg_type := __import__("pyiceberg.types", fromlist=["LongType"]).LongType())
divided = catalog.create_table("theirs.divided", schema=rows(0, 1).schema)
with divided.update_spec() as update:
    update.add_identity("region")
divided.append(rows(0, 100))
print(plain.location(), divided.location(), plain.scan().to_arrow().num_rows)
`;

test("Millrace reads what PyIceberg wrote", async () => {
  const environment = await pythonEnvironment(["pyiceberg[pyarrow,sql-sqlite]==0.9.1"]);
  const printed = await runPython(environment, writeWithPyIceberg, [place.store.url]);
  const [plainAt, dividedAt, rows] = printed.trim().split(" ");
  const folderOf = (location: string): string => location.replace("file://", "").slice(place.store.url.length + 1);
  const plain = await openTable(place.store, folderOf(plainAt!), "plain");
  expect(plain.columns().map((column) => column.name)).toEqual([
    "id",
    "title",
    "amount",
    "at",
    "tags",
    "region",
    "extra",
  ]);
  const [sums] = await query(
    `SELECT count(*)::INT AS n, sum(id)::INT AS ids, count(title)::INT AS titles, sum(amount)::VARCHAR AS amount FROM ${await plain.relation()}`,
  );
  const ids = [
    ...Array.from({ length: 200 }, (_, index) => index + 50),
    ...Array.from({ length: 10 }, (_, index) => index + 1000),
  ];
  expect(Number(rows)).toBe(ids.length);
  const total = ids.reduce((sum, id) => sum + id, 0);
  expect(sums).toEqual({
    n: ids.length,
    ids: total,
    titles: ids.filter((id) => id % 5 !== 0).length,
    amount: (total / 4).toFixed(2),
  });
  const divided = await openTable(place.store, folderOf(dividedAt!), "divided");
  expect(
    await query(`SELECT region, count(*)::INT AS n FROM ${await divided.relation()} GROUP BY 1 ORDER BY 1`),
  ).toEqual([
    { region: "north", n: 50 },
    { region: "south", n: 50 },
  ]);
  await expect(plain.commit({ operation: "append", add: [] })).rejects.toMatchObject({ code: "unsupported" });
});
