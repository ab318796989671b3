/** Events that are durable before they are acknowledged, beside node:http and Fastify. `npm run bench -- collect`. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cache, publish, root } from "./harness.ts";

const key = "a-key-of-the-bench-00000";
const out = join(cache, "bench-out", "collect");
const sender = join(root, "bench/peers/collect_send.ts");
const packages = join(cache, "bench-collect");
const rounds = 3;
const seconds = 4;

interface Answers {
  requests: number;
  bad: number;
  waiting: number;
  perSecond: number;
  p50: number;
  p99: number;
  most: number;
  /** Processor time of the server, microseconds a request. */
  cpu: number;
}
interface Contender {
  name: string;
  /** Words of the command; the folder is empty. */
  command: (folder: string) => string[];
}

const contenders: Contender[] = [
  {
    name: "millrace collect: inbox, answer after the fsync of the group",
    command: (folder) => {
      const config = join(folder, "millrace.yaml");
      const connections = { clicks: { source: "clickstream", keys: { bench: { key, requests_per_second: 1_000_000 } } } };
      writeFileSync(config, JSON.stringify({ store: "./lake", connections }));
      return [join(root, "bin/millrace.mjs"), "collect", "--json", "--port", "0", "--config", config];
    },
  },
  { name: "node:http, bodies untouched, nothing kept", command: () => [join(root, "bench/peers/collect_http.mjs")] },
];
if (existsSync(join(packages, "node_modules/fastify"))) {
  contenders.push({
    name: "Fastify: JSON of each event, a line each, fdatasync of the group",
    command: (folder) => [join(root, "bench/peers/collect_fastify.mjs"), packages, join(folder, "events.ndjson")],
  });
}

/** Processor time of a process and its threads, seconds. */
function cpuOf({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function measure({ command }: Contender, events: number, connections: number, rate: number): Promise<Answers> {
  const folder = join(out, "run");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const server = spawn(process.execPath, command(folder), { stdio: ["ignore", "pipe", "inherit"], cwd: folder });
  try {
    const [said] = (await once(server.stdout, "data")) as [Buffer];
    const told = JSON.parse(said.toString()) as { url?: string; port?: number };
    const port = told.port ?? Number(new URL(told.url!).port);
    const report = join(out, "report.json");
    const path = events === 1 ? "/v1/track" : "/v1/batch";
    const header = `authorization: Basic ${Buffer.from(`${key}:`).toString("base64")}`;
    const before = cpuOf(server);
    const words = [String(port), path, header, String(events), String(connections), String(seconds), String(rate), report];
    execFileSync(process.execPath, [sender, ...words], { stdio: ["ignore", "ignore", "inherit"], timeout: 60_000 });
    const cpu = cpuOf(server) - before;
    const answers = JSON.parse(readFileSync(report, "utf8")) as Answers;
    // Also of the second in which it warms up.
    return { ...answers, cpu: (cpu * 1e6) / (answers.requests * ((seconds + 1) / seconds)) };
  } finally {
    const ended = once(server, "exit");
    server.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

const median = (values: readonly number[]): number => values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)]!;
const whole = (value: number): string => Math.round(value).toLocaleString("en");

async function table(events: number, connections: number, rate: number): Promise<string> {
  const found = contenders.map((): Answers[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, contender] of contenders.entries()) found[index]!.push(await measure(contender, events, connections, rate));
  }
  const lines = [
    "| who takes them | requests/s (min–max) | events/s | events/s a core of the server | CPU µs a request | p50 ms | p99 ms | not taken |",
    "|---|---|---|---|---|---|---|---|",
  ];
  for (const [index, { name }] of contenders.entries()) {
    const all = found[index]!;
    const rates = all.map(({ perSecond }) => perSecond);
    const cpu = median(all.map((answers) => answers.cpu));
    const refused = all.reduce((sum, { bad, waiting }) => sum + bad + waiting, 0);
    lines.push(
      `| ${name} | ${whole(median(rates))} (${whole(Math.min(...rates))}–${whole(Math.max(...rates))}) | ${whole(median(rates) * events)} | ${whole((1e6 / cpu) * events)} | ${cpu.toFixed(1)} | ${median(all.map(({ p50 }) => p50)).toFixed(1)} | ${median(all.map(({ p99 }) => p99)).toFixed(1)} | ${whole(refused)} |`,
    );
  }
  return lines.join("\n");
}

mkdirSync(out, { recursive: true });
publish("collect", [
  { title: "1 event a request, 256 connections, one request after the other", text: await table(1, 256, 0) },
  { title: "50 events a request (19 kB), 64 connections, one request after the other", text: await table(50, 64, 0) },
  { title: "20,000 events a second, 1 a request, 256 connections, timed from when they were due", text: await table(1, 256, 20_000) },
  { title: "20,000 events a second, 10 a request, 64 connections, timed from when they were due", text: await table(10, 64, 2_000) },
], { timed: "the server and the sender are two processes on the same two cores" }); // prettier-ignore
