/** Proof that a contestant did the work: how many rows came out, and a checksum of each column that does not depend on their order. */
import { DuckDBInstance } from "@duckdb/node-api";
import { createHash } from "node:crypto";
import { globSync } from "node:fs";

export interface Digest {
  rows: number;
  /** Equal for equal rows in any order and in any types that hold them; absent where values are not compared. */
  checksum?: string;
}

/** The columns of lineitem and the types that its values have exactly. */
export const lineitemTypes: Record<string, string> = {
  l_orderkey: "BIGINT",
  l_partkey: "BIGINT",
  l_suppkey: "BIGINT",
  l_linenumber: "BIGINT",
  l_quantity: "DECIMAL(15,2)",
  l_extendedprice: "DECIMAL(15,2)",
  l_discount: "DECIMAL(15,2)",
  l_tax: "DECIMAL(15,2)",
  l_returnflag: "VARCHAR",
  l_linestatus: "VARCHAR",
  l_shipdate: "DATE",
  l_commitdate: "DATE",
  l_receiptdate: "DATE",
  l_shipinstruct: "VARCHAR",
  l_shipmode: "VARCHAR",
  l_comment: "VARCHAR",
};

/** Reads files of Parquet (a pattern) or one file of CSV; `types` names the columns that are compared, none: rows are only counted. */
export async function digest(
  pattern: string,
  types: Record<string, string> = {},
  reader: "read_parquet" | "read_csv" = "read_parquet",
): Promise<Digest> {
  const files = globSync(pattern);
  if (files.length === 0) return { rows: 0 };
  const instance = await DuckDBInstance.create(":memory:", { memory_limit: "4GB" });
  const connection = await instance.connect();
  const list = files.map((file) => `'${file}'`).join(", ");
  const sums = Object.entries(types).map(
    ([column, type]) => `sum(hash(CAST("${column}" AS ${type})) % 1000000007)::VARCHAR`,
  );
  const result = await connection.runAndReadAll(
    `SELECT ${["count(*)::INTEGER", ...sums].join(", ")} FROM ${reader}([${list}], union_by_name = true)`,
  );
  const [rows, ...columns] = result.getRows()[0]!;
  connection.closeSync();
  instance.closeSync();
  if (sums.length === 0) return { rows: Number(rows) };
  return { rows: Number(rows), checksum: createHash("sha256").update(columns.join(" ")).digest("hex").slice(0, 8) };
}
