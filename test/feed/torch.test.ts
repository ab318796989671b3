import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serveFeed, type FeedServer } from "../../src/feed/serve.ts";
import type { Feed, Lake } from "../../src/pipeline/index.ts";
import { seeded } from "../faults/random.ts";
import { soak } from "../faults/trust.ts";
import { makePlace, published, rowsOf, type Place } from "../pipeline/place.ts";
import { runPython, type PythonEnvironment } from "../services/python.ts";
import { torchEnvironment } from "../services/torch.ts";

/** The ranks of one life of a training loop, and where they are killed; without a step they go to the end. */
interface Life {
  world: number;
  workers: number;
  stop?: number;
  phase?: "taken" | "trained" | "saved";
}

interface Line {
  life: number;
  rank: number;
  step: number;
  ids: Buffer;
}

const random = seeded("training loops");
const variables = { PYTHONPATH: resolve("python") };
let place: Place;
let lake: Lake;
let feed: Feed;
let server: FeedServer;
let python: PythonEnvironment;
/** Ids of each step, as one trainer sees them. */
let whole: Buffer[];

beforeAll(async () => {
  python = await torchEnvironment();
  place = await makePlace();
  await using engine = await place.engine();
  await engine.export(
    `SELECT i AS id, [sin(i)::DOUBLE, cos(i)::DOUBLE, (i % 10)::DOUBLE] AS x, (sin(i) > 0)::INTEGER AS y,
       CASE WHEN i % 3 > 0 THEN i::FLOAT END AS gaps, CASE WHEN i % 700 > 0 THEN i END AS few, i % 2 = 0 AS even, 'n' || i AS name
     FROM range(1500) t(i)`,
    join(place.folder, "t.parquet"),
    "FORMAT parquet",
  );
  lake = await place.open({ t: { from: { path: "t.parquet" }, split: { train: 0.8, test: 0.2, key: "id", seed: 1 } } });
  await published(lake.run("t"));
  feed = await lake.feed("t", { split: "train", batch: 36, seed: 7, dropLast: false });
  server = await serveFeed(feed);
  whole = [];
  for await (const batch of feed) whole.push(Buffer.from(batch.columns[0]!.values.buffer));
}, 600_000);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await feed[Symbol.asyncDispose]();
  await lake[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

/** Lives that are killed at so many random steps, each later than the one before, and one that goes to the end. */
function lives(kills: number, form: () => { world: number; workers: number }): Life[] {
  const steps = random.sample([...whole.keys()], kills);
  expect(steps).toHaveLength(kills);
  const killed = steps.map((stop): Life => {
    // What is saved is the step before: at the first there is none.
    const phase = random.pick(stop === 0 ? (["taken", "trained"] as const) : (["taken", "trained", "saved"] as const));
    return { ...form(), stop, phase };
  });
  return [...killed, form()];
}

/** Trains; asserts that every kill was one, and gives what each rank saw, and the weights that each rank of the last life ended with. */
async function train(plan: Life[], loader: "plain" | "stateful"): Promise<{ lines: Line[]; weights: string[] }> {
  const folder = await mkdtemp(join(place.folder, "training-"));
  const { stdout } = await promisify(execFile)(
    python.python,
    [resolve("test/feed/torch/train.py"), JSON.stringify({ url: server.url, folder, loader, lives: plan })],
    { env: { ...process.env, ...variables }, maxBuffer: 1 << 26 },
  );
  const ends = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
  expect(ends, await readFile(join(folder, "errors"), "utf8")).toEqual(
    plan.map(({ stop, world }) => Array(world).fill(stop === undefined ? 0 : "signal 9")),
  );
  const lines = (await readFile(join(folder, "log"), "utf8"))
    .trim()
    .split("\n")
    .map((line): Line => {
      const [life, rank, step, ids = ""] = line.split(" ");
      return { life: Number(life), rank: Number(rank), step: Number(step), ids: Buffer.from(ids, "hex") };
    });
  const last = plan.at(-1)!;
  const weights = await Promise.all(
    Array.from({ length: last.world }, (_, rank) => readFile(join(folder, `rank${rank}.weights`), "utf8")),
  );
  return { lines, weights };
}

const sha256 = (parts: readonly Uint8Array[]): string => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};

