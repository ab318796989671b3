import { join, resolve } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serveFeed, type FeedServer } from "../../src/feed/serve.ts";
import type { Feed, Lake } from "../../src/pipeline/index.ts";
import { seeded } from "../faults/random.ts";
import { recordFault, soak } from "../faults/trust.ts";
import { makePlace, published, rowsOf, type Place } from "../pipeline/place.ts";
import { runPython, type PythonEnvironment } from "../services/python.ts";
import { torchEnvironment } from "../services/torch.ts";
import { idsOf, killsIn, livesOf, train, violationsOf, type Course, type Life, type Loader } from "./torch/training.ts";

const random = seeded("training loops");
const variables = { PYTHONPATH: resolve("python") };
const side = 6;
const opened = new AsyncDisposableStack();
let place: Place;
let lake: Lake;
let python: PythonEnvironment;

/** A feed that is served, and its ids step by step. */
interface Served extends Course {
  feed: Feed;
  whole: Buffer[];
}
const kinds = ["rows", "images", "rows by weight", "mixed datasets"] as const;
const served: Partial<Record<(typeof kinds)[number], Served>> = {};

beforeAll(async () => {
  python = await torchEnvironment();
  place = opened.use(await makePlace());
  await using engine = await place.engine();
  const items = `i AS id, [sin(i)::DOUBLE, cos(i)::DOUBLE, (i % 10)::DOUBLE] AS x, (sin(i) > 0)::INTEGER AS y,
    CASE WHEN i % 3 > 0 THEN i::FLOAT END AS gaps, CASE WHEN i % 700 > 0 THEN i END AS few, i % 2 = 0 AS even, 'n' || i AS name`;
  const write = (sql: string, name: string): Promise<unknown> =>
    engine.export(sql, join(place.folder, name), "FORMAT parquet");
  await write(`SELECT ${items} FROM range(1500) t(i)`, "t.parquet");
  await write(`SELECT ${items}, (i % 5)::DOUBLE AS weight FROM range(600, 1100) t(i)`, "u.parquet");
  const pictures = Array.from({ length: 300 }, async (_, i) => {
    const samples = Uint8Array.from({ length: side * side * 3 }, (_, at) => (i * 31 + at * 7) % 256);
    const png = await sharp(samples, { raw: { width: side, height: side, channels: 3 } })
      .png()
      .toBuffer();
    return `(${i}, ${Number(samples[0]! > 127)}, '${png.toString("hex")}')`;
  });
  const values = (await Promise.all(pictures)).join(", ");
  await write(`SELECT i::BIGINT AS id, y, unhex(h) AS photo FROM (VALUES ${values}) t(i, y, h)`, "photos.parquet");
  const split = { train: 0.8, test: 0.2, key: "id", seed: 1 };
  lake = opened.use(
    await place.open({
      t: { from: { path: "t.parquet" }, split },
      u: { from: { path: "u.parquet" } },
      photos: { from: { path: "photos.parquet" } },
    }),
  );
  for (const flow of ["t", "u", "photos"]) await published(lake.run(flow));
  const same = { seed: 7, dropLast: false };
  const columns = ["id", "x", "y"];
  const serve = async (kind: (typeof kinds)[number], feed: Feed, features: Course["features"]): Promise<void> => {
    const server: FeedServer = await serveFeed(opened.use(feed));
    opened.use(server);
    served[kind] = { feed, url: server.url, features, whole: await idsOf(feed) };
  };
  await serve("rows", await lake.feed("t", { ...same, split: "train", batch: 36 }), ["x", 3]);
  const images = { photo: { width: side, height: side } };
  await serve("images", await lake.feed("photos", { ...same, batch: 12, images }), ["photo", side * side * 3]);
  const drawn = { ...same, batch: 12, columns, weights: "weight", epochs: 2 };
  await serve("rows by weight", await lake.feed("u", drawn), ["x", 3]);
  const mixed = [
    { dataset: "t", weight: 1 },
    { dataset: "u", weight: 2 },
  ];
  await serve("mixed datasets", await lake.feed(mixed, { ...same, batch: 60, columns }), ["x", 3]);
}, 600_000);
afterAll(() => opened.disposeAsync());

/** Trains with these kills; writes down what came of it, and asserts that each life saw exactly what was left. */
async function go(kind: (typeof kinds)[number], plan: readonly Life[], loader: Loader): Promise<string[]> {
  const { whole, ...course } = served[kind]!;
  const { lines, weights } = await train(
    python,
    place.folder,
    { url: course.url, features: course.features },
    plan,
    loader,
  );
  const violations = violationsOf(lines, plan, whole);
  recordFault({
    area: "Kills of whole runs",
    component: `training loop in PyTorch, feed of ${kind}`,
    fault: "SIGKILL of all ranks at a random step, then other ranks and workers",
    fired: killsIn(plan),
    violations: violations.length,
  });
  expect(violations).toEqual([]);
  return weights;
}

test.each(kinds)(
  "%s: killed at random steps, each life with other ranks and workers: exactly the samples that are left, in the same order",
  { timeout: 300_000 },
  async (kind) => {
    const { whole } = served[kind]!;
    const kills = soak || kind === "rows" ? 20 : 3;
    const form = (): Life => ({ world: random.between(1, 4), workers: random.between(0, 4) });
    await go(kind, livesOf(random, whole.length, kills, form), "plain");
  },
);

test("all steps together are the split, each row of it once", async () => {
  const all = Buffer.concat(served.rows!.whole);
  const ids = new BigInt64Array(all.buffer.slice(all.byteOffset, all.byteOffset + all.length));
  const split = await rowsOf(lake, "select id from t where split = 'train' order by id");
  // As many as the split has, and all of it: so no two ranks had the same sample.
  expect([...ids].map(Number).toSorted((a, b) => a - b)).toEqual(split.flat());
});

const matrix = [1, 2, 3, 4].flatMap((world) => [0, 1, 2, 3, 4].map((workers) => [world, workers] as const));
const sample = [
  [1, 0],
  [2, 2],
] as const;

test.each(soak ? matrix : sample)(
  "%i ranks, %i workers: killed and gone on, the weights are those of a loop that nobody disturbed, also with a StatefulDataLoader",
  { timeout: 600_000 },
  async (world, workers) => {
    const { whole, url, features } = served.rows!;
    const calm = await train(python, place.folder, { url, features }, [{ world, workers: 0 }], "plain");
    for (const loader of ["plain", "stateful"] as const) {
      const plan = livesOf(random, whole.length, soak ? 20 : 2, () => ({ world, workers }));
      expect(await go("rows", plan, loader)).toEqual(calm.weights);
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
    [served.rows!.url],
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
