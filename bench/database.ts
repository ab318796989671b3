/** PostgreSQL and MariaDB → dataset, beside the server's own client (the floor), ConnectorX, dlt and Sling. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeData } from "./data.ts";
import { digest, lineitemTypes } from "./digest.ts";
import { cache, dataFolder, publish, python, race, root, table as tableText, type Contestant } from "./harness.ts";

const out = join(cache, "bench-out");
const node = process.execPath;
const columns = `l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber integer, l_quantity decimal(15,2),
  l_extendedprice decimal(15,2), l_discount decimal(15,2), l_tax decimal(15,2), l_returnflag char(1), l_linestatus char(1),
  l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct varchar(25), l_shipmode varchar(10), l_comment varchar(60)`;

/** What is read, and how it is proven to be all there. */
interface Table {
  /** As the source names the stream. */
  stream: string;
  /** As SQL of the server names it. */
  name: string;
  /** A column that ConnectorX parts by. */
  parted: string;
  checks: string;
  types: Record<string, string>;
}

const lineitem: Table = {
  stream: "lineitem",
  name: "lineitem",
  parted: "l_orderkey",
  checks: `
      - { check: not-null, columns: [l_orderkey, l_partkey, l_suppkey] }
      - { check: range, column: l_quantity, min: 0, max: 1000 }`,
  types: lineitemTypes,
};

