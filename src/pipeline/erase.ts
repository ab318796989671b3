import { userInfo } from "node:os";
import { asMillraceError, MillraceError } from "../core/index.ts";
import { abandonErasure, eraseRows, type Dataset, type Erasing } from "../dataset/index.ts";
import { dropRowCaches } from "../feed/cache.ts";
import { forgetSignatures } from "../feed/signatures.ts";
import { sweepObjects } from "./assets.ts";
import { forgetAnswers } from "./enrich-answers.ts";
import { cancelRunsOf, runsInto, scrubReports } from "./erase-runs.ts";
import { keyColumn, rejectedPredicate, rowPredicate, subjectText, type EraseSubject } from "./erase-predicate.ts";
import type { LakeHandles } from "./lake.ts";
import { datasetOf, openIfExists } from "./plan.ts";
import { rejectedName } from "./rejected.ts";
import { completeReplays } from "./replay-state.ts";
import { stagingFolder } from "./staging.ts";

export interface EraseOptions extends EraseSubject {
  /** Why, for the tombstone. It is kept: it must not name the person. */
  reason?: string;
  /** Who, for the tombstone. Default: the user of this process. */
  by?: string;
  /** Rows with these keys are left out of later runs too, and counted as `filtered`. Only with `keys`. */
  suppress?: boolean;
  /** Only says what would go. */
  dryRun?: boolean;
  signal?: AbortSignal;
}

export interface ErasedPart {
  dataset: string;
  /** Versions that hold or held such rows. */
  versions: number[];
  /** Data files that hold them, and rows; a row counts once for each file that has it. */
  files: number;
  rows: number;
  /** Files with such rows that no version names. */
  unnamed: number;
}

export interface EraseReport {
  dataset: string;
  /** `erased`: nothing is left. `found`: what a dry run found. `nothing`: there was nothing to erase. */
  status: "erased" | "found" | "nothing";
  parts: ErasedPart[];
  /** Files that were removed: old data files, manifests, metadata. */
  removed: number;
  /** Unfinished runs that were given up, because what they had staged may hold such rows. */
  runs: number;
  /** Reports of runs from which values were removed. */
  reports: number;
  /** Rejected records that could not be parsed when they came and do not match as text; only a person can judge them. */
  unreadable: number;
}

interface Target {
  dataset: Dataset;
  erasing: Erasing;
}

/**
 * Removes rows from every version of a dataset, from its rejected records, from staged files and from the reports of its runs. Killed
 * anywhere, the dataset says that an erasure is not finished and takes nothing in; the same call goes on.
 * Throws `conflict` when another erasure is not finished, `usage` when the predicate does not fit the columns.
 */
export async function eraseFrom(lake: LakeHandles, name: string, options: EraseOptions): Promise<EraseReport> {
  const targets = await targetsOf(lake, name, options);
  const parts = await findAll(targets);
  const unfinished = await runsInto(lake.store, name);
  const pending = targets.some(({ dataset }) => dataset.erasures().pending !== undefined);
  const matched = parts.some((part) => part.files > 0 || part.unnamed > 0);
  const report: EraseReport = {
    dataset: name,
    status: matched ? "found" : "nothing",
    parts,
    removed: 0,
    runs: unfinished.length,
    reports: 0,
    unreadable: await unreadableRecords(lake, name, targets),
  };
  // What an unfinished run has staged is not looked at: it is given up with its files.
  const needed = matched || pending || unfinished.length > 0 || options.suppress === true;
  if (options.dryRun === true || !needed) return report;

  await dropRowCaches(lake.feedCache, name);
  const [main] = targets;
  const id = await main!.erasing.begin();
  try {
    await eraseAll(lake, name, id, targets, report);
  } catch (error) {
    const cause = asMillraceError(error, { dataset: name });
    throw new MillraceError(cause.code, `the erasure of \`${name}\` is not finished: ${cause.message}`, {
      cause,
      where: cause.where,
      temporary: cause.temporary,
      hint: cause.hint ?? `give the same \`millrace erase ${name}\` again: it goes on where it was`,
    });
  }
  for (const [index, { dataset }] of targets.entries()) {
    // Of an erasure that was taken up again, the tombstone knows what the attempt before did.
    const { versions, files, rows } = dataset.erasures().done.find((one) => one.id === id)!;
    Object.assign(parts[index]!, { versions, files, rows });
  }
  return { ...report, status: "erased", unreadable: await unreadableRecords(lake, name, targets) };
}

