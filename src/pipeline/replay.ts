import { isMillraceError, MillraceError, sqlName, type Column, type Sql, type StagedFile } from "../core/index.ts";
import { splitExpression } from "../feed/split.ts";
import { rowsOfRecords } from "../quality/index.ts";
import { maskStaged } from "./mask.ts";
import { audit } from "./audit.ts";
import type { Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { datasetOf, erasuresOf, flowCursor, isErasedSince } from "./plan.ts";
import { publish } from "./publish.ts";
import { rejectedColumns, rejectedName } from "./rejected.ts";
import { completeReplays, openRejected, takeOut, type ReplayState } from "./replay-state.ts";
import type { RunReport } from "./report.ts";
import { finishRun, newRunToken, replayPrefix, writeReplay, type RunPlan } from "./runs.ts";
import { adoptFiles, dropStaged, stagedPrefix } from "./stage.ts";
import { relationOf, stagingFolder } from "./staging.ts";
import { rowsIn, supersede } from "./supersede.ts";

export interface ReplayOptions {
  /** A predicate over the rejected dataset (`reason`, `check`, `origin`, `record`, `run`, `rejected_at`). Default: all. */
  where?: string;
  /** Mends columns before the checks: `{ price: "abs(price)" }`, in the engine's SQL. */
  set?: Record<string, string>;
  signal?: AbortSignal;
}

/**
 * Takes records that checks refused, mends them, and puts them through the flow's checks again. What passes is published
 * and leaves the rejected dataset; what fails stays there, with its new reason when anything passed. Each record comes back
 * once, also when the process is killed and this is called again. Records that could not even be parsed are left alone: they
 * have to be mended where they came from. With `mode: replace` the mended rows are added to the version there is.
 */
export async function replayRejected(
  lake: LakeHandles,
  flowName: string,
  options: ReplayOptions = {},
): Promise<RunReport> {
  const started = performance.now();
  const configured = lake.flow(flowName);
  if (configured.from.features !== undefined) {
    throw new MillraceError(
      "unsupported",
      `\`${flowName}\` joins features, which a record mended afterwards would lack`,
      {
        where: { flow: flowName },
        hint: `mend the entities and join them again: millrace features ${configured.from.features}`,
      },
    );
  }
  const flow: Flow = configured.mode === "replace" ? { ...configured, mode: "append" } : configured;
  const name = datasetOf(flowName, flow);
  await completeReplays(lake, flowName);
  const { dataset } = await lake.resolve(name);
  const { dataset: rejected, version } = await openRejected(lake, name);
  const { signal } = options;

  const columns = dataset.columns();
  const done = flowCursor(dataset, flowName);
  const now = new Date();
  const plan: RunPlan = {
    run: `${flowName}/${replayPrefix}${newRunToken(now)}`,
    flow: flowName,
    dataset: name,
    startedAt: now.toISOString(),
    definition: "",
    sequence: done.run,
    base: dataset.current()?.number ?? null,
    input: columns,
    made: columns,
    output: columns,
    evolves: false,
    key: flow.key ?? [],
    parts: [],
    cursor: done.position,
    overlap: false,
    erasures: await erasuresOf(lake, name, dataset),
  };
  const report: RunReport = {
    run: plan.run,
    flow: flowName,
    dataset: name,
    status: "unchanged",
    ...(plan.base === null ? {} : { base: plan.base }),
    resumed: false,
    startedAt: plan.startedAt,
    seconds: 0,
    parts: 0,
    bytesRead: 0,
    read: 0,
    written: 0,
    rejected: 0,
    filtered: 0,
    checks: [],
    columns: {},
    warnings: [],
  };
  try {
    const { taken, staged } = await stageRecords(lake, flow, plan, await rejected.relation(version), options);
    const latest =
      flow.mode === "merge" ? await supersede(lake, flow, plan, staged, signal) : { files: staged, superseded: 0 };
    const masked = await maskStaged(lake, flow, plan, latest.files, dataset, signal);
    const audited = await audit(lake, flow, plan, masked, dataset, signal);
    report.read = rowsIn(staged);
    report.written = rowsIn(audited.files);
    report.rejected = audited.rejected;
    report.filtered = latest.superseded;
    if (flow.mode === "merge") report.superseded = latest.superseded;
    report.checks = audited.checks;
    report.columns = audited.columns;
    report.seconds = (performance.now() - started) / 1000;
    if (audited.failed) {
      report.status = "failed";
      await finishRun(lake.store, report);
    } else if (report.written > 0) {
      report.status = "published";
      const state: ReplayState = { report, taken, again: audited.rejectedFiles };
      await writeReplay(lake.store, plan.run, state);
      const { read, written } = report;
      const published = await publish(
        lake,
        flow,
        plan,
        audited,
        {
          "millrace.flow": flowName,
          "millrace.replay": JSON.stringify({ from: version.number, read, written }),
        },
        signal,
      );
      report.version = published.version.number;
      if (published.updated !== undefined) report.updated = published.updated;
      await takeOut(lake, state);
      const kept = new Set(audited.files.map((file) => file.path));
      for (const file of [...staged, ...latest.files, ...masked.files]) {
        if (!kept.has(file.path) && !published.already) await lake.store.remove(file.path);
      }
      report.seconds = (performance.now() - started) / 1000;
      await finishRun(lake.store, report);
    }
  } finally {
    // What is published is another matter: it must stay, and so must what a lost second commit needs.
    const refused = report.version === undefined && (await isErasedSince(lake, plan));
    if (report.status !== "published" || refused) await dropStaged(lake, plan);
  }
  return report;
}

/** Copies the chosen records, and makes typed, mended rows of them. */
async function stageRecords(
  lake: LakeHandles,
  flow: Flow,
  plan: RunPlan,
  source: Sql,
  options: ReplayOptions,
): Promise<{ taken: StagedFile[]; staged: StagedFile[] }> {
  const engine = await lake.engine();
  const name = rejectedName(plan.dataset);
  const signal = options.signal ? { signal: options.signal } : {};
  try {
    const chosen = `"check" IS NOT NULL AND coalesce((${options.where ?? "true"}), false)`;
    const copied = await engine.write(`SELECT * FROM ${source} WHERE ${chosen}`, {
      columns: rejectedColumns,
      folder: await stagingFolder(lake, name),
      prefix: stagedPrefix(plan.run, "taken"),
      ...signal,
    });
    const taken = await adoptFiles(lake, name, copied);
    const records = `SELECT record FROM ${await relationOf(lake, taken, rejectedColumns)}`;
    const staged = await engine.write(recordsSelect(records, plan.output, flow, options.set ?? {}), {
      columns: plan.output,
      folder: await stagingFolder(lake, plan.dataset),
      prefix: stagedPrefix(plan.run, "mended"),
      ...signal,
    });
    return { taken, staged: await adoptFiles(lake, plan.dataset, staged) };
  } catch (error) {
    if (!isMillraceError(error) || error.code === "aborted") throw error;
    throw new MillraceError(error.code, `the rejected records cannot be replayed: ${error.message}`, {
      where: { dataset: name, ...error.where },
      cause: error,
      hint: error.hint ?? "choose records with `--where`, mend columns with `--set column=expression`",
    });
  }
}

/** Rejected records as typed rows, mended; their split is found anew, because its key may be what was mended. */
function recordsSelect(records: Sql, columns: readonly Column[], flow: Flow, set: Record<string, string>): Sql {
  const rows = rowsOfRecords(records, columns);
  const mended = Object.entries(set).map(([name, expression]) => {
    if (!columns.some((column) => column.name === name)) {
      throw new MillraceError("usage", `the dataset has no column \`${name}\` to set`, {
        hint: `it has ${columns.map((column) => `\`${column.name}\``).join(", ")}`,
      });
    }
    return `(${expression}) AS ${sqlName(name)}`;
  });
  if (mended.length === 0) return rows;
  const select = `SELECT * REPLACE (${mended.join(", ")}) FROM (${rows})`;
  const { split } = flow;
  if (split === undefined || Object.hasOwn(set, split.into)) return select;
  const others = columns.filter((column) => column.name !== split.into);
  return `SELECT * REPLACE (${splitExpression(split, others, flow.key ?? [])} AS ${sqlName(split.into)}) FROM (${select})`;
}
