import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ConfigInput, type Lake, openLake } from "../../src/index.ts";
import { freeze } from "../services/freeze.ts";
import type { S3Server } from "../services/s3-server.ts";
import { type GatedRequest, type S3Gate, startS3Gate } from "../services/s3-gate.ts";
import { startVersitygw } from "../services/versitygw.ts";
import { type Ended, start } from "./child.ts";
import { type MutantName, mutants } from "./mutants.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, recordMutant } from "./trust.ts";

let server: S3Server;
let gate: S3Gate;
let bucket: Record<string, unknown>;
let lakes = 0;

beforeAll(async () => {
  server = await startVersitygw();
  gate = await startS3Gate(server.endpoint);
  bucket = await server.bucket("lake");
});
afterAll(async () => {
  await gate[Symbol.asyncDispose]();
  await server.stop();
});

const rows = (from: number, to: number): string =>
  ["id,name", ...Array.from({ length: to - from }, (_, index) => `${from + index},name ${from + index}`), ""].join(
    "\n",
  );

/** A lake on the bucket with one version, and a second file that waits to be read. */
interface Site {
  folder: string;
  /** A runner that stands still, by SIGSTOP, with its first request that fits on the way to the server. */
  freezeRunner: (fits: (request: GatedRequest) => boolean, mutant?: MutantName) => Promise<Zombie>;
  /** Opens the lake in this process, past the gate; with another definition of the flow, so that the plans of others do not fit. */
  open: (changed?: "changed") => Promise<Lake>;
}

interface Zombie {
  /** SIGCONT, and the request goes on. Resolves when the runner has ended. */
  wake: () => Promise<Ended>;
}

async function site(folder: string): Promise<Site> {
  const prefix = `lake-${lakes++}`;
  const config = (endpoint: unknown, cache: string, changed?: "changed"): ConfigInput => {
    const checks = changed === undefined ? {} : { checks: [{ check: "not-null", columns: ["id"] }] };
    return {
      store: { store: "s3", ...bucket, endpoint, prefix },
      cache: { path: join(folder, cache) },
      flows: { people: { from: { path: "in/*.csv", part_bytes: 1 }, key: ["id"], ...checks } },
    } as ConfigInput;
  };
  mkdirSync(join(folder, "in"));
  writeFileSync(join(folder, "in/a.csv"), rows(0, 100));
  writeFileSync(join(folder, "millrace.yaml"), stringify(config(gate.endpoint, "cache-of-runner")));
  const open: Site["open"] = (changed) => openLake({ folder, config: config(bucket["endpoint"], "cache", changed) });
  {
    await using lake = await open();
    await lake.run("people");
  }
  writeFileSync(join(folder, "in/b.csv"), rows(100, 200));
  writeFileSync(join(folder, "in/c.csv"), rows(200, 300));
  return {
    folder,
    open,
    async freezeRunner(fits, mutant) {
      const { held, release } = gate.hold((request) => request.key.startsWith(`${prefix}/`) && fits(request));
      const child = start({ program: "millrace.ts", args: ["run", "people", "--json"], cwd: folder, mutant });
      const early = child.ended.then((ended) =>
        Promise.reject(new Error(`it ended before it was held: ${ended.errors}`)),
      );
      early.catch(() => undefined);
      await Promise.race([held, early]);
      const frozen = freeze([child.process.pid!]);
      await frozen.stopped;
      return {
        wake() {
          expect(frozen.states()).toEqual(["T"]);
          frozen.thaw();
          release();
          return child.ended;
        },
      };
    },
  };
}

async function expectSound(lake: Lake, versions: number, count: number): Promise<void> {
  const { rows: found } = await lake.query("select count(*)::int as n, count(distinct id)::int as ids from people");
  expect(found).toEqual([{ n: count, ids: count }]);
  expect((await lake.history("people")).map(({ number, current }) => [number, current])).toEqual(
    Array.from({ length: versions }, (_, index) => [index + 1, true]),
  );
  expect((await lake.verify("people", { deep: true })).problems).toEqual([]);
}

const commits = ({ method, key }: GatedRequest): boolean =>
  method === "PUT" && key.endsWith("people/metadata/v3.metadata.json");
