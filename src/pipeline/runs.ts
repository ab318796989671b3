import { randomBytes } from "node:crypto";
import { isMillraceError, MillraceError } from "../core/index.ts";
import type { Column, Cursor, Part, StagedFile, Store } from "../core/index.ts";
import type { Reads } from "./reads.ts";
import type { RunReport } from "./report.ts";
import type { ChangeMarks } from "./marks.ts";

/**
 * All truth about a run is in the store (decision D4):
 *
 *     runs/<run>/plan.json           what is to be done, written once
 *     runs/<run>/parts/<part>.json   what one part gave; the first attempt to write it wins
 *     runs/<run>/replay.json         instead of a plan: what the second commit of a replay needs
 *     runs/<run>/cancelled           nobody goes on with this run
 *     runs/<run>/report.json         the run ended; plan and parts are gone then
 *
 * A run's name is `<flow>/<time>-<random>`, so the runs of a flow lie in one folder in the order of their times.
 */
export interface RunPlan {
  run: string;
  flow: string;
  dataset: string;
  startedAt: string;
  /** Hash of the flow's definition: a changed flow does not go on with an old plan. */
  definition: string;
  /** How many runs of this flow had been committed, and the version of the dataset, when this one was planned. */
  sequence: number;
  base: number | null;
  /** Columns as the source gives them. */
  input: Column[];
  /** Columns that transform and split make of them. */
  made: Column[];
  /** Columns of the dataset with field ids, once this run is published. */
  output: Column[];
  /** True when `output` differs from the dataset's schema. */
  evolves: boolean;
  key: string[];
  parts: Part[];
  cursor: Cursor | null;
  overlap: boolean;
  /** The source had more than one plan may hold. */
  more?: boolean;
  /** How many erasures had been begun in the dataset and in its rejected one: rows staged before another are not published. */
  erasures?: { dataset: number; rejected: number };
  /** A predicate of the rows that may come in, where some keys are suppressed. */
  admitted?: string;
  /** What the transform reads besides the rows of the source. */
  reads?: Reads;
  /** Columns of `made` that enrichers give, once a part is staged. */
  enriched?: string[];
  /** What marks deletions and tells the newest row, in a merge of changes. */
  marks?: ChangeMarks;
  /** What the source wants people to know. */
  warnings?: string[];
  /** The parts are staged as they come, and the transform then takes them all at once, because it looks across rows. */
  whole?: boolean;
}

export interface PartResult {
  part: string;
  files: StagedFile[];
  rejectedFiles: StagedFile[];
  read: number;
  written: number;
  rejected: number;
  filtered: number;
  bytes: number;
  /** In the order of the flow's `enrich`. */
  enriched?: EnrichedCount[];
}

/** What an enricher was asked. */
export interface EnrichedCount {
  enricher: string;
  rows: number;
  /** Inputs that it was asked about; the others had been answered before, or were equal to one of these. */
  asked: number;
  cost: number;
}

const encoder = new TextEncoder();
const encode = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value));

async function readJson<T>(store: Store, path: string): Promise<T | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await store.read(path);
  } catch (error) {
    if (isMillraceError(error) && error.code === "not-found") return undefined;
    throw error;
  }
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as T;
  } catch (cause) {
    throw damaged(path, "is not JSON", cause);
  }
}

function damaged(path: string, how: string, cause?: unknown): MillraceError {
  return new MillraceError("corrupt", `\`${path}\` ${how}: it was damaged after it was written`, {
    cause,
    where: { file: path },
    hint: "remove the folder of this run and run the flow again; no version depends on it",
  });
}

/** `20261123T050512345Z-9f2c`: sorts by time, unique in practice. Part of the names of staged files. */
export function newRunToken(now: Date): string {
  return `${now.toISOString().replaceAll(/[-:.]/g, "")}-${randomBytes(4).toString("hex")}`;
}

export const runFolder = (run: string): string => `runs/${run}`;
/** The last segment of a run's name; staged files begin with it. */
export const runToken = (run: string): string => run.slice(run.lastIndexOf("/") + 1);

export async function writePlan(store: Store, plan: RunPlan): Promise<void> {
  await store.write(`${runFolder(plan.run)}/plan.json`, encode(plan), { ifAbsent: true });
}

export async function readPart(store: Store, run: string, part: string): Promise<PartResult | undefined> {
  return readJson<PartResult>(store, `${runFolder(run)}/parts/${part}.json`);
}

