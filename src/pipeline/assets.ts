import { randomBytes } from "node:crypto";
import { constants, copyFile } from "node:fs/promises";
import { join } from "node:path";
import { MillraceError, sqlName, sqlString, type KeepAsset } from "../core/index.ts";
import type { DataFile, Dataset, Version, VerifyProblem } from "../dataset/index.ts";
import type { LakeHandles } from "./lake.ts";
import { openIfExists } from "./plan.ts";
import { rejectedName } from "./rejected.ts";
import { runToken, type RunPlan } from "./runs.ts";
import { stagingFolder } from "./staging.ts";

/** The column that names the content of an asset in the store. */
const objectColumn = "object";

/** The path of an asset in the store by the `object` of its row. Throws `usage` for one that is none. */
export function objectPath(object: string): string {
  if (/^[\w-]+\/assets\/[0-9a-f]{2}\/[\w-]+$/.test(object)) return object;
  throw new MillraceError("usage", `\`${object}\` is not the \`object\` of an asset`);
}

/** True when rows of the version may name objects. */
function hasObjects(dataset: Dataset, version: Version | undefined): boolean {
  const names = new Set(dataset.columns(version).map(({ name }) => name));
  return names.has(objectColumn) && names.has("sha256");
}

/**
 * Puts the content of assets into the store: once for each content that the current version does not have yet. The name begins with the
 * token of the run, by which gc knows what a run that is going on has put there.
 */
export function assetKeeper(lake: LakeHandles, plan: RunPlan): KeepAsset {
  const keeper = keepers.get(plan) ?? makeKeeper(lake, plan);
  keepers.set(plan, keeper);
  return keeper;
}

/** The parts of a run share what they know. */
const keepers = new WeakMap<RunPlan, KeepAsset>();

function makeKeeper(lake: LakeHandles, plan: RunPlan): KeepAsset {
  const kept = new Map<string, Promise<string>>();
  let known: Promise<Map<string, string>> | undefined;
  const put = async (file: string, sha256: string): Promise<string> => {
    const earlier = (await (known ??= currentObjects(lake, plan))).get(sha256);
    if (earlier !== undefined) return earlier;
    const path = `${plan.dataset}/assets/${sha256.slice(0, 2)}/${runToken(plan.run)}-${sha256}`;
    const copy = join(
      await stagingFolder(lake, plan.dataset),
      `${runToken(plan.run)}-${randomBytes(6).toString("hex")}`,
    );
    await copyFile(file, copy, constants.COPYFILE_FICLONE);
    await lake.store.adopt(copy, path);
    return path;
  };
  return (file, sha256) => {
    const running = kept.get(sha256) ?? put(file, sha256);
    kept.set(sha256, running);
    running.catch(() => kept.delete(sha256));
    return running;
  };
}

/** Path by SHA-256 of what the version that the run was planned on has. */
async function currentObjects(lake: LakeHandles, plan: RunPlan): Promise<Map<string, string>> {
  const result = new Map<string, string>();
  const dataset = await openIfExists(lake, plan.dataset);
  const base = dataset?.versions().find(({ number }) => number === plan.base);
  if (dataset === undefined || base === undefined || !hasObjects(dataset, base)) return result;
  const relation = await dataset.relation(base);
  const query = `SELECT DISTINCT sha256, ${objectColumn} AS path FROM ${relation} WHERE ${objectColumn} IS NOT NULL`;
  for (const row of await (await lake.engine()).query(query)) {
    const { sha256, path } = row as { sha256: string; path: string };
    result.set(sha256, path);
  }
  return result;
}

/** The data files of all retained versions but those `without`, each with the first version that names it. */
async function retainedFiles(dataset: Dataset, without: ReadonlySet<bigint>): Promise<Map<Version, DataFile[]>> {
  const seen = new Set<string>();
  const result = new Map<Version, DataFile[]>();
  for (const version of dataset.versions()) {
    if (without.has(version.snapshotId)) continue;
    const fresh = (await dataset.files(version)).filter(({ path }) => !seen.has(path));
    for (const { path } of fresh) seen.add(path);
    if (fresh.length > 0) result.set(version, fresh);
  }
  return result;
}

export interface NamedObject {
  path: string;
  sha256?: string;
  size?: number;
  /** A version that names it. */
  version: number;
}

/** Every object that a retained version of the dataset, or a rejected record, names. */
export async function namedObjects(
  lake: LakeHandles,
  name: string,
  without: ReadonlySet<bigint> = new Set(),
): Promise<Map<string, NamedObject>> {
  const engine = await lake.engine();
  const result = new Map<string, NamedObject>();
  const dataset = await lake.catalog.open(name);
  for (const [version, files] of await retainedFiles(dataset, without)) {
    if (!hasObjects(dataset, version)) continue;
    const relation = await dataset.relation(version, files);
    const columns = new Set(dataset.columns(version).map((column) => column.name));
    const size = columns.has("size") ? sqlName("size") : "NULL";
    const query = `SELECT DISTINCT ${objectColumn} AS path, sha256, ${size} AS size FROM ${relation} WHERE ${objectColumn} IS NOT NULL`;
    for (const row of await engine.query(query)) {
      const { path, sha256, size: bytes } = row as { path: string; sha256: string; size: bigint | number | null };
      const facts = { path, sha256, version: version.number };
      result.set(path, { ...facts, ...(bytes === null ? {} : { size: Number(bytes) }) });
    }
  }
  const rejected = await openIfExists(lake, rejectedName(name));
  if (rejected === undefined) return result;
  const prefix = sqlString(`%${name}/assets/%`);
  for (const [version, files] of await retainedFiles(rejected, new Set())) {
    const relation = await rejected.relation(version, files);
    const query = `SELECT DISTINCT TRY(json_extract_string(record, '$.object')) AS path FROM ${relation} WHERE record LIKE ${prefix}`;
    for (const row of await engine.query(query)) {
      const path = row["path"];
      if (typeof path === "string" && !result.has(path)) result.set(path, { path, version: version.number });
    }
  }
  return result;
}

/** Removes the objects that no version and no rejected record names. The dataset must be closed to writers. Returns how many. */
export async function sweepObjects(lake: LakeHandles, name: string): Promise<number> {
  const there: string[] = [];
  for await (const { path } of lake.store.list(`${name}/assets`)) there.push(path);
  if (there.length === 0) return 0;
  const named = await namedObjects(lake, name);
  const unnamed = there.filter((path) => !named.has(path));
  for (const path of unnamed) await lake.store.remove(path);
  return unnamed.length;
}

/** What is wrong with the objects that versions name: gone, or of another size. */
export async function verifyObjects(lake: LakeHandles, name: string): Promise<VerifyProblem[]> {
  const problems: VerifyProblem[] = [];
  const named = await namedObjects(lake, name);
  if (named.size === 0) return problems;
  const there = new Map<string, number>();
  for await (const { path, size } of lake.store.list(`${name}/assets`)) there.set(path, size);
  for (const { path, size, version } of named.values()) {
    const found = there.get(path);
    if (found === undefined) problems.push({ version, file: path, problem: "is not there" });
    else if (size !== undefined && found !== size) {
      problems.push({ version, file: path, problem: `has ${found} bytes and not ${size}` });
    }
  }
  return problems;
}
