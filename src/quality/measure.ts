import {
  formatType,
  isMillraceError,
  messageOf,
  MillraceError,
  sqlName,
  throwIfAborted,
  type Measured,
  type Sql,
  type Statistics,
  type Verdict,
} from "../core/index.ts";
import { emptyRelation } from "../engine/index.ts";
import type { Engine } from "../engine/engine.ts";
import type { CheckResult } from "../pipeline/report.ts";
import type { PlannedCheck } from "./plan.ts";

export interface MeasureRequest {
  /** A FROM item with the rows. */
  relation: Sql;
  engine: Pick<Engine, "query">;
  /** What is known of these rows without reading them. Must be exact: checks are answered from it. */
  statistics?: Statistics;
  signal?: AbortSignal;
}

/**
 * Lets the engine bind every check to the columns without reading a row: patterns that are none, conditions with errors and types
 * that do not compare are found before a run has begun. Throws `config` naming the first check that is wrong.
 */
export async function verifyChecks(
  planned: readonly PlannedCheck[],
  engine: Pick<Engine, "query">,
  signal?: AbortSignal,
): Promise<void> {
  for (const [index, check] of planned.entries()) {
    const { columns } = check.context;
    try {
      const select = scan(
        emptyRelation(columns),
        Object.values(check.definition.measure(check.options, check.context)),
      );
      await engine.query(`EXPLAIN ${select}`, signal);
    } catch (error) {
      if (isMillraceError(error) && error.code === "aborted") throw error;
      throwIfAborted(signal);
      throw new MillraceError(
        "config",
        `\`checks[${index}]\`: the check \`${check.spec.check}\` cannot be measured: ${messageOf(error).split("\n")[0]}`,
        {
          where: { check: check.spec.check },
          hint: `the columns are ${columns.map((column) => `\`${column.name}\` (${formatType(column.type)})`).join(", ")}`,
          cause: error,
        },
      );
    }
  }
}

type Outcome = { values: Measured } | { error: string };

/** The one scan: `data` is inlined into every use, so that each reads only the columns it names. */
function scan(relation: Sql, measures: readonly Sql[]): Sql {
  return `WITH data AS NOT MATERIALIZED (SELECT * FROM ${relation}) SELECT ${['count(*) AS "rows"', ...measures].join(", ")} FROM data`;
}

/**
 * A verdict for each check, in the order of the plan. What the statistics answer is not read at all; all else is measured in one
 * SELECT. A check whose SQL fails is measured alone, so that it fails alone: it gets an `error`, and never passes.
 * Throws `aborted` only.
 */
export async function measureChecks(planned: readonly PlannedCheck[], request: MeasureRequest): Promise<CheckResult[]> {
  const { statistics } = request;
  const measured = new Map<PlannedCheck, Outcome>();
  if (statistics !== undefined) {
    for (const check of planned) {
      const known = check.definition.fromStatistics?.(check.options, statistics);
      if (known !== undefined) measured.set(check, { values: { ...known, rows: statistics.rows } });
    }
  }
  const rest = planned.filter((check) => !measured.has(check));
  if (rest.length > 0) {
    const together = await tryMeasure(rest, request);
    if (!("error" in together)) {
      for (const [index, check] of rest.entries()) measured.set(check, { values: together.values[index]! });
    } else if (rest.length === 1) {
      measured.set(rest[0]!, { error: together.error });
    } else {
      for (const check of rest) {
        const alone = await tryMeasure([check], request);
        measured.set(check, "error" in alone ? alone : { values: alone.values[0]! });
      }
    }
  }
  return planned.map((check) => judge(check, measured.get(check)!));
}

async function tryMeasure(
  checks: readonly PlannedCheck[],
  { relation, engine, signal }: MeasureRequest,
): Promise<{ values: Measured[] } | { error: string }> {
  throwIfAborted(signal);
  try {
    const names = checks.map((check, index) =>
      Object.entries(check.definition.measure(check.options, check.context)).map(([key, sql]) => ({
        key,
        sql,
        alias: `c${index}_${key}`,
      })),
    );
    const [row] = await engine.query(
      scan(
        relation,
        names.flat().map(({ sql, alias }) => `${sql} AS ${sqlName(alias)}`),
      ),
      signal,
    );
    if (row === undefined) return { error: "the engine gave no row" };
    return {
      values: names.map((own) => ({
        rows: row["rows"],
        ...Object.fromEntries(own.map(({ key, alias }) => [key, row[alias]])),
      })),
    };
  } catch (error) {
    if (isMillraceError(error) && error.code === "aborted") throw error;
    throwIfAborted(signal);
    return { error: messageOf(error) };
  }
}

function judge(check: PlannedCheck, outcome: Outcome): CheckResult {
  if ("error" in outcome) return failedToRun(check, outcome.error);
  const measured = outcome.values;
  try {
    const verdict = check.definition.judge(check.options, measured, check.context);
    const rows = Number(measured["rows"]);
    return { check: check.spec.check, options: check.spec, ...graded(check, verdict, rows) };
  } catch (error) {
    return failedToRun(check, messageOf(error));
  }
}

function failedToRun(check: PlannedCheck, error: string): CheckResult {
  return {
    check: check.spec.check,
    options: check.spec,
    status: check.spec.on_fail === "warn" ? "warned" : "failed",
    message: `the check could not be measured: ${error.split("\n")[0]}`,
    measured: {},
    error,
  };
}

/**
 * What the verdict means for the run. Within the tolerance a check passes. `warn` turns failed into warned. `reject` moves the
 * failing rows out, `mask` changes them, and both warn; with a tolerance, more failing rows than that fail the run, because then the source is at fault.
 */
function graded(check: PlannedCheck, verdict: Verdict, rows: number): Verdict {
  const { tolerance, spec } = check;
  const failing = verdict.failing;
  if (verdict.status !== "failed") return verdict;
  const limits: number[] = [];
  if (failing !== undefined) {
    if (tolerance.rows !== undefined) limits.push(tolerance.rows);
    // A share of the rows rounds down, with room for the error of the product: 0.07 × 100 is 7.000000000000001.
    if (tolerance.share !== undefined) limits.push(Math.floor(tolerance.share * rows + 1e-9));
  }
  const limit = limits.length === 0 ? undefined : Math.min(...limits);
  const mended = { reject: "rejected", mask: "masked", warn: undefined, fail: undefined }[spec.on_fail];
  if (failing !== undefined && limit !== undefined && failing <= limit) {
    return mended === undefined
      ? { ...verdict, status: "passed", message: `${verdict.message}; up to ${limit} may` }
      : { ...verdict, status: "warned", message: `${verdict.message}; ${mended}` };
  }
  const message = limit === undefined ? verdict.message : `${verdict.message}; at most ${limit} may`;
  if (spec.on_fail === "warn") return { ...verdict, status: "warned", message };
  if (mended !== undefined && limit === undefined)
    return { ...verdict, status: "warned", message: `${message}; ${mended}` };
  return { ...verdict, message };
}
