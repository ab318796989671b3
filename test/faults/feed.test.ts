import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serveFeed } from "../../src/feed/serve.ts";
import type { Feed } from "../../src/pipeline/index.ts";
import { idsOf, train, violationsOf } from "../feed/torch/training.ts";
import { freeze } from "../services/freeze.ts";
import { freePort } from "../services/install.ts";
import { runPython, type PythonEnvironment } from "../services/python.ts";
import { torchEnvironment } from "../services/torch.ts";
import { openPlace, type Place } from "../support/flows.ts";
import { loadLake } from "../support/lake.ts";
import { type Child, start } from "./child.ts";
import { type MutantName, mutants } from "./mutants.ts";
import { type Proxy, startProxy, type Trouble } from "./proxy.ts";
import { seeded } from "./random.ts";
import { recordFault, recordMutant, soak } from "./trust.ts";

const random = seeded("feed");
const [batch, seed, epochs, width] = [24, 7, 2, 1024] as const;
const opened = new AsyncDisposableStack();
let place: Place;
let python: PythonEnvironment;
let feed: Feed;
let whole: Buffer[];

beforeAll(async () => {
  python = await torchEnvironment();
  place = opened.use(await openPlace());
  await place.write("t.csv", ["id", ...Array(1200).keys()].join("\n"));
  // More than the buffers of the system hold, so that a server is never ahead of its clients by all that is left.
  const transform = `select id, list_transform(range(${width}), k -> sin(id + k)) as x, (id % 2)::int as y from input`;
  await place.configure(
    { t: { from: { path: "t.csv" }, transform } },
    { cache: { path: join(place.folder, "cache") } },
  );
  expect(await place.run("t")).toMatchObject({ status: "published" });
  const lake = opened.use(await loadLake(place.folder));
  feed = opened.use(await lake.feed("t", { batch, seed, epochs }));
  whole = await idsOf(feed);
}, 600_000);
afterAll(() => opened.disposeAsync());

interface Taken {
  /** Number and ids of each step. */
  steps: [step: number, ids: string][];
  error?: string;
}

/** Reads the feed with the Python client, from `start` to its end or its error. */
async function read(url: string, options: { start?: number; timeout?: number } = {}): Promise<Taken> {
  const printed = await runPython(
    python,
    `import json, sys
from millrace import Feed, FeedError
taken = {"steps": []}
try:
    for step, batch in Feed(sys.argv[1], **{"patience": 60, **json.loads(sys.argv[2])}).steps():
        taken["steps"].append((step, batch["id"].to_numpy().tobytes().hex()))
except FeedError as error:
    taken["error"] = str(error)
print(json.dumps(taken))`,
    [url, JSON.stringify(options)],
    { PYTHONPATH: resolve("python") },
  );
  return JSON.parse(printed) as Taken;
}

/** What is otherwise than in a stream that nobody disturbed. */
function compare({ steps, error }: Taken, from = 0, to = whole.length): string[] {
  const digest = (all: Taken["steps"]): string => createHash("sha256").update(JSON.stringify(all)).digest("hex");
  const expected = whole.map((ids, step): [number, string] => [step, ids.toString("hex")]).slice(from, to);
  if (error !== undefined) return [`at step ${steps.length}: ${error}`];
  return digest(steps) === digest(expected) ? [] : [`${steps.length} steps, or others than the ${expected.length}`];
}

/** Writes down what came of a fault, and asserts that it was nothing. */
function record(area: string, fault: string, fired: number, violations: string[]): void {
  recordFault({ area, component: "feed, client in Python", fault, fired, violations: violations.length });
  expect(violations).toEqual([]);
}

/** `millrace feed` as a process of its own. */
async function serve(port: number, more: { seed?: number; mutant?: MutantName } = {}): Promise<Child> {
  const numbers = { batch, seed: more.seed ?? seed, epochs, port };
  const args = [
    "feed",
    "t",
    "--json",
    ...Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, `${value}`]),
  ];
  const { mutant } = more;
  const child = start({ program: "millrace.ts", args, cwd: place.folder, mutant, deadlineMs: 900_000 });
  await child.line("{");
  return child;
}

async function end(child: Child): Promise<void> {
  child.process.kill("SIGKILL");
  await child.ended;
}

/** Resolves when the server has sent so many bytes. */
const sentBy = (proxy: Proxy, bytes: number): Promise<void> =>
  new Promise((call) => proxy.set({ at: { bytes, call } }));

test(
  "cut and reset at random bytes, a client goes on: every step once, in the same order",
  { timeout: 300_000 },
  async () => {
    await using server = await serveFeed(feed);
    await using proxy = await startProxy(Number(new URL(server.url).port));
    // More would leave no room for a whole batch between two of them, and a client that gets nowhere gives up.
    const times = soak ? 60 : 12;
    const bytes = whole.reduce((sum, { length }) => sum + length * width, 0);
    expect(bytes).toBeGreaterThan(10_000_000);
    // In the head of an answer, in the schema, in a batch.
    const points = [0, 1, 17, 100, 160, 200, 500].flatMap((few) => [few, random.between(500_000, 1_000_000)]);
    while (points.length < times) points.push(random.between(1, Math.floor((2 * bytes) / times)));
    const fired = { end: 0, reset: 0 };
    const trouble = (): Trouble | undefined => {
      const cutAfter = points.shift();
      const by = random.pick(["end", "reset"] as const);
      return cutAfter === undefined ? undefined : { cutAfter, by, next: () => (fired[by]++, trouble()) };
    };
    proxy.set(trouble());
    const violations = compare(await read(`http://127.0.0.1:${proxy.port}`));
    const fault = `cut ${fired.end} times and reset ${fired.reset} times after N bytes`;
    record("Network", fault, fired.end + fired.reset, violations);
    expect(fired.end + fired.reset).toBeGreaterThanOrEqual(times / 2);
  },
);

