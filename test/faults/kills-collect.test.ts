import { createServer, type AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { type Child, finish, start } from "./child.ts";
import { Ledger } from "./ledger.ts";
import { oracleLake } from "./oracle-lake.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, soak } from "./trust.ts";

const random = seeded("kills-collect");
const key = "a-key-of-the-oracle";

type Blow = "collector" | "runner" | "both";
const blows: Blow[] = ["collector", "runner", "both"];
const wanted = soak ? 60 : 4;
const perRound = soak ? 600 : 400;

/** `millrace collect` at one port, as often as it is started. */
class Collector {
  readonly #folder: string;
  readonly #port: number;
  #child: Child | undefined;
  /** Resolves when it listens; another one after each start. */
  ready: Promise<unknown>;

  constructor(folder: string, port: number) {
    [this.#folder, this.#port] = [folder, port];
    this.ready = this.start();
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/v1/batch`;
  }

  start(): Promise<unknown> {
    this.#child = start({
      program: "millrace.ts",
      args: ["collect", "--json", "--port", String(this.#port)],
      cwd: this.#folder,
      deadlineMs: 900_000,
    });
    this.ready = this.#child.line("{");
    return this.ready;
  }

  /** Kills it in the middle of whatever it does, and starts it again. */
  async kill(): Promise<boolean> {
    const child = this.#child!;
    child.process.kill("SIGKILL");
    this.ready = child.ended.then(() => this.start());
    return (await child.ended).killed;
  }

  async stop(): Promise<void> {
    this.#child!.process.kill("SIGTERM");
    await this.#child!.ended;
  }
}

/** As an SDK sends: a batch at a time over several connections, again until it is acknowledged. */
async function sendAll(
  collector: Collector,
  events: readonly unknown[],
  onAcknowledged: (count: number) => void,
): Promise<number> {
  const queue = [...events];
  let [acknowledged, again] = [0, 0];
  const sender = async (): Promise<void> => {
    while (queue.length > 0) {
      const batch = queue.splice(0, random.between(1, 8));
      for (;;) {
        const answer = await fetch(collector.url, {
          method: "POST",
          headers: { "x-millrace-key": key, "content-type": "application/json" },
          body: JSON.stringify({ batch }),
        }).then(
          async (response) => ({ status: response.status, text: await response.text() }),
          () => undefined,
        );
        if (answer?.status === 200) break;
        expect([undefined, 503]).toContain(answer?.status);
        again++;
        await collector.ready;
      }
      onAcknowledged((acknowledged += batch.length));
    }
  };
  await Promise.all(Array.from({ length: 12 }, sender));
  return again;
}

test(
  `${wanted} kills of the collector, of the runner and of both: no event lost, none twice`,
  { timeout: 900_000 },
  () =>
    inScratch(async (folder) => {
      const ledger = new Ledger(random.seed);
      const connections = {
        clicks: { source: "clickstream", keys: { oracle: { key, requests_per_second: 100_000 } }, part_requests: 40 },
      };
      const transform =
        "select (properties->>'id')::int as id, 1 as revision, properties->>'payload' as payload, (properties->>'price')::double as price from input";
      const checks = [
        { check: "unique", columns: ["id"] },
        { check: "range", column: "price", min: 0, on_fail: "reject" },
      ];
      const from = { connection: "clicks", stream: "*" };
      const lake = oracleLake(
        folder,
        "append",
        from,
        { connections, flows: { events: { from, transform, checks } } },
        ledger,
      );
      const collector = new Collector(folder, await freePort());
      const fired = new Map<Blow, number>();
      const violations: string[] = [];
      let [struck, steps, resent] = [0, 300, 0];
      try {
        for (let round = 0; (struck < wanted || fired.size < blows.length) && violations.length === 0; round++) {
          const blow = blows[round % blows.length]!;
          const events: unknown[] = ledger.offer(perRound).map(({ id, payload, price }) => ({
            type: "track",
            event: "offered",
            userId: "u",
            messageId: `${id}`,
            properties: { id, payload, price },
          }));
          const broken = ledger.offerBroken();
          events.push({ type: "none that there is", id: broken, messageId: `broken ${broken}` });
          await collector.ready;
          const runs = { program: "millrace.ts", args: ["run", "events", "--json"], cwd: folder };
          const runner = start(
            blow === "runner" ? { ...runs, steps: { at: [random.between(1, steps)], action: "kill" } } : runs,
          );
          let strike: Promise<boolean> | undefined;
          const moment = random.between(1, perRound - 1);
          resent += await sendAll(collector, events, (count) => {
            if (blow === "runner" || strike !== undefined || count < moment) return;
            if (blow === "both") runner.process.kill("SIGKILL");
            strike = collector.kill();
          });
          const ended = await runner.ended;
          const collectorDied = (await strike) ?? false;
          const hit =
            blow === "runner" ? ended.killed : blow === "both" ? collectorDied && ended.killed : collectorDied;
          if (!ended.killed) {
            expect(ended.code, ended.errors).toBe(0);
            steps = Math.max(100, ended.steps);
          }
          if (hit) {
            struck++;
            fired.set(blow, (fired.get(blow) ?? 0) + 1);
          }
          await collector.ready;
          // The collector goes on while a run reads to the end.
          const last = await finish(runs);
          expect(last.code, last.errors).toBe(0);
          if (soak || struck >= wanted)
            violations.push(...(await lake.tally()).violations.map((text) => `round ${round}, ${blow}: ${text}`));
        }
      } finally {
        await collector.stop();
      }
      const { acknowledged, lost, duplicated } = await lake.tally();
      const faults = [...fired].map(([blow, count]) => `${blow} ${count}`).join(", ");
      recordFault({
        area: "Kills of whole runs",
        component: "collector and runs of its events",
        fault: `SIGKILL of the collector, of the runner, of both, while clients send and send again (${faults})`,
        fired: struck,
        violations: violations.length,
        records: { acknowledged, lost, duplicated },
      });
      expect(violations).toEqual([]);
      expect({ lost, duplicated }).toEqual({ lost: 0, duplicated: 0 });
      expect(fired.size).toBe(blows.length);
      // Answers were lost on the way, so that events did come twice.
      expect(resent).toBeGreaterThan(0);
      expect(acknowledged).toBeGreaterThanOrEqual(soak ? 10_000 : 1_000);
    }),
);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