const stages = ({ method, key }: GatedRequest): boolean => method === "PUT" && /people\/data\//.test(key);
const tells = ({ method, key }: GatedRequest): boolean => method === "PUT" && /runs\/people\/.*\/parts\//.test(key);

const moments: [name: string, fits: (request: GatedRequest) => boolean][] = [
  ["its commit", commits],
  ["a data file", stages],
  ["the result of a part", tells],
];

function record(fault: string, work: () => Promise<void>): Promise<void> {
  const finding = {
    area: "Frozen peers",
    component: "run of files into a bucket (Versity S3 Gateway)",
    fault,
    fired: 1,
  };
  return work().then(
    () => recordFault({ ...finding, violations: 0 }),
    (error: unknown) => {
      recordFault({ ...finding, violations: 1 });
      throw error;
    },
  );
}

describe.each(moments)("a runner that is stopped with %s on its way to the bucket", (name, fits) => {
  test("while another one takes up its plan: one version, and both say which", () =>
    inScratch(async (folder) => {
      const { open, freezeRunner } = await site(folder);
      const zombie = await freezeRunner(fits);
      await record(`a runner sleeps with ${name} under way, another one ends its plan, it wakes up`, async () => {
        await using lake = await open();
        expect(await lake.run("people")).toMatchObject({ status: "published", version: 2, resumed: true });
        const ended = await zombie.wake();
        expect(ended.code, ended.errors).toBe(0);
        expect(JSON.parse(ended.lines.at(-1)!)).toMatchObject({ runs: [{ status: "published", version: 2 }] });
        await expectSound(lake, 2, 300);
        expect(await lake.run("people")).toMatchObject({ status: "unchanged" });
      });
    }));

  test("while another one plans anew and publishes: it is refused, and nothing is there twice", () =>
    inScratch(async (folder) => {
      const { open, freezeRunner } = await site(folder);
      const zombie = await freezeRunner(fits);
      await record(`a runner sleeps with ${name} under way, another one plans anew, it wakes up`, async () => {
        await using lake = await open("changed");
        expect(await lake.run("people")).toMatchObject({
          status: "published",
          version: 2,
          resumed: false,
        });
        writeFileSync(join(folder, "in/d.csv"), rows(300, 350));
        expect(await lake.run("people")).toMatchObject({ status: "published", version: 3 });
        await lake.gc("people", { minimumAgeMs: 0, now: Date.now() + 1000 });
        const ended = await zombie.wake();
        expect(ended.code).toBe(1);
        expect(ended.errors).toMatch(/"code":"conflict"/);
        await expectSound(lake, 3, 350);
        expect(await lake.run("people")).toMatchObject({ status: "unchanged" });
      });
    }));
});

test("a runner that is stopped before its commit for three days beside gc loses nothing that it staged, and publishes", () =>
  inScratch(async (folder) => {
    const { open, freezeRunner } = await site(folder);
    const sleeper = await freezeRunner(commits);
    await record("gc beside a runner that sleeps for three days", async () => {
      await using lake = await open();
      const { removed } = await lake.gc("people", { now: Date.now() + 3 * 86_400_000 });
      // What it staged stays; the manifests that it had written are gone, and it has to make them anew.
      expect(removed.filter(({ path }) => path.includes("/data/"))).toEqual([]);
      expect(removed.some(({ path }) => path.endsWith("-m.avro"))).toBe(true);
      const ended = await sleeper.wake();
      expect(ended.code, ended.errors).toBe(0);
      expect(JSON.parse(ended.lines.at(-1)!)).toMatchObject({ runs: [{ status: "published", version: 2 }] });
      await expectSound(lake, 2, 300);
    });
  }));

test("a build whose commits to a bucket are plain writes is noticed", () =>
  inScratch(async (folder) => {
    const mutant = "s3-unconditional";
    const { open, freezeRunner } = await site(folder);
    const zombie = await freezeRunner(commits, mutant);
    {
      await using lake = await open("changed");
      expect(await lake.run("people")).toMatchObject({ status: "published", version: 2 });
    }
    const ended = await zombie.wake();
    // It says that it has published, over the version of the other.
    const caught = ended.code === 0;
    const by = "a runner sleeps with its commit under way, another one plans anew, it wakes up";
    recordMutant({ mutant, without: mutants[mutant].without, by, caught });
    expect(caught, ended.errors).toBe(true);
  }));