test(
  "killed and started again amid training, two ranks with two workers each: nothing is lost, nothing comes twice",
  { timeout: 600_000 },
  async () => {
    const port = await freePort();
    await using proxy = await startProxy(port);
    const course = { url: `http://127.0.0.1:${proxy.port}`, features: ["x", width] as [string, number] };
    const plan = [{ world: 2, workers: 2 }];
    let server = await serve(port);
    try {
      const calm = await train(python, place.folder, course, plan, "plain");
      const total = proxy.passed();
      const kills = soak ? 20 : 2;
      let fired = 0;
      let over = false;
      const training = train(python, place.folder, course, plan, "plain").finally(() => (over = true));
      training.catch(() => undefined);
      const killing = async (): Promise<void> => {
        for (let kill = 0; kill < kills; kill++) {
          await sentBy(proxy, random.between(1, Math.floor(total / kills)));
          // As a machine that goes down: what was on its way is gone too.
          proxy.set({ cutAfter: 0 });
          server.process.kill("SIGKILL");
          if ((await server.ended).killed && !over) fired++;
          server = await serve(port);
        }
        proxy.set(undefined);
      };
      await Promise.race([Promise.all([training, killing()]), training]);
      const { lines, weights } = await training;
      const violations = violationsOf(lines, plan, whole);
      if (weights.join() !== calm.weights.join()) violations.push("the model is another");
      const fault = "SIGKILL of the server amid training, and a new one";
      const component = "training loop in PyTorch, 2 ranks, 2 workers";
      recordFault({ area: "Kills of whole runs", component, fault, fired, violations: violations.length });
      expect(violations).toEqual([]);
      expect(fired).toBeGreaterThanOrEqual(kills / 2);
    } finally {
      await end(server);
    }
  },
);

test(
  "a server that stands still is told from one that is away, in time; then the rest is as it was",
  { timeout: 120_000 },
  async () => {
    const port = await freePort();
    await using proxy = await startProxy(port);
    const url = `http://127.0.0.1:${proxy.port}`;
    const server = await serve(port);
    try {
      const timeout = 2;
      const reached = sentBy(proxy, random.between(1_000_000, 4_000_000));
      const amid = read(url, { timeout });
      await reached;
      const frozen = freeze([server.process.pid!]);
      await frozen.stopped;
      const [cut, unasked] = await Promise.all([amid, read(url, { timeout })]);
      expect(frozen.states()).toEqual(["T"]);
      frozen.thaw();
      const violations: string[] = [];
      for (const { steps, error = "none" } of [cut, unasked]) {
        if (!error.includes(`gave nothing for ${timeout} s, at step ${steps.length}: it stands still`))
          violations.push(error);
      }
      violations.push(...compare({ steps: cut.steps }, 0, cut.steps.length));
      violations.push(...compare(await read(url, { start: cut.steps.length }), cut.steps.length));
      const fault = "SIGSTOP of the server, amid a stream and before it is asked";
      record("Frozen peers", fault, 2, violations);
      expect(cut.steps.length).toBeLessThan(whole.length);
      expect(unasked.steps).toEqual([]);
    } finally {
      await end(server);
    }
  },
);

test(
  "a new server that has another order is refused; a build whose feeds do not say which they have is noticed",
  { timeout: 120_000 },
  async () => {
    const mutant: MutantName = "order-unsaid";
    /** What a client gets when the server is killed amid its stream, and one with another seed comes instead. */
    const swap = async (more: { mutant?: MutantName }): Promise<Taken> => {
      const port = await freePort();
      await using proxy = await startProxy(port);
      let server = await serve(port, more);
      try {
        const reached = sentBy(proxy, random.between(1_000_000, 4_000_000));
        const reading = read(`http://127.0.0.1:${proxy.port}`);
        await reached;
        await end(server);
        server = await serve(port, { ...more, seed: seed + 1 });
        return await reading;
      } finally {
        await end(server);
      }
    };
    const refused = await swap({});
    const violations = compare({ steps: refused.steps }, 0, refused.steps.length);
    if (refused.error?.includes("has another order than before") !== true) violations.push(refused.error ?? "no error");
    const fault = "SIGKILL of the server, and a new one with another seed";
    record("Kills of whole runs", fault, 1, violations);
    const fooled = await swap({ mutant });
    const caught = fooled.error === undefined && compare(fooled).length > 0;
    recordMutant({ mutant, without: mutants[mutant].without, by: fault, caught });
    expect(caught).toBe(true);
  },
);