function millrace(source: string, url: string, connections: number, table: Table): Contestant {
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
    from: { connection: shop, stream: ${table.stream} }
    mode: replace
    checks:${table.checks}
`,
      );
    },
    proof: () => digest(join(lake, "lake/lineitem/data/*.parquet"), table.types),
  };
}

/** Columns in turn of three types, as a table of features has them. */
const wideTable = `CREATE TABLE wide AS SELECT i AS id, ${Array.from(
  { length: 99 },
  (_, column) =>
    [
      `(i * ${column + 3} % 1000003)::bigint AS c${column}`,
      `(i * ${column + 7} % 100003)::double precision / 8 AS c${column}`,
      `'v' || (i * ${column + 11} % 9973) AS c${column}`,
    ][column % 3],
).join(", ")} FROM generate_series(1, 300000) AS t(i)`;
const wide: Table = {
  stream: "wide",
  name: "wide",
  parted: "id",
  checks: "\n      - { check: not-null, columns: [id] }",
  types: Object.fromEntries(
    Array.from({ length: 99 }, (_, column) => [`c${column}`, ["BIGINT", "DOUBLE", "VARCHAR"][column % 3]!]),
  ),
};

/** Nine of ten values are null; documents and arrays are compared by number only, because peers give them other types. */
const sparseTable = `CREATE TABLE sparse AS SELECT i AS id,
  CASE WHEN i % 10 = 0 THEN i * 7 END AS n1, CASE WHEN i % 10 = 1 THEN i * 11 END AS n2, CASE WHEN i % 10 = 2 THEN i / 4.0::double precision END AS d1,
  CASE WHEN i % 10 = 3 THEN 'text ' || i END AS t1, CASE WHEN i % 10 = 4 THEN 'text ' || i END AS t2, CASE WHEN i % 10 = 5 THEN '' END AS t3,
  CASE WHEN i % 10 = 6 THEN timestamptz '2026-01-01' + i * interval '1 s' END AS ts, CASE WHEN i % 10 = 7 THEN i % 2 = 0 END AS b,
  CASE WHEN i % 10 = 8 THEN jsonb_build_object('i', i, 'tags', jsonb_build_array('a', i % 7), 'deep', jsonb_build_object('x', null)) END AS document,
  CASE WHEN i % 10 = 9 THEN ARRAY[i, NULL, i + 1] END AS ids, CASE WHEN i % 10 = 9 THEN ARRAY['a', 'b,"c'] END AS names
  FROM generate_series(1::bigint, 2000000) AS t(i)`;
const sparse: Table = {
  stream: "sparse",
  name: "sparse",
  parted: "id",
  checks: "\n      - { check: not-null, columns: [id] }",
  types: { id: "BIGINT", n1: "BIGINT", n2: "BIGINT", d1: "DOUBLE", t1: "VARCHAR", t2: "VARCHAR", b: "BOOLEAN" },
};

const shell = (name: string, command: string): Contestant => ({ name, command: ["bash", "-c", command] });

function peers(
  url: string,
  slingType: string,
  table: Table,
  fewShare: number,
): { fast: Contestant[]; slow: Contestant[] } {
  const parquet = join(out, "peer.parquet");
  // Sling downloads a program of its own to write Parquet.
  const csvTarget = join(out, "peer.csv");
  const folder = join(out, "dlt-sql");
  const alchemy = url.replace(/^postgres(ql)?:/, "postgresql+psycopg2:").replace(/^mysql:/, "mysql+pymysql:");
  const drop = (): void => rmSync(folder, { recursive: true, force: true });
  const connectorx = (parts: number): Contestant => ({
    name: `ConnectorX → PyArrow, ${parts} connection${parts > 1 ? "s" : ""}`,
    command: [
      python,
      join(root, "bench/peers/database_connectorx.py"),
      url,
      parquet,
      String(parts),
      table.name,
      table.parted,
    ],
    proof: () => digest(parquet, table.types),
  });
  const dlt = (backend: string, name = table.name, share = 1): Contestant => ({
    name: `dlt sql_database (${backend})${share === 1 ? "" : `, ${share.toFixed(3)} of the rows`}`,
    command: [python, join(root, "bench/peers/database_dlt.py"), alchemy, folder, backend, name],
    before: drop,
    proof: () => digest(join(folder, `bench/${name}/*.parquet`), table.types),
    share,
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
      table.stream,
      "--tgt-object",
      `file://${csvTarget}`,
    ],
    before: () => rmSync(csvTarget, { force: true }),
    proof: () => digest(csvTarget, table.types, "read_csv"),
  };
  // dlt's default takes minutes a million rows: it gets a table of fewer.
  return { fast: [connectorx(1), connectorx(2)], slow: [sling, dlt("pyarrow"), dlt("sqlalchemy", "few", fewShare)] };
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
  const url = server.adminUrl;
  async function compare(table: Table, rows: number, fewRows: number, withSlow: boolean): Promise<string> {
    await server.query(`DROP TABLE IF EXISTS few`);
    await server.query(`CREATE TABLE few AS SELECT * FROM ${table.name} LIMIT ${fewRows}`);
    await server.query("VACUUM ANALYZE");
    const { fast, slow } = peers(url, "PG", { ...table, stream: `public.${table.stream}` }, fewRows / rows);
    const floor = shell(
      "psql COPY … TO STDOUT > /dev/null",
      `psql '${url}' -qc 'COPY ${table.name} TO STDOUT (FORMAT csv)' > /dev/null`,
    );
    const ours = [1, 2].map((connections) =>
      millrace("postgres", url, connections, { ...table, stream: `public.${table.stream}` }),
    );
    const results = await race([floor, ...ours, ...fast], runs);
    if (withSlow) for (const contestant of slow) results.push(...(await race([contestant], 1, false)));
    return tableText(results, floor.name, rows);
  }
  sections.push({
    title: "PostgreSQL 15 → dataset, lineitem 6 M × 16",
    text: await compare(lineitem, 6_000_000, 500_000, true),
  });
  await server.query("DROP TABLE lineitem");
  await server.query(wideTable);
  sections.push({ title: "Wide: 300 k × 100", text: await compare(wide, 300_000, 50_000, false) });
  await server.query("DROP TABLE wide");
  await server.query(sparseTable);
  sections.push({
    title: "Mostly null, with jsonb and arrays: 2 M × 12",
    text: await compare(sparse, 2_000_000, 50_000, false),
  });
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
  await server.query("CREATE TABLE few AS SELECT * FROM lineitem LIMIT 200000");
  const { fast, slow } = peers(server.url, "MYSQL", { ...lineitem, stream: `${server.database}.lineitem` }, 0.2);
  const client = server.url.replace(
    /^mysql:\/\/([^:@]+)(?::([^@]*))?@([^:/]+):(\d+)\/(.*)$/,
    "--user=$1 --password=$2 --host=$3 --port=$4 $5",
  );
  const floor = shell(
    "mariadb --quick > /dev/null",
    `mariadb --no-defaults --quick ${client} -e 'SELECT * FROM lineitem' > /dev/null`,
  );
  const results = await race(
    [floor, millrace("mysql", server.url, 1, lineitem), millrace("mysql", server.url, 2, lineitem), ...fast],
    runs,
  );
  for (const contestant of slow) results.push(...(await race([contestant], 1, false)));
  sections.push({
    title: "MariaDB 10.11 → dataset, lineitem 1 M × 17",
    text: tableText(results, floor.name, 1_000_000),
  });
}
publish(which === "all" ? "database" : which, sections);
