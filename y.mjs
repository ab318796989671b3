import { DuckDBInstance } from "@duckdb/node-api";
const [opt="", f] = process.argv.slice(2);
const c = await (await DuckDBInstance.create(":memory:",{memory_limit:"500MB",threads:"2",preserve_insertion_order:"false", temp_directory:"/tmp/xspill"})).connect();
const t=performance.now();
try { const r = await c.runAndReadAll(`COPY (SELECT * FROM read_parquet('${f}')) TO '/tmp/x.parquet' (FORMAT parquet, COMPRESSION zstd ${opt}, RETURN_STATS)`); 
const m = await c.runAndReadAll(`select count(distinct row_group_id), max(row_group_bytes) from parquet_metadata('/tmp/x.parquet')`);
console.log(opt, performance.now()-t, String(m.getRows()[0]), process.resourceUsage().maxRSS/1e3); } catch(e) { console.log(opt, String(e).slice(0,120)); }
