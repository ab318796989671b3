import { MillraceError, sqlName, type Column, type Sql } from "../core/index.ts";
import { leakageChecks } from "../feed/leakage.ts";
import { nearChecks, originOf, verifyNear, type NearResult } from "../feed/near-checks.ts";
import type { NearFinding } from "../feed/near.ts";
import type { Engine } from "../engine/index.ts";
import { splitSchema, type NearSpec, type SplitSpec } from "./flow.ts";
import { selectRows, splitColumn, type Selection } from "./folds.ts";
import type { LakeHandles } from "./lake.ts";
import type { CheckResult } from "./report.ts";

export interface LeakageOptions extends Omit<Selection, "split"> {
  /** What to look for besides groups and exact duplicates. Default: `split.near` of the flow, else what the columns suggest. */
  near?: readonly NearSpec[];
  /** How many rows, and which share of them, each check may find. Default 0. */
  maxRows?: number;
  maxShare?: number;
  signal?: AbortSignal;
}

export interface LeakageReport {
  dataset: string;
  version: number;
  rows: number;
  status: "passed" | "warned" | "failed";
  checks: CheckResult[];
  /** Pairs of rows of different splits that are almost the same, of each check that looked for them. */
  examples: { check: string; columns: string[]; pairs: NearFinding["examples"] }[];
}

/** What of one split is in another: groups, equal rows, near-duplicates. Throws `not-found` for a dataset without splits. */
export async function reportLeakage(
  lake: LakeHandles,
  reference: string,
  options: LeakageOptions = {},
): Promise<LeakageReport> {
  const { dataset, version } = await lake.resolve(reference);
  const engine = await lake.engine();
  const flow = Object.entries(lake.config.flows).find(([name, each]) => (each.into ?? name) === dataset.name)?.[1];
  if (options.folds !== undefined && options.fold === undefined) {
    throw new MillraceError("usage", `which of the ${options.folds} folds is validation?`, { hint: "add `--fold 1`" });
  }
  const all = dataset.columns(version);
  const split: SplitSpec = flow?.split ?? splitSchema.parse({ train: 1 });
  if (options.folds === undefined)
    splitColumn(
      lake,
      dataset.name,
      all.map((column) => column.name),
    );
  const selected = selectRows(lake, dataset.name, all, await dataset.relation(version), options);
  const columns = selected.columns.filter(({ name }) => options.folds === undefined || name !== "fold");
  const key = (flow?.key ?? []).filter((name) => columns.some((column) => column.name === name));
  // By time, what lies after a fold is in no split.
  const relation = `(SELECT ${columns.map(({ name }) => sqlName(name)).join(", ")} FROM ${selected.relation} WHERE ${sqlName(split.into)} IS NOT NULL)`;
  const spec: SplitSpec = { ...split, leakage: "fail" };
  const signal = options.signal ? { signal: options.signal } : {};
  const checks = await leakageChecks(
    { ...spec, stratify: undefined },
    { relations: [relation], columns, key, ...signal },
    engine,
  );
  const near = options.near ?? split.near ?? (await suggestNear(engine, relation, columns, key, split.into));
  verifyNear(near, columns);
  const found = await nearChecks(
    near,
    "fail",
    {
      relation: options.folds === undefined && version.rows > 0 ? await dataset.relation(version) : relation,
      columns,
      split: sqlName(split.into),
      origin: originOf(
        key.length > 0 ? key : [split.key ?? []].flat(),
        options.folds === undefined && version.rows > 0,
      ),
      folder: lake.scratch,
      ...signal,
    },
    engine,
    options.near === undefined && split.near === undefined,
  );
  const judged = [...checks, ...found.map(({ result }) => result)].map((check) => allow(check, version.rows, options));
  return {
    dataset: dataset.name,
    version: version.number,
    rows: version.rows,
    status: judged.some(({ status }) => status === "failed")
      ? "failed"
      : judged.some(({ status }) => status === "warned")
        ? "warned"
        : "passed",
    checks: judged,
    examples: found.flatMap(examplesOf),
  };
}

function examplesOf({ result, finding }: NearResult): LeakageReport["examples"] {
  if (finding === undefined || finding.examples.length === 0) return [];
  return [{ check: result.check, columns: result.options["columns"] as string[], pairs: finding.examples }];
}

/** What a check may find is no failure. */
function allow(check: CheckResult, rows: number, { maxRows = 0, maxShare = 0 }: LeakageOptions): CheckResult {
  if (check.status !== "failed" || check.failing === undefined || check.error !== undefined) return check;
  return check.failing <= Math.max(maxRows, maxShare * rows) ? { ...check, status: "warned" } : check;
}

/** Texts of at least so many characters on average are documents rather than names and categories. */
const documentLength = 40;

/** Columns that hold documents, hashes of images and measurements, by their types and lengths. */
async function suggestNear(
  engine: Pick<Engine, "query">,
  relation: Sql,
  columns: readonly Column[],
  key: readonly string[],
  into: string,
): Promise<NearSpec[]> {
  const free = columns.filter(({ name }) => name !== into && !key.includes(name));
  const texts = free.filter(({ type }) => type === "string").map(({ name }) => name);
  const near: NearSpec[] = [];
  if (texts.length > 0) {
    const [row] = await engine.query(
      `SELECT ${texts.map((name, index) => `avg(length(${sqlName(name)})) AS l${index}`).join(", ")} FROM (SELECT * FROM ${relation} LIMIT 10000)`,
    );
    const documents = texts.filter((_, index) => Number(row![`l${index}`] ?? 0) >= documentLength);
    for (const text of documents) near.push({ text, similarity: 0.8 });
  }
  if (free.some(({ name, type }) => name === "phash" && type === "long")) near.push({ hash: "phash", bits: 4 });
  const numbers = free.filter(({ type }) => type === "float" || type === "double").map(({ name }) => name);
  if (numbers.length >= 3) near.push({ numbers, distance: 0.01 });
  return near;
}