/** Returns false when another attempt was first. */
export async function writePart(store: Store, run: string, result: PartResult): Promise<boolean> {
  try {
    await store.write(`${runFolder(run)}/parts/${result.part}.json`, encode(result), { ifAbsent: true });
    return true;
  } catch (error) {
    if (isMillraceError(error) && error.code === "already-exists") return false;
    throw error;
  }
}

/** Marks a run that nobody is to go on with. Its staged files are left to `gc`. */
export async function cancelRun(store: Store, run: string, why: string): Promise<void> {
  await store.write(`${runFolder(run)}/cancelled`, encode({ why, at: new Date().toISOString() }));
}

export async function isCancelled(store: Store, run: string): Promise<boolean> {
  return (await readJson<unknown>(store, `${runFolder(run)}/cancelled`)) !== undefined;
}

/** Writes the report, then clears what only a running run needs. */
export async function finishRun(store: Store, report: RunReport): Promise<void> {
  const folder = runFolder(report.run);
  await store.write(`${folder}/report.json`, encode(report));
  for await (const entry of store.list(folder)) {
    if (entry.path !== `${folder}/report.json`) await store.remove(entry.path);
  }
}

/** Removes what is left of the oldest runs of a flow that have ended, but for the newest `keep`. */
export async function forgetRuns(store: Store, flow: string, keep: number): Promise<void> {
  const ended = [...(await runsBelow(store, `runs/${flow}`))].filter(([, files]) => files.ended).map(([run]) => run);
  for (const run of ended.toSorted().slice(0, -keep)) {
    for await (const entry of store.list(runFolder(run))) await store.remove(entry.path);
  }
}

export async function readReport(store: Store, run: string): Promise<RunReport | undefined> {
  return readJson<RunReport>(store, `${runFolder(run)}/report.json`);
}

interface RunFiles {
  plan: boolean;
  ended: boolean;
  /** Paths of what only a running run needs. */
  working: string[];
}

async function runsBelow(store: Store, folder: string): Promise<Map<string, RunFiles>> {
  const runs = new Map<string, RunFiles>();
  for await (const entry of store.list(folder)) {
    const match = /^runs\/([^/]+\/[^/]+)\/(.+)$/.exec(entry.path);
    if (!match) continue;
    const files = runs.get(match[1]!) ?? { plan: false, ended: false, working: [] };
    if (match[2] === "plan.json") files.plan = true;
    if (match[2] === "report.json" || match[2] === "cancelled") files.ended = true;
    else files.working.push(entry.path);
    runs.set(match[1]!, files);
  }
  return runs;
}

/**
 * Plans of the flow that were begun and neither ended nor cancelled, newest first. On the way it clears what a run left that was
 * killed while it ended.
 */
export async function unfinishedRuns(store: Store, flow: string): Promise<RunPlan[]> {
  const plans: RunPlan[] = [];
  for (const [run, files] of await runsBelow(store, `runs/${flow}`)) {
    if (files.ended) for (const path of files.working) await store.remove(path);
    if (!files.plan || files.ended) continue;
    const path = `${runFolder(run)}/plan.json`;
    const plan = await readJson<RunPlan | null>(store, path);
    if (plan === undefined) continue;
    if (plan?.run !== run || !Array.isArray(plan.parts)) throw damaged(path, "is not the plan of a run");
    plans.push(plan);
  }
  return plans.sort((left, right) => (left.run < right.run ? 1 : -1));
}

/** Tokens of replays begin with it. */
export const replayPrefix = "replay-";

/** Writes down what the second commit of a replay needs, before its first. */
export async function writeReplay(store: Store, run: string, state: unknown): Promise<void> {
  await store.write(`${runFolder(run)}/replay.json`, encode(state), { ifAbsent: true });
}

export async function readReplay<State>(store: Store, run: string): Promise<State | undefined> {
  return readJson<State>(store, `${runFolder(run)}/replay.json`);
}

/** Replays of the flow that were begun and neither ended nor cancelled. */
export async function unfinishedReplays(store: Store, flow: string): Promise<string[]> {
  const runs = [...(await runsBelow(store, `runs/${flow}`))];
  return runs.filter(([run, files]) => !files.ended && runToken(run).startsWith(replayPrefix)).map(([run]) => run);
}

/** Tokens of all runs that may still be going on: files that begin with one of them must not be collected. */
export async function unfinishedTokens(store: Store): Promise<Set<string>> {
  const tokens = new Set<string>();
  for (const [run, files] of await runsBelow(store, "runs")) if (!files.ended) tokens.add(runToken(run));
  return tokens;
}