/** Each life saw exactly the steps that were left, all ranks together what one would; nothing twice, nothing missing. */
async function expectExact(lines: readonly Line[], plan: readonly Life[]): Promise<void> {
  const stream: Buffer[] = [];
  let start = 0;
  for (const [number, { world, stop, phase }] of plan.entries()) {
    // A step that the model learned from and that was not saved is done again by the next life, from the saved model.
    const end = stop === undefined ? whole.length : phase === "trained" ? stop + 1 : stop;
    const ranks = Array.from({ length: world }, (_, rank) =>
      lines.filter((line) => line.life === number && line.rank === rank),
    );
    const steps = Array.from({ length: end - start }, (_, index) => start + index);
    for (const seen of ranks) expect(seen.map(({ step }) => step)).toEqual(steps);
    for (const [index, step] of steps.entries()) stream[step] = Buffer.concat(ranks.map((seen) => seen[index]!.ids));
    expect(sha256(steps.map((step) => stream[step]!))).toBe(sha256(whole.slice(start, end)));
    start = stop ?? whole.length;
  }
  expect(sha256(stream)).toBe(sha256(whole));
  const all = Buffer.concat(stream);
  const ids = new BigInt64Array(all.buffer.slice(all.byteOffset, all.byteOffset + all.length));
  const split = await rowsOf(lake, "select id from t where split = 'train' order by id");
  // As many as the split has, and all of it: so no two ranks had the same sample.
  expect([...ids].map(Number).toSorted((a, b) => a - b)).toEqual(split.flat());
}

test(
  "20 kills at random steps, each life with other ranks and workers: exactly the samples that are left, in the same order",
  { timeout: 300_000 },
  async () => {
    const plan = lives(20, () => ({ world: random.between(1, 4), workers: random.between(0, 4) }));
    const { lines } = await train(plan, "plain");
    await expectExact(lines, plan);
  },
);

const matrix = [1, 2, 3, 4].flatMap((world) => [0, 1, 2, 3, 4].map((workers) => [world, workers] as const));
const sample = [
  [1, 0],
  [2, 2],
] as const;

test.each(soak ? matrix : sample)(
  "%i ranks, %i workers: killed and gone on, the weights are those of a loop that nobody disturbed, also with a StatefulDataLoader",
  { timeout: 600_000 },
  async (world, workers) => {
    const calm = await train([{ world, workers: 0 }], "plain");
    for (const loader of ["plain", "stateful"] as const) {
      const plan = lives(soak ? 20 : 2, () => ({ world, workers }));
      const { lines, weights } = await train(plan, loader);
      await expectExact(lines, plan);
      expect(weights).toEqual(calm.weights);
    }
  },
);

test("the client holds a column in the same way in every batch; a loader begins again at its start", async () => {
  const printed = await runPython(
    python,
    `import sys, json, torch
from millrace import Feed, arrays
from torch.utils.data import DataLoader
feed = Feed(sys.argv[1], start=3)
forms = set()
for batch in feed:
    forms.add(json.dumps([[name, str(column.dtype)] if not isinstance(column, list) else [name, "list"] for name, column in arrays(batch).items()]))
print("\\n".join(forms))
batch = next(iter(feed.torch()))
print({name: str(column.dtype) if isinstance(column, torch.Tensor) else "list" for name, column in batch.items()})
print(int(torch.isnan(batch["gaps"]).sum()) == int((batch["id"] % 3 == 0).sum()), [row for row, id in zip(batch["few"], batch["id"]) if (row is None) != (int(id) % 700 == 0)])
for workers in (0, 2):
    loader = DataLoader(feed.torch(), batch_size=None, num_workers=workers)
    first, second = [[batch["id"].tolist() for batch in loader] for _ in range(2)]
    print(first == second == [batch["id"].to_pylist() for batch in feed])
`,
    [server.url],
    variables,
  );
  expect(printed.trim().split("\n")).toEqual([
    '[["id", "int64"], ["x", "float64"], ["y", "int32"], ["gaps", "float32"], ["few", "list"], ["even", "bool"], ["name", "list"]]',
    "{'id': 'torch.int64', 'x': 'torch.float64', 'y': 'torch.int32', 'gaps': 'torch.float32', 'few': 'list', 'even': 'torch.bool', 'name': 'list'}",
    "True []",
    "True",
    "True",
  ]);
});
