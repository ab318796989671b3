/** Commits: 1,000 and 10,000 one-row appends, the open of a dataset of 10,000 versions, and the start of the command line. */
import { copyFileSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { assignFieldIds, openCatalog } from "../src/dataset/index.ts";
import { openEngine } from "../src/engine/index.ts";
import fs from "../src/stores/fs/index.ts";
import { cache, publish, race, root, table } from "./harness.ts";

const out = join(cache, "bench-out/commit");
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const store = await (await fs.load()).open({ path: out }, { connection: "bench", folder: out });
const columns = assignFieldIds([{ name: "id", type: "long" }]);
const dataset = await openCatalog(store).create("events", columns);
const staging = join(out, "events/data");
mkdirSync(staging, { recursive: true });
const engine = await openEngine({ spillFolder: join(out, "spill"), allowed: [out] });
const [sample] = await engine.write("SELECT 1::BIGINT AS id", { columns, folder: staging, prefix: "sample" });

const lines = ["| versions | commits/s | ms each | metadata.json bytes |", "|---|---|---|---|"];
let made = 0;
const until = Number(process.argv[3] ?? 10_000);
for (const target of [1000, 2000, 5000, 10_000].filter((count) => count <= until)) {
  const count = target - made;
  for (let index = made; index < target; index++) copyFileSync(sample!.path, join(staging, `one-${index}.parquet`));
  const started = performance.now();
  for (; made < target; made++) {
    const path = `events/data/one-${made}.parquet`;
    await dataset.commit({ operation: "append", add: [{ ...sample!, path }], runId: `bench/${made}` });
  }
  const seconds = (performance.now() - started) / 1000;
  const metadata = execFileSync("bash", ["-c", `ls -S ${out}/events/metadata/*.metadata.json | head -1`], {
    encoding: "utf8",
  }).trim();
  lines.push(
    `| ${target} | ${(count / seconds).toFixed(0)} | ${((1000 * seconds) / count).toFixed(2)} | ${statSync(metadata).size} |`,
  );
}
const opens: number[] = [];
for (let index = 0; index < 5; index++) {
  const started = performance.now();
  const opened = await openCatalog(store).open("events");
  await opened.files();
  opens.push(performance.now() - started);
}
opens.sort((a, b) => a - b);
lines.push("", `Open and list all files at ${until} versions: ${opens[2]!.toFixed(0)} ms (median of 5).`);
await engine[Symbol.asyncDispose]();

const folder = join(cache, "bench-out/start");
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "small.csv"), "id,name\n1,a\n2,b\n3,c\n");
writeFileSync(
  join(folder, "millrace.yaml"),
  "store: ./lake\nflows:\n  small:\n    from: { path: small.csv }\n    mode: append\n",
);
const bin = join(root, "bin/millrace.mjs");
const floor = join(cache, "bench-out/floor");
const results = await race(
  [
    { name: "node -e 0", command: [process.execPath, "-e", "0"] },
    { name: "millrace --help", command: [process.execPath, bin, "--help"] },
    {
      name: "millrace run, 3 rows of CSV to a published version",
      command: [process.execPath, bin, "run", "small", "--config", join(folder, "millrace.yaml")],
      before: () => rmSync(join(folder, "lake"), { recursive: true, force: true }),
    },
    {
      name: "1,000 × write + fsync + link + fsync of the folder",
      command: [process.execPath, join(root, "bench/peers/commit_floor.mjs"), floor, "1000"],
      before: () => rmSync(floor, { recursive: true, force: true }),
    },
  ],
  5,
);
publish("commit", [
  { title: "One-row appends to one dataset, one after another", text: lines.join("\n") },
  { title: "Start", text: table(results, "node -e 0", 1) },
]);
