import { afterAll, beforeAll, expect, test } from "vitest";
import { isMillraceError, messageOf } from "../../src/core/index.ts";
import { startKinesis, type Kinesis } from "../services/kinesis.ts";
import { start } from "./child.ts";
import { Ledger } from "./ledger.ts";
import { oracleLake } from "./oracle-lake.ts";
import { startProxy, type Proxy } from "./proxy.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, soak } from "./trust.ts";

const random = seeded("kills-kinesis");

let kinesis: Kinesis;
let proxy: Proxy;
beforeAll(async () => {
  kinesis = await startKinesis({ keep: true });
  proxy = await startProxy(kinesis.port);
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await kinesis[Symbol.asyncDispose]();
});

type Blow = "runner" | "server" | "both";
const blows: Blow[] = ["runner", "server", "both"];
const wanted = soak ? 36 : 3;
const [fewest, perRound] = soak ? [10_000, 900] : [100, 60];

/** Writes records, and one that is none, each id by its own partition key. */
async function offer(ledger: Ledger): Promise<void> {
  const rows = ledger.offer(perRound);
  await kinesis.put("events", [
    ...rows.map((row) => ({ PartitionKey: String(row.id), Data: Buffer.from(JSON.stringify(row)) })),
    { PartitionKey: "broken", Data: Buffer.from(`broken${ledger.offerBroken()},line`) },
  ]);
}

/** Splits a shard that is open, or merges two neighbours. */
async function reshard(): Promise<void> {
  const open = (await kinesis.shards("events"))
    .filter(({ SequenceNumberRange }) => SequenceNumberRange!.EndingSequenceNumber === undefined)
    .toSorted((left, right) =>
      BigInt(left.HashKeyRange!.StartingHashKey!) < BigInt(right.HashKeyRange!.StartingHashKey!) ? -1 : 1,
    );
  if (open.length < 4) await kinesis.split("events", open[random.between(0, open.length - 1)]!.ShardId!);
  else await kinesis.merge("events", open[0]!.ShardId!, open[1]!.ShardId!);
}

test(
  `${wanted} kills of runner and server while a stream is read and reshards: no record lost, none twice`,
  {
    timeout: 900_000,
  },
  () =>
    inScratch(async (folder) => {
      await kinesis.create("events", 2);
      const ledger = new Ledger(random.seed);
      const from = { connection: "stream", stream: "events", part_bytes: 20_000 };
      const connection = { ...kinesis.options, endpoint: `http://127.0.0.1:${proxy.port}` };
      const lake = oracleLake(folder, "append", from, { connections: { stream: connection } }, ledger);
      const restart = async (): Promise<void> => {
        await kinesis.kill();
        await kinesis.start();
      };
      const fired = new Map<Blow, number>();
      const violations: string[] = [];
      let [struck, tried, steps, bytes] = [0, 0, 300, 10_000];
      const isDone = (): boolean => struck >= wanted && fired.size === blows.length && ledger.good >= fewest;
      for (let round = 0; !isDone() && violations.length === 0; round++) {
        const before = await lake.rows();
        await offer(ledger);
        if (round % 2 === 0) {
          await reshard();
          await offer(ledger);
        }
        await kinesis.kept();
        for (let strike = 0; strike < 3; strike++) {
          const blow = blows[tried++ % blows.length]!;
          let hit: boolean;
          if (blow === "server") {
            let done: Promise<void> | undefined;
            proxy.set({ at: { bytes: random.between(1, bytes), call: () => void (done = restart()) } });
            const error: unknown = await lake.run().then(
              () => undefined,
              (problem: unknown) => problem,
            );
            hit = done !== undefined;
            await done;
            const code = isMillraceError(error) ? error.code : messageOf(error);
            // Or it was done with the server already, or tried again with success.
            if (error !== undefined && !["unreachable", "conflict", "timeout"].includes(code)) {
              violations.push(`${blow}: no clear error but ${code}: ${messageOf(error)}`);
            }
          } else {
            const harm =
              blow === "runner" ? { steps: { at: [random.between(1, steps)], action: "kill" as const } } : {};
            const child = start({ program: "millrace.ts", args: ["run", lake.flow, "--json"], cwd: folder, ...harm });
            let done: Promise<void> | undefined;
            const strikeBoth = (): void => {
              child.process.kill("SIGKILL");
              done = restart();
            };
            proxy.set(blow === "runner" ? undefined : { at: { bytes: random.between(1, bytes), call: strikeBoth } });
            const ended = await child.ended;
            await done;
            hit = ended.killed;
            if (!hit) {
              expect(ended.code, ended.errors).toBe(0);
              [steps, bytes] = [ended.steps, Math.max(2_000, proxy.passed())];
            }
          }
          if (hit) {
            struck++;
            fired.set(blow, (fired.get(blow) ?? 0) + 1);
          }
          const rows = await lake.rows();
          if (rows !== before && rows !== ledger.good) violations.push(`${blow}: ${rows} rows are visible`);
          if (rows === ledger.good && !hit) break;
        }
        proxy.set(undefined);
        await lake.run();
        violations.push(...(await lake.tally()).violations.map((text) => `round ${round}: ${text}`));
      }
      const { acknowledged, lost, duplicated } = await lake.tally();
      recordFault({
        area: "Kills of whole runs",
        component: "run of a kinesis stream that reshards, append",
        fault: `SIGKILL of the runner, of the server, of both (${[...fired].map(([blow, count]) => `${blow} ${count}`).join(", ")})`,
        fired: struck,
        violations: violations.length,
        records: { acknowledged, lost, duplicated },
      });
      expect(violations).toEqual([]);
      expect({ lost, duplicated }).toEqual({ lost: 0, duplicated: 0 });
      expect(fired.size).toBe(blows.length);
      expect(acknowledged).toBeGreaterThanOrEqual(fewest);
    }),
);
