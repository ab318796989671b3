/**
 * Asks one server for rows by key and writes the latencies: `lookup_ask.ts <how> <place> <entities> <batch> <seconds> <rate> <report>`.
 * rate 0: one question after the other (closed loop). Otherwise questions a second, each timed from the moment at which it was due (open loop).
 */
import { request as ask, Agent } from "node:http";
import { writeFileSync } from "node:fs";
import { Redis } from "ioredis";

const [how = "", place = "", entities = "", batch = "", seconds = "", rate = "", report = ""] = process.argv.slice(2);
const [count, size, duration, perSecond] = [Number(entities), Number(batch), Number(seconds) * 1000, Number(rate)];

/** Everybody is asked for the same keys. */
let state = 12_345;
function nextKey(): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
  return state % count;
}
const keys = (): number[] => Array.from({ length: size }, nextKey);

const agent = new Agent({ keepAlive: true, maxSockets: 256 });
const [where, path] = place.split("|") as [string, string?];
const target = where.startsWith("unix:")
  ? { socketPath: where.slice(5) }
  : where.startsWith("http:")
    ? { host: new URL(where).hostname, port: Number(new URL(where).port) }
    : {};

function http(method: string, at: string, body: string | undefined, accept: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string | number> = { accept };
    if (body !== undefined) {
      headers["content-type"] = "application/json";
      headers["content-length"] = Buffer.byteLength(body);
    }
    const sent = ask({ ...target, agent, method, path: at, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const answer = Buffer.concat(chunks);
        if (response.statusCode === 200) resolve(answer);
        else reject(new Error(`${response.statusCode}: ${answer.toString("utf8", 0, 300)}`));
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** One question; its answer in bytes. */
async function questioner(): Promise<() => Promise<number>> {
  const lookup = `/v1/lookup/${path ?? "entities"}`;
  const over = (accept: string) => async (): Promise<number> => {
    const wanted = keys();
    const answer =
      size === 1
        ? await http("GET", `${lookup}?key=${wanted[0]}`, undefined, accept)
        : await http("POST", lookup, JSON.stringify({ keys: wanted }), accept);
    return answer.length;
  };
  if (how === "json") return over("application/json");
  if (how === "arrow") return over("application/vnd.apache.arrow.stream");
  if (how === "packed") return over("application/vnd.millrace.records");
  if (how === "redis") {
    // `port|database|what names begin with`: the same client, whoever answers.
    const [database = "0", begin = "e:"] = place.split("|").slice(1);
    const client = new Redis({ port: Number(where), host: "127.0.0.1", db: Number(database) });
    return async () => {
      const names = keys().map((key) => `${begin}${key}`);
      const values = size === 1 ? [await client.getBuffer(names[0]!)] : await client.mgetBuffer(...names);
      return values.reduce((sum, value) => sum + value!.length, 0);
    };
  }
  if (how === "feast") {
    const features = Array.from({ length: 50 }, (_, index) => `entities:f${index}`);
    return async () =>
      (
        await http(
          "POST",
          "/get-online-features",
          JSON.stringify({ features, entities: { id: keys() } }),
          "application/json",
        )
      ).length;
  }
  const { loadConfig } = await import("../../dist/config/index.js");
  const { openLake } = await import("../../dist/pipeline/index.js");
  const { registry } = await import("../../dist/registry.js");
  const lake = await openLake(await loadConfig({ registry, config: where }), registry);
  const lookup_ = await lake.lookup(path ?? "entities", how === "copy" ? { connection: "online" } : {});
  return async () => Object.keys((await lookup_.get(keys().map((key) => [key]))).rows[0]!).length;
}

const question = await questioner();
const until = (time: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, time));
let bytes = 0;
const latencies: number[] = [];
for (let warm = 0; warm < 300; warm++) bytes = await question();
const cpu = process.cpuUsage();
const begun = performance.now();
if (perSecond === 0) {
  while (performance.now() - begun < duration) {
    const before = performance.now();
    bytes = await question();
    latencies.push(performance.now() - before);
  }
} else {
  const all: Promise<void>[] = [];
  const total = Math.floor((duration / 1000) * perSecond);
  for (let asked = 0; asked < total;) {
    const due = Math.min(total, Math.floor(((performance.now() - begun) / 1000) * perSecond));
    for (; asked < due; asked++) {
      const at = begun + (asked * 1000) / perSecond;
      all.push(
        question().then((length) => {
          bytes = length;
          latencies.push(performance.now() - at);
        }),
      );
    }
    await until(0.2);
  }
  await Promise.all(all);
}
const elapsed = (performance.now() - begun) / 1000;
const used = process.cpuUsage(cpu);
latencies.sort((left, right) => left - right);
const at = (share: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))]!;
writeFileSync(
  report,
  JSON.stringify({
    questions: latencies.length,
    perSecond: latencies.length / elapsed,
    p50: at(0.5),
    p99: at(0.99),
    bytes,
    cpu: (used.user + used.system) / latencies.length,
  }),
);
process.exit(0);