/** Everything after the dataset was closed. */
async function eraseAll(
  lake: LakeHandles,
  name: string,
  id: string,
  targets: readonly Target[],
  report: EraseReport,
): Promise<void> {
  // A replay whose first commit was made must be able to make its second one, which goes to the rejected dataset.
  for (const [flowName, flow] of Object.entries(lake.config.flows)) {
    if (datasetOf(flowName, flow) === name) await completeReplays(lake, flowName);
  }
  await targets[1]?.erasing.begin(id);
  report.runs = await cancelRunsOf(lake.store, name);
  for (const { erasing } of targets) await erasing.apply();
  for (const { erasing } of targets) report.removed += await erasing.sweep();
  report.removed += await sweepObjects(lake, name);
  report.removed += await forgetAnswers(lake, name);
  report.removed += await forgetSignatures(lake.store, name);
  report.reports = await scrubReports(lake.store, name);
  for (const { erasing } of targets.toReversed()) await erasing.finish();
}

/** Opens a dataset again whose erasure nobody can finish. Returns when that one began; undefined: none was going on. */
export async function abandonErase(lake: LakeHandles, name: string): Promise<string | undefined> {
  const main = await lake.catalog.open(name);
  const rejected = await openIfExists(lake, rejectedName(name));
  const second = rejected && (await abandonErasure(rejected));
  return ((await abandonErasure(main)) ?? second)?.begun;
}

async function targetsOf(lake: LakeHandles, name: string, options: EraseOptions): Promise<Target[]> {
  const dataset = await lake.catalog.open(name);
  const engine = await lake.engine();
  const flow = Object.entries(lake.config.flows).find(([one, candidate]) => datasetOf(one, candidate) === name)?.[1];
  const column = keyColumn(options, dataset, flow?.key ?? []);
  if (options.suppress === true && column === undefined) {
    throw new MillraceError("usage", "only keys can be suppressed in later runs", {
      hint: "give the values with `--keys` and, unless it is the key of the flow, their column with `--column`",
    });
  }
  const predicate = subjectText(options, column);
  const request = {
    predicate,
    by: options.by ?? userInfo().username,
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  };
  const targets: Target[] = [
    {
      dataset,
      erasing: eraseRows(dataset, engine, {
        ...request,
        where: rowPredicate(options, column),
        folder: await stagingFolder(lake, name),
        ...(options.suppress === true ? { suppress: { column: column!, values: options.keys!.values } } : {}),
      }),
    },
  ];
  const rejected = await openIfExists(lake, rejectedName(name));
  if (rejected !== undefined) {
    const where = await rejectedPredicate(options, column, dataset, engine);
    const folder = await stagingFolder(lake, rejected.name);
    targets.push({ dataset: rejected, erasing: eraseRows(rejected, engine, { ...request, where, folder }) });
  }
  return targets;
}

async function findAll(targets: readonly Target[]): Promise<ErasedPart[]> {
  const parts: ErasedPart[] = [];
  for (const { dataset, erasing } of targets) {
    const { versions, files, rows, unnamed } = await erasing.find();
    parts.push({ dataset: dataset.name, versions, files, rows, unnamed });
  }
  return parts;
}

async function unreadableRecords(lake: LakeHandles, name: string, targets: readonly Target[]): Promise<number> {
  const rejected = targets.find(({ dataset }) => dataset.name === rejectedName(name))?.dataset;
  if (rejected?.current() === undefined) return 0;
  const engine = await lake.engine();
  const [row] = await engine.query(`SELECT count(*) AS n FROM ${await rejected.relation()} AS t WHERE "check" IS NULL`);
  return Number(row!.n);
}
