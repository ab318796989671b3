/** How parts are best read side by side: in one process, or in processes of their own. PostgreSQL, lineitem, all the same rows. */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startPostgres } from "../test/services/postgres.ts";
import { makeData } from "./data.ts";
import { cache, dataFolder, publish, race, root, table, type Contestant } from "./harness.ts";

const out = join(cache, "bench-out");
const bin = join(root, "bin/millrace.mjs");
const rows = 6_000_000;
await makeData(rows, ["lineitem.csv"]);
await using server = await startPostgres();
await server.query(`CREATE TABLE lineitem (l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber integer, l_quantity decimal(15,2),
  l_extendedprice decimal(15,2), l_discount decimal(15,2), l_tax decimal(15,2), l_returnflag char(1), l_linestatus char(1),
  l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct varchar(25), l_shipmode varchar(10), l_comment varchar(60))`);
await server.query(`COPY lineitem FROM '${join(dataFolder, "lineitem.csv")}' (FORMAT csv, HEADER)`);
await server.query("VACUUM ANALYZE lineitem");
const pages = Number(
  execFileSync("psql", [
    server.adminUrl,
    "-Atc",
    "SELECT pg_relation_size('lineitem') / current_setting('block_size')::int",
  ]).toString(),
);

/** One lake a share of the table; each share is read by `parts` connections of one process with `threads` threads. */
function contestant(name: string, shares: number, parts: number, threads: number): Contestant {
  const folder = (share: number): string => join(out, `parallel-${share}`);
  const commands = Array.from(
    { length: shares },
    (_, share) => `node '${bin}' run lineitem --config '${folder(share)}/millrace.yaml'`,
  );
  return {
    name,
    command: ["bash", "-c", `${commands.map((command) => `${command} & `).join("")}wait`],
    before() {
      for (let share = 0; share < shares; share++) {
        rmSync(folder(share), { recursive: true, force: true });
        mkdirSync(folder(share), { recursive: true });
        const from = Math.round((pages * share) / shares);
        const to = Math.round((pages * (share + 1)) / shares);
        const query = `SELECT * FROM lineitem WHERE ctid >= '(${from},0)' AND ctid < '(${to},0)'`;
        const what = shares === 1 ? "stream: public.lineitem" : `query: "${query}"`;
        writeFileSync(
          join(folder(share), "millrace.yaml"),
          `store: ./lake
engine: { parts: ${parts}, threads: ${threads} }
connections: { shop: { source: postgres, url: "${server.adminUrl}", connections: ${parts} } }
flows: { lineitem: { from: { connection: shop, ${what} }, mode: replace } }
`,
        );
      }
    },
  };
}

const base = "one process, 1 part at a time";
const results = await race(
  [
    contestant(base, 1, 1, 2),
    contestant("one process, 2 parts at a time", 1, 2, 2),
    contestant("one process, 4 parts at a time", 1, 4, 2),
    contestant("two processes of 1 thread, half of the table each", 2, 1, 1),
    contestant("two processes of 2 threads, half of the table each", 2, 1, 2),
  ],
  3,
);
publish("parallel", [{ title: "PostgreSQL 15 → dataset, lineitem 6 M × 16", text: table(results, base, rows) }]);
