import { MillraceError, sqlName, type CheckContext, type Column, type Sql } from "../core/index.ts";
import type { Dataset, RowFilter } from "../dataset/index.ts";
import type { Engine } from "../engine/index.ts";
import {
  datasetsOf,
  planChecks,
  rejectPredicate,
  rowsThatStay,
  verifyChecks,
  type PlannedCheck,
} from "../quality/index.ts";
import { AlikeRows, earlierOf, originOfRows } from "./alike.ts";
import type { CheckSpec, Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { loadCheck } from "./modules.ts";
import type { RunPlan } from "./runs.ts";

type ChecksOf = Pick<RunPlan, "output" | "key" | "startedAt">;

/** Checks that are ready to be measured, as long as this is not disposed of. */
export interface FlowChecks extends AsyncDisposable {
  context: CheckContext;
  planned: PlannedCheck[];
}

/** The checks of a flow with their options validated against the columns there will be, and what they may look at. */
export async function planFlowChecks(
  lake: LakeHandles,
  flow: Flow,
  plan: ChecksOf,
  dataset: Dataset | undefined,
  /** A FROM item with the new rows. Without it, the datasets that checks look at seem to have no rows: nothing is fetched of them. */
  rows?: Sql,
  signal?: AbortSignal,
): Promise<FlowChecks> {
  await using made = new AsyncDisposableStack();
  const beside: Beside[] = [];
  const relationTo = async (other: Dataset): Promise<Sql> => {
    const files = rows === undefined ? [] : await other.files();
    const relation = await other.relation(undefined, files, { fetched: false });
    beside.push({ relation, fetch: () => other.fetch(files) });
    return relation;
  };
  const context = await contextOf(lake, flow, plan, dataset, relationTo);
  const specs = [...flow.checks, ...keyCheck(flow), ...momentCheck(lake, flow)];
  const nearby = new Map<string, Sql>();
  if (context.previous !== undefined && lake.store.fetch !== undefined && rows !== undefined) {
    context.previousLike = (names) => {
      const key = JSON.stringify(names);
      if (!nearby.has(key)) nearby.set(key, context.previous!);
      return nearby.get(key)!;
    };
  }
  const place = { folder: lake.scratch, ...(signal ? { signal } : {}) };
  const alike = made.use(new AlikeRows(await lake.engine(), place));
  context.alike = alike.alike;
  const planned = await planChecks(specs, context, (name) => loadCheck(lake.registry, name));
  verifyMasks(planned, [plan.key, flow.split?.key ?? []].flat());
  if (rows !== undefined) {
    // What is asked for shows when the statements are made; they are made again with what was found for it.
    textsOf(planned);
    for (const key of nearby.keys()) {
      const names = JSON.parse(key) as string[];
      const one = await nearRows(await lake.engine(), dataset!, plan.output, names, rows);
      if (one === undefined) continue;
      nearby.set(key, one.relation);
      beside.push(one);
    }
    await fetchNamed(planned, beside);
    if (alike.isAsked) {
      const engine = await lake.engine();
      const earlier =
        context.previous === undefined ? undefined : await earlierOf(context, dataset!, rows, place, engine);
      await alike.search(() => rowsThatStay(rows, planned), originOfRows(context), earlier);
    }
  }
  const kept = made.move();
  return { context, planned, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Rows that are told apart by a column would be the same row once it is masked. Throws `config`. */
function verifyMasks(planned: readonly PlannedCheck[], keys: readonly string[]): void {
  for (const { spec, definition, options, context } of planned) {
    if (spec.on_fail !== "mask") continue;
    const key = Object.keys(definition.mask!(options, context)).find((column) => keys.includes(column));
    if (key === undefined) continue;
    throw new MillraceError("config", `the check \`${spec.check}\` would mask \`${key}\`, which is a key`, {
      hint: "name the other columns with `columns`",
      where: { check: spec.check, column: key },
    });
  }
}

/**
 * The earlier rows of the files that may hold, in each of the columns, a value between those of the new rows. Undefined where bounds
 * cannot tell: the same kinds of columns as in a merge.
 */
async function nearRows(
  engine: Engine,
  dataset: Dataset,
  columns: readonly Column[],
  names: readonly string[],
  rows: Sql,
): Promise<Beside | undefined> {
  const earlier = new Map(dataset.columns().map((column) => [column.name, column.type]));
  const usable = columns.filter(
    ({ name, type }) =>
      names.includes(name) && earlier.get(name) === type && !["float", "double", "binary"].includes(type as string),
  );
  if (usable.length === 0) return undefined;
  const ends = usable.flatMap(({ name }, index) =>
    ["min", "max"].map((end) => `CAST(${end}(${sqlName(name)}) AS VARCHAR) AS ${end}${index}`),
  );
  const [row] = await engine.query(`SELECT ${ends.join(", ")} FROM ${rows}`);
  const all = usable.map(({ name }, index) => ({ column: name, min: row![`min${index}`], max: row![`max${index}`] }));
  // Rows with a null in such a column are not compared.
  const isNone = all.some(({ min }) => min === null);
  const files = isNone ? [] : await dataset.files(undefined, { all } as RowFilter);
  const relation = await dataset.relation(undefined, files, { fetched: false });
  return { relation, fetch: () => dataset.fetch(files) };
}

/** Rows of a version that is there, beside those that are measured. */
interface Beside {
  relation: Sql;
  fetch(): Promise<void>;
}

/** Few checks look at earlier rows, or at those of other datasets: only what their SQL names is fetched. */
async function fetchNamed(planned: readonly PlannedCheck[], beside: readonly Beside[]): Promise<void> {
  const texts = textsOf(planned);
  for (const one of beside) if (texts.some((text) => text.includes(one.relation))) await one.fetch();
}

/** All SQL of the checks. */
function textsOf(planned: readonly PlannedCheck[]): Sql[] {
  const texts = planned.flatMap(({ definition, options, context }) =>
    Object.values(definition.measure(options, context)),
  );
  for (const rule of rejectPredicate(planned)) texts.push(rule.predicate, rule.reason);
  return texts;
}

/** Finds checks that do not fit the columns before anything is read. Throws `config`. */
export async function verifyFlowChecks(
  lake: LakeHandles,
  flow: Flow,
  plan: ChecksOf,
  dataset: Dataset | undefined,
): Promise<void> {
  await using checks = await planFlowChecks(lake, flow, plan, dataset);
  await verifyChecks(checks.planned, await lake.engine());
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
