import { MillraceError, type CheckContext, type Sql } from "../core/index.ts";
import type { Dataset } from "../dataset/index.ts";
import { datasetsOf, planChecks, verifyChecks, type PlannedCheck } from "../quality/index.ts";
import type { CheckSpec, Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { loadCheck } from "./modules.ts";
import type { RunPlan } from "./runs.ts";

type ChecksOf = Pick<RunPlan, "output" | "key" | "startedAt">;

/** The checks of a flow with their options validated against the columns there will be, and what they may look at. */
export async function planFlowChecks(
  lake: LakeHandles,
  flow: Flow,
  plan: ChecksOf,
  dataset: Dataset | undefined,
): Promise<{ context: CheckContext; planned: PlannedCheck[] }> {
  const context = await contextOf(lake, flow, plan, dataset);
  const specs = [...flow.checks, ...keyCheck(flow), ...momentCheck(lake, flow)];
  return { context, planned: await planChecks(specs, context, (name) => loadCheck(lake.registry, name)) };
}

/** Finds checks that do not fit the columns before anything is read. Throws `config`. */
export async function verifyFlowChecks(
  lake: LakeHandles,
  flow: Flow,
  plan: ChecksOf,
  dataset: Dataset | undefined,
): Promise<void> {
  const { planned } = await planFlowChecks(lake, flow, plan, dataset);
  await verifyChecks(planned, await lake.engine());
}

/**
 * A merge cannot tell rows apart by a key that has a null, so it moves such rows out. The flow's own `not-null` of a key column
 * goes before: where that one fails the run, the run fails.
 */
export function keyCheck(flow: Flow): CheckSpec[] {
  if (flow.mode !== "merge") return [];
  const strict = flow.checks.filter(
    (check) =>
      check.check === "not-null" &&
      check.on_fail === "fail" &&
      check.max_rows === undefined &&
      check.max_share === undefined,
  );
  const covered = new Set(strict.flatMap((check) => (Array.isArray(check["columns"]) ? check["columns"] : [])));
  const columns = (flow.key ?? []).filter((name) => !covered.has(name));
  return columns.length === 0 ? [] : [{ check: "not-null", columns, on_fail: "reject" }];
}

/** An entity without a moment has no past to look features up in, so its row is moved out. */
function momentCheck(lake: LakeHandles, flow: Flow): CheckSpec[] {
  if (flow.from.features === undefined) return [];
  return [{ check: "not-null", columns: [lake.features(flow.from.features).at], on_fail: "reject" }];
}

async function contextOf(
  lake: LakeHandles,
  flow: Flow,
  plan: ChecksOf,
  dataset: Dataset | undefined,
): Promise<CheckContext> {
  const relations = new Map<string, Sql>();
  for (const name of datasetsOf(flow.checks)) {
    if (await lake.catalog.exists(name)) relations.set(name, await (await lake.catalog.open(name)).relation());
  }
  const baseline = dataset?.current() === undefined ? undefined : await dataset.relation();
  const previous = flow.mode === "replace" ? undefined : baseline;
  return {
    columns: plan.output,
    key: plan.key,
    ...(flow.split === undefined ? {} : { split: flow.split.into }),
    dataset(name) {
      const relation = relations.get(name);
      if (relation === undefined) {
        throw new MillraceError("not-found", `there is no dataset \`${name}\``, {
          hint: "`millrace datasets` lists them",
        });
      }
      return relation;
    },
    mode: flow.mode,
    ...(previous === undefined ? {} : { previous }),
    ...(baseline === undefined ? {} : { baseline, previousColumns: dataset!.columns() }),
    now: Date.parse(plan.startedAt),
  };
}
