import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect } from "vitest";
import type { Feed } from "../../../src/pipeline/index.ts";
import type { Random } from "../../faults/random.ts";
import type { PythonEnvironment } from "../../services/python.ts";

/** The ranks of one life of a training loop, and where they are killed; without a step they go to the end. */
export interface Life {
  world: number;
  workers: number;
  stop?: number;
  phase?: "taken" | "trained" | "saved";
}

/** What a rank took in one step. */
export interface Line {
  life: number;
  rank: number;
  step: number;
  ids: Buffer;
}

export type Loader = "plain" | "stateful";

/** What there is to train on. */
export interface Course {
  url: string;
  /** Column that the model sees, and how many numbers it holds a row. */
  features: [column: string, width: number];
}

/** Ids of each step, the first column, as one trainer sees them. */
export async function idsOf(feed: Feed): Promise<Buffer[]> {
  const whole: Buffer[] = [];
  for await (const batch of feed) whole.push(Buffer.from(batch.columns[0]!.values.buffer));
  return whole;
}

/** Lives that are killed at so many random steps of `steps`, each later than the one before, and one that goes to the end. */
export function livesOf(
  random: Random,
  steps: number,
  kills: number,
  form: () => { world: number; workers: number },
): Life[] {
  const stops = random.sample([...Array(steps).keys()], kills);
  expect(stops).toHaveLength(kills);
  const killed = stops.map((stop): Life => {
    // What is saved is the step before: at the first there is none.
    const phase = random.pick(stop === 0 ? (["taken", "trained"] as const) : (["taken", "trained", "saved"] as const));
    return { ...form(), stop, phase };
  });
  return [...killed, form()];
}

/** How many ranks are killed. */
export const killsIn = (plan: readonly Life[]): number =>
  plan.reduce((sum, { stop, world }) => sum + (stop === undefined ? 0 : world), 0);

/** Trains; asserts that every kill was one, and gives what each rank saw, and the weights that each rank of the last life ended with. */
export async function train(
  python: PythonEnvironment,
  place: string,
  course: Course,
  plan: readonly Life[],
  loader: Loader,
): Promise<{ lines: Line[]; weights: string[] }> {
  const folder = await mkdtemp(join(place, "training-"));
  const { stdout } = await promisify(execFile)(
    python.python,
    [resolve("test/feed/torch/train.py"), JSON.stringify({ ...course, folder, loader, lives: plan })],
    { env: { ...process.env, PYTHONPATH: resolve("python") }, maxBuffer: 1 << 26 },
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

/** Each life sees exactly the steps that were left, all ranks together what one would: what is otherwise. */
export function violationsOf(lines: readonly Line[], plan: readonly Life[], whole: readonly Buffer[]): string[] {
  const violations: string[] = [];
  const stream: Buffer[] = [];
  let start = 0;
  for (const [number, { world, stop, phase }] of plan.entries()) {
    // A step that the model learned from and that was not saved is done again by the next life, from the saved model.
    const end = stop === undefined ? whole.length : phase === "trained" ? stop + 1 : stop;
    const ranks = Array.from({ length: world }, (_, rank) =>
      lines.filter((line) => line.life === number && line.rank === rank),
    );
    const steps = Array.from({ length: end - start }, (_, index) => start + index);
    for (const [rank, seen] of ranks.entries()) {
      const took = seen.map(({ step }) => step);
      if (took.join() !== steps.join()) violations.push(`life ${number}, rank ${rank}: steps ${took.join()}`);
    }
    for (const [index, step] of steps.entries()) {
      stream[step] = Buffer.concat(ranks.map((seen) => seen[index]?.ids ?? Buffer.alloc(0)));
    }
    if (sha256(steps.map((step) => stream[step]!)) !== sha256(whole.slice(start, end))) {
      violations.push(`life ${number} saw other samples, or in another order`);
    }
    start = stop ?? whole.length;
  }
  if (stream.length !== whole.length || sha256(stream) !== sha256(whole)) violations.push("the whole is another");
  return violations;
}
