import { sqlName, type Column, type Sql } from "../core/index.ts";
import { foldsOf } from "./folds.ts";
import type { LakeHandles } from "./lake.ts";

/** How a version falls into folds. */
export interface FoldReport {
  dataset: string;
  version: number;
  by: "random" | "time";
  rows: number;
  /** Rows of test, which are in no fold. */
  heldOut: number;
  /** By time: rows before all windows, which are only ever trained on. */
  history: number;
  folds: {
    fold: number;
    train: number;
    validation: number;
    /** Neither: later than the fold, or in the gap. */
    outside: number;
  }[];
  /** Sentences about strata that are spread unevenly, the worst first. */
  uneven: string[];
}

/** Counts the rows of each fold. Throws `usage` for a number of folds that cannot be. */
export async function reportFolds(
  lake: LakeHandles,
  reference: string,
  options: { folds: number; gap?: string; signal?: AbortSignal },
): Promise<FoldReport> {
  const { dataset, version } = await lake.resolve(reference);
  const columns = dataset.columns(version);
  const relation = await dataset.relation(version);
  const folded = foldsOf(lake, dataset.name, columns, options);
  const engine = await lake.engine();
  const byTime = folded.spec.by === "time";
  const places = Array.from({ length: options.folds }, (_, index) => index + 1);
  const counts: Sql[] = [
    "count(*) AS total",
    "count(*) FILTER (WHERE fold IS NULL) AS held",
    "count(*) FILTER (WHERE fold = 0) AS history",
    ...places.map((fold) => `count(*) FILTER (WHERE fold = ${fold}) AS v${fold}`),
    // A row may be in the train of several folds of time, and in the gap of one.
    ...(byTime ? places.map((fold) => `count(*) FILTER (WHERE ${folded.splitOf(fold)} = 'train') AS t${fold}`) : []),
  ];
  const [row] = await engine.query(
    `SELECT ${counts.join(", ")} FROM (SELECT *, ${folded.number} AS fold FROM ${relation})`,
    options.signal,
  );
  const count = (name: string): number => Number(row![name]);
  const inFolds = count("total") - count("held");
  const folds = places.map((fold) => {
    const validation = count(`v${fold}`);
    const train = byTime ? count(`t${fold}`) : inFolds - validation;
    return { fold, train, validation, outside: inFolds - validation - train };
  });
  return {
    dataset: dataset.name,
    version: version.number,
    by: folded.spec.by,
    rows: count("total"),
    heldOut: count("held"),
    history: count("history"),
    folds,
    uneven: byTime ? [] : await unevenStrata(lake, relation, folded.number, folded.spec.stratify, columns, options),
  };
}

const maximumStrata = 1000;

/** Strata that a fold has a fifth more or less of than it should, and more than one row. */
async function unevenStrata(
  lake: LakeHandles,
  relation: Sql,
  number: Sql,
  stratify: string | string[] | undefined,
  columns: readonly Column[],
  { folds, signal }: { folds: number; signal?: AbortSignal },
): Promise<string[]> {
  const names = [stratify ?? []].flat().filter((name) => columns.some((column) => column.name === name));
  if (names.length === 0) return [];
  const stratum = `left(concat_ws(', ', ${names.map((name) => `coalesce(CAST(${sqlName(name)} AS VARCHAR), 'NULL')`).join(", ")}), 60)`;
  const engine = await lake.engine();
  const rows = await engine.query(
    `WITH counted AS (SELECT stratum, fold, count(*) AS n FROM (SELECT ${stratum} AS stratum, ${number} AS fold FROM ${relation}) ` +
      `WHERE fold IS NOT NULL GROUP BY ALL), sums AS (SELECT stratum, sum(n) / ${folds} AS wished FROM counted GROUP BY 1 LIMIT ${maximumStrata}), ` +
      `wanted AS (SELECT * FROM sums, range(1, ${folds + 1}) AS f(fold)) ` +
      `SELECT stratum, w.fold::INTEGER AS fold, coalesce(n, 0)::BIGINT AS n, round(wished)::BIGINT AS wished ` +
      `FROM wanted AS w LEFT JOIN counted AS c USING (stratum, fold) ` +
      `WHERE abs(coalesce(n, 0) - wished) > greatest(1, 0.2 * wished) ORDER BY abs(coalesce(n, 0) - wished) / wished DESC, stratum, fold LIMIT 20`,
    signal,
  );
  return rows.map(
    ({ stratum: name, fold, n, wished }) =>
      `\`${name as string}\` has ${String(n)} rows in fold ${String(fold)}, not ${String(wished)}`,
  );
}
