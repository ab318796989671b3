import { createHash } from "node:crypto";
import { isMillraceError, MillraceError, sqlName, type Column } from "../core/index.ts";
import { rowsOfRecords } from "../quality/index.ts";
import { audit } from "./audit.ts";
import type { LakeHandles } from "./lake.ts";
import { datasetOf, flowCursor } from "./plan.ts";
import { publish } from "./publish.ts";
import { rejectedColumns, rejectedName } from "./rejected.ts";
import type { RunReport } from "./report.ts";
import { finishRun, type RunPlan } from "./runs.ts";
import { adoptFiles, stagedPrefix, stagingFolder } from "./stage.ts";

export interface ReplayOptions {
  /** A predicate over the rejected dataset (`reason`, `check`, `origin`, `record`, `run`, `rejected_at`). Default: all. */
  where?: string;
  /** Mends columns before the checks: `{ price: "abs(price)" }`, in the engine's SQL. */
  set?: Record<string, string>;
  signal?: AbortSignal;
}

/**
 * Takes records that checks refused, mends them, and puts them through the flow's checks again. What passes is published
 * and leaves the rejected dataset; what fails stays there with its new reason. Records that could not even be parsed are
 * left alone: they have to be mended where they came from.
 */
export async function replayRejected(
  lake: LakeHandles,
  flowName: string,
  options: ReplayOptions = {},
): Promise<RunReport> {
  const started = performance.now();
  const flow = lake.flow(flowName);
  const name = datasetOf(flowName, flow);
  const { dataset } = await lake.resolve(name);
  const { dataset: rejected, version } = await lake.resolve(rejectedName(name));
  const engine = await lake.engine();
  const { signal } = options;

  const source = await rejected.relation(version);
  const chosen = `"check" IS NOT NULL AND coalesce((${options.where ?? "true"}), false)`;
  const columns = dataset.columns();
  const done = flowCursor(dataset, flowName);
  const request = createHash("sha256")
    .update(JSON.stringify([options.where, options.set]))
    .digest("hex")
    .slice(0, 8);
  const plan: RunPlan = {
    // The same request on the same rejected version is the same run: repeated after a kill, it is published once.
    run: `${flowName}/replay-${version.number}-${request}`,
    flow: flowName,
    dataset: name,
    startedAt: new Date().toISOString(),
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
  };

  let staged;
  try {
    staged = await engine.write(
      recordsSelect(`SELECT record FROM ${source} WHERE ${chosen}`, columns, options.set ?? {}),
      {
        columns,
        folder: await stagingFolder(lake, name),
        prefix: stagedPrefix(plan.run, "replay"),
        ...(signal ? { signal } : {}),
      },
    );
  } catch (error) {
    if (!isMillraceError(error)) throw error;
    throw new MillraceError(
      error.code === "usage" ? "usage" : error.code,
      `the rejected records cannot be replayed: ${error.message}`,
      {
        where: { dataset: rejectedName(name) },
        cause: error,
        hint: error.hint ?? "choose records with `--where`, mend columns with `--set column=expression`",
      },
    );
  }
  const read = staged.reduce((sum, file) => sum + file.rows, 0);
  const audited = await audit(lake, flow, plan, await adoptFiles(lake, name, staged), dataset, signal);
  const written = audited.files.reduce((sum, file) => sum + file.rows, 0);
  const report: RunReport = {
    run: plan.run,
    flow: flowName,
    dataset: name,
    status: audited.failed ? "failed" : written === 0 ? "unchanged" : "published",
    resumed: false,
    startedAt: plan.startedAt,
    seconds: 0,
    parts: 0,
    bytesRead: 0,
    read,
    written,
    rejected: audited.rejected,
    filtered: 0,
    checks: audited.checks,
    columns: audited.columns,
    warnings: [],
  };
  if (report.status === "published") {
    const summary = {
      "millrace.flow": flowName,
      "millrace.replay": JSON.stringify({ from: version.number, read, written }),
    };
    const published = await publish(lake, flow, plan, audited, summary, signal);
    report.version = published.version.number;
    await takeOut(lake, plan, `SELECT * FROM ${source} WHERE NOT (${chosen})`, audited.rejectedFiles);
  }
  report.seconds = (performance.now() - started) / 1000;
  await finishRun(lake.store, report);
  return report;
}

/** Rejected records as typed rows, mended. */
function recordsSelect(records: string, columns: readonly Column[], set: Record<string, string>): string {
  const replaced = Object.entries(set).map(([name, expression]) => {
    if (!columns.some((column) => column.name === name)) {
      throw new MillraceError("usage", `the dataset has no column \`${name}\` to set`, {
        hint: `it has ${columns.map((column) => `\`${column.name}\``).join(", ")}`,
      });
    }
    return `(${expression}) AS ${sqlName(name)}`;
  });
  const replace = replaced.length === 0 ? "" : ` REPLACE (${replaced.join(", ")})`;
  return `SELECT *${replace} FROM (${rowsOfRecords(records, columns)})`;
}

/** The rejected dataset without what was replayed, and with what failed again. */
async function takeOut(
  lake: LakeHandles,
  plan: RunPlan,
  remaining: string,
  again: Parameters<typeof adoptFiles>[2],
): Promise<void> {
  const name = rejectedName(plan.dataset);
  const dataset = await lake.catalog.open(name);
  const engine = await lake.engine();
  const kept = await engine.write(remaining, {
    columns: rejectedColumns,
    folder: await stagingFolder(lake, name),
    prefix: stagedPrefix(plan.run, "remaining"),
  });
  await dataset.commit({
    operation: "overwrite",
    add: [...(await adoptFiles(lake, name, kept)), ...again],
    removeAll: true,
    base: dataset.current()!.number,
    runId: plan.run,
    summary: { "millrace.flow": plan.flow },
  });
}
