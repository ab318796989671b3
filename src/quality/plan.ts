import * as z from "zod";
import {
  asMillraceError,
  MillraceError,
  suggestion,
  type Check,
  type CheckContext,
  type CheckDefinition,
  type Sql,
} from "../core/index.ts";
import type { CheckSpec } from "../pipeline/flow.ts";

/** A check with its options validated, ready to be measured as often as needed. */
export interface PlannedCheck {
  /** As configured. */
  spec: CheckSpec;
  facts: CheckDefinition;
  /** The two halves. */
  definition: Check<unknown>;
  /** The check's own options, defaults filled in. */
  options: unknown;
  context: CheckContext;
  /** How much may fail before the check does. Both undefined: nothing, or with `on_fail: reject` and `mask`, everything. */
  tolerance: { rows?: number; share?: number };
}

/** Keys that mean the same in every check. */
const commonKeys = ["check", "on_fail", "max_rows", "max_share"];

/**
 * Validates what is configured against each check's own options and the columns there are; reads no data.
 * Throws `config` (or `not-found` for a dataset) with the place in `checks`, the name of the check and the nearest name that exists.
 */
export async function planChecks(
  specs: readonly CheckSpec[],
  context: CheckContext,
  registry: (name: string) => Promise<CheckDefinition>,
): Promise<PlannedCheck[]> {
  const planned: PlannedCheck[] = [];
  for (const [index, spec] of specs.entries()) planned.push(await planCheck(spec, index, context, registry));
  return planned;
}

async function planCheck(
  spec: CheckSpec,
  index: number,
  context: CheckContext,
  registry: (name: string) => Promise<CheckDefinition>,
): Promise<PlannedCheck> {
  const place = `checks[${index}]`;
  const where = { check: spec.check };
  const facts = await registry(spec.check);
  const own = facts.options instanceof z.ZodObject ? Object.keys(facts.options.shape) : [];
  const wrong = (message: string, hint?: string): MillraceError =>
    new MillraceError("config", `\`${place}\`: ${message}`, { where, ...(hint === undefined ? {} : { hint }) });

  const mine = Object.fromEntries(Object.entries(spec).filter(([key]) => !commonKeys.includes(key)));
  const parsed = facts.options.safeParse(mine);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => {
      if (issue.code === "unrecognized_keys") {
        const known = [...new Set([...own, ...commonKeys])];
        return issue.keys
          .map((key) => `\`${key}\` is not an option of the check \`${spec.check}\`; ${suggestion(key, known)}`)
          .join("; ");
      }
      const path = issue.path.map(String).join(".");
      return path === "" ? issue.message : `\`${path}\`: ${issue.message}`;
    });
    throw wrong(`${spec.check}: ${problems.join("; ")}`, `\`millrace describe check ${spec.check}\` lists the options`);
  }

  const tolerance: PlannedCheck["tolerance"] = {
    ...(spec.max_rows === undefined ? {} : { rows: spec.max_rows }),
    ...(spec.max_share === undefined ? {} : { share: spec.max_share }),
  };
  if (!facts.capabilities.rows) {
    if (spec.on_fail === "reject") {
      throw wrong(
        `the check \`${spec.check}\` is about all rows together, so it cannot reject rows`,
        "use `on_fail: warn` or `on_fail: fail`",
      );
    }
    if (tolerance.rows !== undefined || tolerance.share !== undefined) {
      throw wrong(
        `the check \`${spec.check}\` is about all rows together, so no number of rows may fail`,
        `\`millrace describe check ${spec.check}\` lists its limits`,
      );
    }
  }

  if (spec.on_fail === "mask" && facts.capabilities.mask !== true) {
    throw wrong(`the check \`${spec.check}\` has nothing to mask`, "use `on_fail: warn`, `reject` or `fail`");
  }

  const definition = (await facts.load()) as Check<unknown>;
  try {
    // Both halves look up their columns here, so that a wrong name is found before anything is read.
    definition.measure(parsed.data, context);
    if (spec.on_fail === "reject") rejectingSql({ definition, options: parsed.data, context });
    if (spec.on_fail === "mask") definition.mask?.(parsed.data, context);
  } catch (error) {
    const known = asMillraceError(error, where);
    throw new MillraceError(known.code, `\`${place}\`: ${known.message}`, {
      where: known.where,
      cause: error,
      ...(known.hint === undefined ? {} : { hint: known.hint }),
    });
  }
  return { spec, facts, definition, options: parsed.data, context, tolerance };
}

/** The predicates of rows that a check moves out: over single rows, and over their place among others. */
export function rejectingSql(planned: Pick<PlannedCheck, "definition" | "options" | "context">): {
  row?: Sql;
  window?: Sql;
} {
  const { definition, options, context } = planned;
  const row = definition.failing?.(options, context);
  const window = definition.qualify?.(options, context);
  return { ...(row === undefined || row === "false" ? {} : { row }), ...(window === undefined ? {} : { window }) };
}

/** Datasets that checks refer to: what `context.dataset` will be asked for. */
export function datasetsOf(specs: readonly CheckSpec[]): string[] {
  return [...new Set(specs.flatMap((spec) => (typeof spec["dataset"] === "string" ? [spec["dataset"]] : [])))];
}
