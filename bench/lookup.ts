/** Features by key, one at a time and a hundred at once, beside Redis itself and Feast's server. `npm run bench -- lookup`. */
import { DuckDBInstance } from "@duckdb/node-api";
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { Redis } from "ioredis";
import { cache, dataFolder, publish, root } from "./harness.ts";

const entities = 1_000_000;
/** Feast takes seconds for every thousand entities; how many there are is of no account to one question. */
const feastEntities = 20_000;
const features = Array.from({ length: 50 }, (_, index) => `f${index}`);
const seconds = 3;
const out = join(cache, "bench-out", "lookup");
const bin = join(root, "bin/millrace.mjs");
const asker = join(root, "bench/peers/lookup_ask.ts");
const feastPython = join(cache, "bench-feast", "bin", "python");

interface Answers {
  questions: number;
  perSecond: number;
  p50: number;
  p99: number;
  bytes: number;
  cpu: number;
}

interface Contender {
  name: string;
  how: string;
  place: string;
  entities?: number;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function makeEntities(path: string): Promise<void> {
  if (existsSync(path)) return;
  mkdirSync(dataFolder, { recursive: true });
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const columns = features.map((name, index) => `(hash(i * 50 + ${index}) / 18446744073709551616)::FLOAT AS ${name}`);
  await connection.run(
    `COPY (SELECT i AS id, ${columns.join(", ")} FROM range(${entities}) t(i)) TO '${path}.partial' (FORMAT parquet)`,
  );
  renameSync(`${path}.partial`, path);
}

/** The floor: the 200 bytes of an entity under a name of its own. */
async function fillPlainKeys(port: number): Promise<void> {
  const client = new Redis({ port, host: "127.0.0.1" });
  const value = Buffer.alloc(4 * features.length, 7);
  for (let from = 0; from < entities; from += 10_000) {
    const pipeline = client.pipeline();
    for (let id = from; id < from + 10_000; id++) pipeline.set(`e:${id}`, value);
    await pipeline.exec();
  }
  client.disconnect();
}

function askAll(contenders: readonly Contender[], batch: number, rate: number): string {
  const report = join(out, "report.json");
  const found = contenders.map((): Answers[] => []);
  for (let round = 0; round < 3; round++) {
    for (const [index, { how, place, entities: own }] of contenders.entries()) {
      const words = [how, place, String(own ?? entities), String(batch), String(seconds), String(rate), report];
      rmSync(report, { force: true });
      try {
        execFileSync(process.execPath, [asker, ...words], { stdio: ["ignore", "ignore", "inherit"], timeout: 120_000 });
        found[index]!.push(JSON.parse(readFileSync(report, "utf8")) as Answers);
      } catch {
        console.error(`${contenders[index]!.name} failed`);
      }
    }
  }
  const median = (values: readonly number[]): number =>
    values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)]!;
  const floor = median(found[0]!.map(({ p50 }) => p50));
  const micro = (milliseconds: number): string => Math.round(milliseconds * 1000).toLocaleString("en");
  const lines = [
    "| who is asked | p50 µs (min–max) | ÷ Redis GET | p99 µs | questions/s | client CPU µs | answer bytes |",
    "|---|---|---|---|---|---|---|",
  ];
  for (const [index, { name }] of contenders.entries()) {
    const all = found[index]!;
    if (all.length === 0) {
      lines.push(`| ${name} | failed |`);
      continue;
    }
    const p50 = all.map((answers) => answers.p50);
    const cells = [
      name,
      `${micro(median(p50))} (${micro(Math.min(...p50))}–${micro(Math.max(...p50))})`,
      (median(p50) / floor).toFixed(2),
      micro(median(all.map(({ p99 }) => p99))),
      Math.round(median(all.map(({ perSecond }) => perSecond))).toLocaleString("en"),
      median(all.map(({ cpu }) => cpu)).toFixed(0),
      all[0]!.bytes.toLocaleString("en"),
    ];
    lines.push(`| ${cells.join(" | ")} |`);
  }
  return lines.join("\n");
}

