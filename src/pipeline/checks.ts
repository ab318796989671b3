import { MillraceError, type CheckContext, type Sql } from "../core/index.ts";
import type { Dataset } from "../dataset/index.ts";
import { datasetsOf, planChecks, rejectPredicate, verifyChecks, type PlannedCheck } from "../quality/index.ts";
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
  /** `columns`: the datasets that checks look at seem to have no rows, so that nothing of them has to be fetched. */
  depth: "columns" | "rows",
): Promise<{ context: CheckContext; planned: PlannedCheck[] }> {
  const beside: Beside[] = [];
  const relationTo = async (other: Dataset): Promise<Sql> => {
    const files = depth === "columns" ? [] : await other.files();
    const relation = await other.relation(undefined, files, { fetched: false });
    beside.push({ relation, fetch: () => other.fetch(files) });
    return relation;
  };
  const context = await contextOf(lake, flow, plan, dataset, relationTo);
  const specs = [...flow.checks, ...keyCheck(flow), ...momentCheck(lake, flow)];
  const planned = await planChecks(specs, context, (name) => loadCheck(lake.registry, name));
  if (depth === "rows") await fetchNamed(planned, beside);
  return { context, planned };
}

/** Rows of a version that is there, beside those that are measured. */
interface Beside {
  relation: Sql;
  fetch(): Promise<void>;
}

/** Few checks look at earlier rows, or at those of other datasets: only what their SQL names is fetched. */
async function fetchNamed(planned: readonly PlannedCheck[], beside: readonly Beside[]): Promise<void> {
  const texts = planned.flatMap(({ definition, options, context }) =>
    Object.values(definition.measure(options, context)),
  );
  for (const rule of rejectPredicate(planned)) texts.push(rule.predicate, rule.reason);
  for (const one of beside) if (texts.some((text) => text.includes(one.relation))) await one.fetch();
}

/** Finds checks that do not fit the columns before anything is read. Throws `config`. */
export async function verifyFlowChecks(
  lake: LakeHandles,
  flow: Flow,
  plan: ChecksOf,
  dataset: Dataset | undefined,
): Promise<void> {
  const { planned } = await planFlowChecks(lake, flow, plan, dataset, "columns");
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
  relationTo: (dataset: Dataset) => Promise<Sql>,
): Promise<CheckContext> {
  const relations = new Map<string, Sql>();
  for (const name of datasetsOf(flow.checks)) {
    if (await lake.catalog.exists(name)) relations.set(name, await relationTo(await lake.catalog.open(name)));
  }
  const current = dataset?.current();
  const baseline = current === undefined ? undefined : await relationTo(dataset!);
  const counted = current?.summary["total-records"] !== undefined;
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
    ...(counted ? { baselineRows: current.rows } : {}),
    now: Date.parse(plan.startedAt),
  };
}
