import { isMillraceError, MillraceError, sqlName, suggestion, type Column, type Sql } from "../core/index.ts";
import { emptyRelation } from "../engine/index.ts";
import { verifyNear } from "../feed/near-checks.ts";
import { splitExpression } from "../feed/split.ts";
import type { Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import type { RunPlan } from "./runs.ts";
import { readsRelations, type Reads } from "./reads.ts";

const noReads: Reads = {};

/**
 * The SELECT from the relation of input rows to output rows: transform, split, and one expression per output column.
 * `available` are the columns that transform and split give; what the dataset has beyond them is null.
 */
function outputSelect(
  flow: Flow,
  available: readonly Column[],
  output: readonly Column[],
  reads: readonly Sql[],
): (input: string) => string {
  const names = new Set(available.map((column) => column.name));
  const list = output.map((column) =>
    names.has(column.name) ? sqlName(column.name) : `NULL AS ${sqlName(column.name)}`,
  );
  return (input) => `SELECT ${list.join(", ")} FROM (${rowsSelect(flow, available, reads)(input)})`;
}

/** The SELECT of a run: output rows, without those whose key is suppressed. */
export async function admittedSelect(lake: LakeHandles, flow: Flow, plan: RunPlan): Promise<(input: string) => string> {
  const enriched = new Set(plan.enriched);
  const available = plan.made.filter(({ name }) => !enriched.has(name));
  const select = outputSelect(flow, available, plan.output, await readsRelations(lake, plan.reads ?? noReads));
  return plan.admitted === undefined ? select : (input) => `SELECT * FROM (${select(input)}) WHERE ${plan.admitted}`;
}

/** Transform and split, before the columns are fitted to the dataset. `reads`: queries with names that the transform reads too. */
export function rowsSelect(flow: Flow, available: readonly Column[], reads: readonly Sql[]): (input: string) => string {
  return (input) => {
    const rows =
      flow.transform === undefined
        ? `SELECT * FROM ${input}`
        : transformOf(flow.transform, `SELECT * FROM ${input}`, reads);
    if (flow.split === undefined) return rows;
    const before = available.filter((column) => column.name !== flow.split!.into);
    return `SELECT *, ${splitExpression(flow.split, before, flow.key ?? [])} AS ${sqlName(flow.split.into)} FROM (${rows})`;
  };
}

/** What a transform makes of the rows that a query gives. */
export function transformOf(transform: Sql, input: Sql, reads: readonly Sql[]): Sql {
  return `WITH ${[...reads, `input AS (${input})`].join(", ")} SELECT * FROM (${transform})`;
}

/** The columns that the flow makes out of the source's. Throws `config` when transform, split or key do not fit them. */
export async function flowColumns(
  lake: LakeHandles,
  flowName: string,
  flow: Flow,
  input: readonly Column[],
  reads: Reads,
): Promise<Column[]> {
  const where = { flow: flowName };
  let columns = [...input];
  if (flow.transform !== undefined) {
    const engine = await lake.engine();
    const relations = await readsRelations(lake, reads);
    try {
      columns = await engine.columnsOf(transformOf(flow.transform, `SELECT * FROM ${emptyRelation(input)}`, relations));
    } catch (error) {
      if (!isMillraceError(error)) throw error;
      throw new MillraceError("config", `the transform does not fit the columns of the source: ${error.message}`, {
        where,
        cause: error,
        hint: error.hint ?? `\`input\` has ${input.map((column) => `\`${column.name}\``).join(", ")}`,
      });
    }
  }
  const seen = new Set<string>();
  for (const { name } of columns) {
    if (seen.has(name.toLowerCase())) {
      throw new MillraceError(
        "config",
        `two columns are called \`${name}\` (upper and lower case are not told apart)`,
        {
          where: { ...where, column: name },
          hint: "give one of them another name with `transform`",
        },
      );
    }
    seen.add(name.toLowerCase());
  }
  if (flow.split !== undefined) {
    if (seen.has(flow.split.into.toLowerCase())) {
      throw new MillraceError(
        "config",
        `\`split\` writes the column \`${flow.split.into}\`, but the rows have one already`,
        {
          where,
          hint: "set `split.into` to another name",
        },
      );
    }
    // Asks for the expression once, so that a wrong column is found before anything is read.
    splitExpression(flow.split, columns, flow.key ?? []);
    verifyNear(flow.split.near ?? [], columns);
    columns.push({ name: flow.split.into, type: "string", doc: "train, validation or test" });
  }
  for (const name of flow.key ?? []) {
    if (!columns.some((column) => column.name === name)) {
      throw new MillraceError("config", `\`key\` names the column \`${name}\`, which the rows do not have`, {
        where: { ...where, column: name },
        hint: suggestion(
          name,
          columns.map((column) => column.name),
        ),
      });
    }
  }
  return columns;
}
