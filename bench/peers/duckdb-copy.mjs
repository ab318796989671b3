// The floor: DuckDB's own COPY from files to Parquet, without checks, schema ids, version or commit.
import { DuckDBInstance } from "@duckdb/node-api";

const [, , reader, input, output, memory] = process.argv;
const instance = await DuckDBInstance.create(":memory:", memory ? { memory_limit: memory } : {});
const connection = await instance.connect();
if (process.env.UNORDERED) await connection.run("SET preserve_insertion_order = false");
await connection.run(`COPY (SELECT * FROM ${reader}('${input}')) TO '${output}' (FORMAT parquet, COMPRESSION zstd)`);
