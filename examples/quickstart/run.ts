/**
 * The quickstart: runs the command line on real data and shows what it prints. Everything it does can be typed by hand.
 * It works in `quickstart-lake/`; running it again reads only what is new.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const folder = join(root, "quickstart-lake");
const data = join(root, "node_modules/vega-datasets/data");
const started = performance.now();

function say(text: string): void {
  console.log(`\n${text}`);
}

function millrace(...commandLine: string[]): void {
  const shown = commandLine.map((word) => (/[\s"'*(]/.test(word) ? `"${word}"` : word)).join(" ");
  console.log(`\n$ npx millrace ${shown}`);
  const result = spawnSync(process.execPath, [join(root, "bin/millrace.mjs"), ...commandLine], {
    cwd: folder,
    stdio: "inherit",
  });
  if (result.status !== 0) {
    console.error(`\nthe quickstart stopped: \`millrace ${shown}\` ended with ${result.status ?? result.signal}`);
    process.exit(1);
  }
}

/** One year of the weather, as a station would deliver it. */
function deliverWeather(year: string): void {
  const [header, ...lines] = readFileSync(join(data, "seattle-weather.csv"), "utf8").trim().split(/\r?\n/);
  const chosen = lines.filter((line) => line.startsWith(year));
  writeFileSync(join(folder, "incoming/weather", `seattle-${year}.csv`), `${[header, ...chosen].join("\n")}\n`);
}

const first = !existsSync(join(folder, "lake"));
mkdirSync(join(folder, "incoming/weather"), { recursive: true });
copyFileSync(join(here, "millrace.yaml"), join(folder, "millrace.yaml"));
if (first) {
  for (const name of ["airports.csv", "movies.json", "flights-3m.parquet"])
    copyFileSync(join(data, name), join(folder, "incoming", name));
  for (const year of ["2012", "2013", "2014"]) deliverWeather(year);
}

say(
  first
    ? "Four real data sets: CSV, JSON, Parquet. Each becomes a checked, versioned, split dataset with one command."
    : "The lake is there already: the same commands read only what is new.",
);
for (const flow of ["airports", "movies", "flights", "weather"]) millrace("run", flow);

if (first) {
  say("Some rows were refused. They are kept, with the reason, beside the dataset:");
  millrace("query", "select reason, count(*) as rows from movies__rejected group by 1 order by 2 desc");
  say("A new file of weather arrives. The same command reads that file alone:");
  deliverWeather("2015");
  millrace("run", "weather");
}
millrace("datasets");
millrace("history", "weather");
millrace(
  "query",
  "select split, count(*) as flights, round(avg(delay), 1) as delay from flights group by 1 order by 1",
);
say("A batch of training data:");
millrace("preview", "movies", "--split", "train", "--rows", "8");

console.log(`
Done in ${((performance.now() - started) / 1000).toFixed(1)} s. Where to look next:

  cd quickstart-lake
  npx millrace show flights                     # schema, files, lineage
  npx millrace quality movies --html movies.html
  npx millrace diff weather@1 weather@2
  npx millrace export movies --format csv --split train --to ./out
  npx millrace list sources                     # postgres, mysql, files, …
  less millrace.yaml                            # the whole configuration

The datasets are Apache Iceberg tables in quickstart-lake/lake: PyIceberg, Spark, DuckDB and Polars read them too.`);