async function firstLine(child: ChildProcess): Promise<string> {
  const [said] = (await Promise.race([
    once(child.stdout!, "data"),
    once(child, "exit").then(([code]) => Promise.reject(new Error(`ended with ${code}`))),
  ])) as [Buffer];
  return said.toString();
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const input = join(dataFolder, "entities.parquet");
await makeEntities(input);
const children: ChildProcess[] = [];
const begin = (command: string, args: readonly string[], errors: "ignore" | "inherit" = "inherit"): ChildProcess => {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", errors], detached: true });
  children.push(child);
  return child;
};
try {
  const redisPort = await freePort();
  begin("redis-server", ["--port", String(redisPort), "--save", "", "--appendonly", "no", "--dir", out], "ignore");
  await fillPlainKeys(redisPort);
  const config = join(out, "millrace.yaml");
  writeFileSync(
    config,
    `store: ./lake
cache: { path: ./cache }
connections: { online: { sink: redis, port: ${redisPort} } }
flows: { entities: { from: { path: "${input}" }, mode: replace, key: [id] } }
lookup:
  entities: { key: [id] }
  copy: { connection: online, target: entities, key: [id] }
`,
  );
  execFileSync(process.execPath, [bin, "run", "entities", "--config", config], { stdio: "ignore" });
  execFileSync(process.execPath, [bin, "publish", "entities", "--to", "online", "--key", "id", "--config", config], {
    stdio: "ignore",
  });
  const serve = async (...place: string[]): Promise<string> => {
    const child = begin(process.execPath, [bin, "lookup", "--serve", "--json", "--config", config, ...place]);
    return (JSON.parse(await firstLine(child)) as { url: string }).url;
  };
  const respPort = await freePort();
  const tcp = await serve("--redis-port", String(respPort));
  const unix = await serve("--socket", join(out, "lookup.sock"));
  const contenders: Contender[] = [
    { name: "Redis itself, GET or MGET of 200 bytes, ioredis", how: "redis", place: String(redisPort) },
    { name: "millrace, index served, packed records, ioredis", how: "redis", place: `${respPort}|1|entities:` },
    { name: "millrace, index served, JSON, ioredis", how: "redis", place: `${respPort}|0|entities:` },
    { name: "millrace, index served, packed records, HTTP", how: "packed", place: tcp },
    { name: "millrace, index served, packed records, Unix socket", how: "packed", place: unix },
    { name: "millrace, index served, Arrow, HTTP", how: "arrow", place: tcp },
    { name: "millrace, index served, JSON, HTTP", how: "json", place: tcp },
    { name: "millrace, copy in Redis served, JSON, HTTP", how: "json", place: `${tcp}|copy` },
    { name: "millrace, copy in Redis, in process", how: "copy", place: config },
    { name: "millrace, index in process", how: "index", place: config },
  ];
  if (existsSync(feastPython)) {
    const port = await freePort();
    const child = begin(
      feastPython,
      [
        join(root, "bench/peers/lookup_feast.py"),
        join(out, "feast"),
        String(feastEntities),
        String(redisPort),
        String(port),
      ],
      "ignore",
    );
    await firstLine(child);
    for (let tries = 0; tries < 100; tries++) {
      if (
        await fetch(`http://127.0.0.1:${port}/health`).then(
          ({ ok }) => ok,
          () => false,
        )
      )
        break;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const place = `http://127.0.0.1:${port}`;
    contenders.push({ name: "Feast's server (Python), online store Redis", how: "feast", place, entities: feastEntities });
  }
  const openLoop = contenders.filter(({ place, how }) => how === "redis" || (place === tcp && how !== "arrow"));
  publish("lookup", [
    { title: "1 M entities × 50 float32, one key a question, one question after the other", text: askAll(contenders, 1, 0) },
    { title: "A hundred keys a question, one question after the other", text: askAll(contenders, 100, 0) },
    { title: "5,000 questions a second of one key, timed from when they were due", text: askAll(openLoop, 1, 5000) },
  ], { timed: "questions of a process that is there, to servers that are there" }); // prettier-ignore
} finally {
  // With the processes that they have started.
  for (const { pid } of children) if (pid !== undefined) process.kill(-pid, "SIGKILL");
}
