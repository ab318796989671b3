/** Makes the input of the benches once: lineitem in the shape of TPC-H, deterministic. `node bench/data.ts [rows]`. */
import { DuckDBInstance } from "@duckdb/node-api";
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { dataFolder } from "./harness.ts";

const words =
  "['carefully','final','deposits','quickly','ironic','requests','furiously','bold','accounts','pending','theodolites','sleep','blithely','even','packages','express']";

/** 16 columns as TPC-H has them; values by a hash of the row number, so that every run makes the same bytes. */
const lineitem = (rows: number): string => `
  SELECT (i // 4) + 1 AS l_orderkey,
         (hash(i * 3) % 200000)::BIGINT + 1 AS l_partkey,
         (hash(i * 5) % 10000)::BIGINT + 1 AS l_suppkey,
         (i % 4)::INTEGER + 1 AS l_linenumber,
         ((hash(i * 7) % 50) + 1)::DECIMAL(15,2) AS l_quantity,
         ((hash(i * 11) % 10000000) / 100)::DECIMAL(15,2) AS l_extendedprice,
         ((hash(i * 13) % 11) / 100)::DECIMAL(15,2) AS l_discount,
         ((hash(i * 17) % 9) / 100)::DECIMAL(15,2) AS l_tax,
         ['A','N','R'][(hash(i * 19) % 3)::INTEGER + 1] AS l_returnflag,
         ['O','F'][(hash(i * 23) % 2)::INTEGER + 1] AS l_linestatus,
         DATE '1992-01-01' + (hash(i * 29) % 2500)::INTEGER AS l_shipdate,
         DATE '1992-01-01' + (hash(i * 31) % 2500)::INTEGER AS l_commitdate,
         DATE '1992-01-01' + (hash(i * 37) % 2500)::INTEGER AS l_receiptdate,
         ['DELIVER IN PERSON','COLLECT COD','NONE','TAKE BACK RETURN'][(hash(i * 41) % 4)::INTEGER + 1] AS l_shipinstruct,
         ['AIR','FOB','MAIL','RAIL','REG AIR','SHIP','TRUCK'][(hash(i * 43) % 7)::INTEGER + 1] AS l_shipmode,
         ${words}[(hash(i * 47) % 16)::INTEGER + 1] || ' ' || ${words}[(hash(i * 53) % 16)::INTEGER + 1] || ' ' || ${words}[(hash(i * 59) % 16)::INTEGER + 1] AS l_comment
  FROM range(${rows}) AS t(i)`;

/** A quarter of the rows: NDJSON repeats every name in every row. */
const ndjson = "lineitem.ndjson";

const outputs: Record<string, string> = {
  [ndjson]: "FORMAT json",
  "lineitem.csv": "FORMAT csv, HEADER",
  "lineitem.csv.gz": "FORMAT csv, HEADER, COMPRESSION gzip",
  "lineitem.csv.zst": "FORMAT csv, HEADER, COMPRESSION zstd",
  "lineitem.parquet": "FORMAT parquet, COMPRESSION zstd",
};

export async function makeData(
  rows = 6_000_000,
  names: readonly string[] = Object.keys(outputs),
  folder = dataFolder,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  for (const name of names) {
    const path = join(folder, name);
    if (existsSync(path)) continue;
    await connection.run(
      `COPY (${lineitem(name === ndjson ? rows / 4 : rows)}) TO '${path}.partial' (${outputs[name]})`,
    );
    renameSync(`${path}.partial`, path);
    console.log(`made ${path}`);
  }
}

if (import.meta.main) await makeData(Number(process.argv[2] ?? 6_000_000));
