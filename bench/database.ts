/** PostgreSQL and MariaDB → dataset, beside the server's own client (the floor), ConnectorX, dlt and Sling. */
import { DuckDBInstance } from "@duckdb/node-api";
import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeData } from "./data.ts";
import { cache, dataFolder, publish, python, race, root, table, type Contestant } from "./harness.ts";

const out = join(cache, "bench-out");
const node = process.execPath;
const columns = `l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber integer, l_quantity decimal(15,2),
  l_extendedprice decimal(15,2), l_discount decimal(15,2), l_tax decimal(15,2), l_returnflag char(1), l_linestatus char(1),
  l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct varchar(25), l_shipmode varchar(10), l_comment varchar(60)`;

async function countRows(pattern: string): Promise<number> {
  const files = globSync(pattern);
  if (files.length === 0) return 0;
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const reader = await connection.runAndReadAll(
    `SELECT count(*)::INTEGER FROM read_parquet([${files.map((file) => `'${file}'`).join(", ")}], union_by_name = true)`,
  );
  return Number(reader.getRows()[0]![0]);
}

function millrace(source: string, url: string, connections: number, stream: string): Contestant {
  const lake = join(out, "lake");
  return {
    name: `millrace run, ${connections} connection${connections > 1 ? "s" : ""}`,
    command: [node, join(root, "bin/millrace.mjs"), "run", "lineitem", "--config", join(lake, "millrace.yaml")],
    before() {
      rmSync(lake, { recursive: true, force: true });
      mkdirSync(lake, { recursive: true });
      writeFileSync(
        join(lake, "millrace.yaml"),
        `store: ./lake
connections:
  shop: { source: ${source}, url: "${url}", connections: ${connections} }
flows:
  lineitem:
    from: { connection: shop, stream: ${stream} }
    mode: replace
    checks:
      - { check: not-null, columns: [l_orderkey, l_partkey, l_suppkey] }
      - { check: range, column: l_quantity, min: 0, max: 1000 }
`,
      );
    },
    rows: () => countRows(join(lake, "lake/lineitem/data/*.parquet")),
  };
}

const shell = (name: string, command: string): Contestant => ({ name, command: ["bash", "-c", command] });

function peers(url: string, slingType: string, table: string): { fast: Contestant[]; slow: Contestant[] } {
  const parquet = join(out, "peer.parquet");
  // Sling downloads a program of its own to write Parquet.
  const csvTarget = join(out, "peer.csv");
  const folder = join(out, "dlt-sql");
  const alchemy = url.replace(/^postgres(ql)?:/, "postgresql+psycopg2:").replace(/^mysql:/, "mysql+pymysql:");
  const drop = (): void => rmSync(folder, { recursive: true, force: true });
  const connectorx = (parts: number): Contestant => ({
    name: `ConnectorX → PyArrow, ${parts} connection${parts > 1 ? "s" : ""}`,
    command: [python, join(root, "bench/peers/database_connectorx.py"), url, parquet, String(parts)],
    rows: () => countRows(parquet),
  });
  const dlt = (backend: string): Contestant => ({
    name: `dlt sql_database (${backend})`,
    command: [python, join(root, "bench/peers/database_dlt.py"), alchemy, folder, backend],
    before: drop,
    rows: () => countRows(join(folder, "bench/lineitem/*.parquet")),
  });
  const sling: Contestant = {
    name: "Sling → CSV",
    command: [
      "env",
      "SLING_DISABLE_TELEMETRY=true",
      `BENCH_${slingType}=${url}${slingType === "PG" ? "?sslmode=disable" : ""}`,
      join(cache, "bench/bin/sling-linux-amd64"),
      "run",
      "--src-conn",
      `BENCH_${slingType}`,
      "--src-stream",
      table,
      "--tgt-object",
      `file://${csvTarget}`,
    ],
    before: () => rmSync(csvTarget, { force: true }),
  };
  return { fast: [connectorx(1), connectorx(2)], slow: [sling, dlt("pyarrow"), dlt("sqlalchemy")] };
}

mkdirSync(out, { recursive: true });
const csv = join(dataFolder, "lineitem.csv");
const million = join(dataFolder, "lineitem-1m.csv");
await makeData(6_000_000, ["lineitem.csv"]);
if (!existsSync(million)) execFileSync("bash", ["-c", `head -n 1000001 '${csv}' > '${million}'`]);
const runs = 3;
const sections: { title: string; text: string }[] = [];
const which = process.argv[3] ?? "all";

if (which !== "mysql") {
  const { startPostgres } = await import("../test/services/postgres.ts");
  await using server = await startPostgres();
  await server.query(`CREATE TABLE lineitem (${columns})`);
  await server.query(`COPY lineitem FROM '${csv}' (FORMAT csv, HEADER)`);
  await server.query("VACUUM ANALYZE lineitem");
  const { fast, slow } = peers(server.adminUrl, "PG", "public.lineitem");
  const floor = shell(
    "psql COPY … TO STDOUT > /dev/null",
    `psql '${server.adminUrl}' -qc 'COPY lineitem TO STDOUT (FORMAT csv)' > /dev/null`,
  );
  const results = await race(
    [
      floor,
      millrace("postgres", server.adminUrl, 1, "public.lineitem"),
      millrace("postgres", server.adminUrl, 2, "public.lineitem"),
      ...fast,
    ],
    runs,
  );
  for (const contestant of slow) results.push(...(await race([contestant], 1, false)));
  sections.push({ title: "PostgreSQL 15 → dataset, lineitem 6 M × 16", text: table(results, floor.name, 6_000_000) });
}

if (which !== "postgres") {
  const { startMariadb } = await import("../test/services/mariadb.ts");
  await using server = await startMariadb(["--local-infile=ON"]);
  await server.query(`CREATE TABLE lineitem (${columns}, KEY (l_orderkey))`);
  execFileSync("mariadb", [
    "--no-defaults",
    `--socket=${server.socket}`,
    "--user=root",
    "--local-infile=1",
    server.database,
    "-e",
    `LOAD DATA LOCAL INFILE '${million}' INTO TABLE lineitem FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"' IGNORE 1 LINES`,
  ]);
  await server.query("ALTER TABLE lineitem ADD COLUMN id bigint AUTO_INCREMENT PRIMARY KEY FIRST");
  await server.query("ANALYZE TABLE lineitem");
  const { fast, slow } = peers(server.url, "MYSQL", "lineitem");
  const client = server.url.replace(
    /^mysql:\/\/([^:@]+)(?::([^@]*))?@([^:/]+):(\d+)\/(.*)$/,
    "--user=$1 --password=$2 --host=$3 --port=$4 $5",
  );
  const floor = shell(
    "mariadb --quick > /dev/null",
    `mariadb --no-defaults --quick ${client} -e 'SELECT * FROM lineitem' > /dev/null`,
  );
  const results = await race(
    [floor, millrace("mysql", server.url, 1, "lineitem"), millrace("mysql", server.url, 2, "lineitem"), ...fast],
    runs,
  );
  for (const contestant of slow) results.push(...(await race([contestant], 1, false)));
  sections.push({ title: "MariaDB 10.11 → dataset, lineitem 1 M × 17", text: table(results, floor.name, 1_000_000) });
}
publish(which === "all" ? "database" : which, sections);
