import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { serveFeed, type FeedServer } from "../../src/feed/serve.ts";
import type { Feed, Lake } from "../../src/pipeline/index.ts";
import { makePlace, published, type Place } from "../pipeline/place.ts";
import { pythonEnvironment, runPython, type PythonEnvironment } from "../services/python.ts";

let place: Place;
let lake: Lake;
let feed: Feed;
let server: FeedServer;
let python: PythonEnvironment;
const variables = { PYTHONPATH: resolve("python") };

beforeAll(async () => {
  python = await pythonEnvironment(["pyarrow==21.0.0", "scikit-learn==1.7.2"]);
  place = await makePlace();
  await using engine = await place.engine();
  await engine.export(
    `SELECT i AS id, [sin(i)::DOUBLE, cos(i)::DOUBLE, (i % 10)::DOUBLE] AS x, (sin(i) > 0)::INTEGER AS y FROM range(3000) t(i)`,
    join(place.folder, "t.parquet"),
    "FORMAT parquet",
  );
  lake = await place.open({ t: { from: { path: "t.parquet" }, split: { train: 0.8, test: 0.2, key: "id", seed: 1 } } });
  await published(lake.run("t"));
  feed = await lake.feed("t", { split: "train", batch: 48, seed: 7, epochs: 2 });
  server = await serveFeed(feed);
}, 300_000);
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await feed[Symbol.asyncDispose]();
  await lake[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

/** SHA-256 over the ids of all steps, as one trainer sees them. */
async function expected(): Promise<string> {
  const hash = createHash("sha256");
  for await (const batch of feed) hash.update(new Uint8Array(batch.columns[0]!.values.buffer));
  return hash.digest("hex");
}

const trainer = `
import hashlib, json, os, sys, time
import numpy as np
from sklearn.linear_model import SGDClassifier
from millrace import Feed
url, log, world, workers, most = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
done = [line.split() for line in open(log)] if os.path.exists(log) else []
done = [line for line in done if len(line) == 3]
start = int(done[-1][0]) + 1 if done else 0
model = SGDClassifier(random_state=0)
def streams():
    """As a DataLoader with workers does: a process each, taken in turn; ranks side by side."""
    readers = [[Feed(url, start, rank=rank, world=world, worker=worker, workers=workers).steps() for worker in range(workers)] for rank in range(world)]
    step = start
    while True:
        try:
            parts = [next(readers[rank][(step - start) % workers]) for rank in range(world)]
        except StopIteration:
            return
        assert all(number == step for number, _ in parts), (step, [number for number, _ in parts])
        yield step, [batch for _, batch in parts]
        step += 1
with open(log, "a") as out:
    for step, parts in streams():
        ids = np.concatenate([part["id"].to_numpy() for part in parts])
        x = np.concatenate([part["x"].flatten().to_numpy().reshape(-1, 3) for part in parts])
        y = np.concatenate([part["y"].to_numpy() for part in parts])
        model.partial_fit(x, y, classes=[0, 1])
        out.write("%d %s %s\\n" % (step, ids.astype("<i8").tobytes().hex(), "end"))
        out.flush()
        print(step, flush=True)
        # It goes no further, so that it cannot be done before it is killed.
        if step - start + 1 == most: time.sleep(600)
print("DONE", flush=True)
`;

/** Runs the trainer; it is killed when it has gone `after` steps, or goes to the end with 0. */
function train(script: string, log: string, world: number, workers: number, after: number): Promise<string> {
  return new Promise((done, reject) => {
    const child = spawn(python.python, [script, server.url, log, String(world), String(workers), String(after)], {
      env: { ...process.env, ...variables },
    });
    let [output, errors] = ["", ""];
    child.stdout.on("data", (chunk) => {
      output += String(chunk);
      if (after > 0 && output.split("\n").length > after) child.kill("SIGKILL");
    });
    child.stderr.on("data", (chunk) => (errors += String(chunk)));
    child.on("close", (code, signal) => {
      if (code !== 0 && signal !== "SIGKILL") reject(new Error(errors));
      else done(signal ?? output.trim().split("\n").at(-1)!);
    });
  });
}

test.each([
  [2, 2],
  [3, 1],
])(
  "a training loop that is killed again and again sees what an undisturbed one sees (%i ranks, %i workers)",
  { timeout: 120_000 },
  async (world, workers) => {
    const script = join(place.folder, "train.py");
    await writeFile(script, trainer);
    const log = join(place.folder, `log-${world}-${workers}`);
    let kills = 0;
    for (; kills < 2; kills++) expect(await train(script, log, world, workers, 3 + kills * 4)).toBe("SIGKILL");
    expect(await train(script, log, world, workers, 0)).toBe("DONE");
    const hash = createHash("sha256");
    const steps: number[] = [];
    for (const line of (await readFile(log, "utf8")).trim().split("\n")) {
      const [step, ids] = line.split(" ") as [string, string];
      steps.push(Number(step));
      hash.update(Buffer.from(ids, "hex"));
    }
    expect(steps).toEqual(Array.from({ length: feed.steps }, (_, step) => step));
    expect(hash.digest("hex")).toBe(await expected());
  },
);

test("the client says what is wrong, and a feed over a socket is the same", async () => {
  const socket = join(place.folder, "feed.sock");
  await using local = await serveFeed(feed, { socket });
  const printed = await runPython(
    python,
    `import sys
from millrace import Feed, FeedError
url, local = sys.argv[1:]
feed = Feed(local, start=10, stop=12)
print(len(feed), [batch["id"].to_pylist() for batch in feed] == [batch["id"].to_pylist() for batch in Feed(url, 10, 12)])
print(len(Feed(url)), feed.info()["datasets"][0]["name"])
for bad in (Feed(url, rank=5, world=2), Feed("http://127.0.0.1:1")):
    try:
        next(iter(bad))
    except FeedError as error:
        print(error)
`,
    [server.url, local.url],
    variables,
  );
  const [same, length, refused, unreachable] = printed.trim().split("\n");
  expect(same).toBe("2 True");
  expect(length).toBe(`${feed.steps} t`);
  expect(refused).toContain("rank 5 of 2, worker 0 of 1 do not fit a batch of 48");
  expect(unreachable).toContain("is `millrace feed` running?");
});
