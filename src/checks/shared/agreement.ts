import { sqlName, type Sql } from "../../core/index.ts";

/** The columns of a table of labels. */
export interface LabelColumns {
  item: readonly string[];
  /** Absent: each row of an item is the label of another annotator. */
  annotator?: string | undefined;
  label: string;
}

const noneNull = (columns: readonly string[]): Sql =>
  columns.map((name) => `${sqlName(name)} IS NOT NULL`).join(" AND ");
/** An item as one value. */
export const itemOf = (columns: readonly string[]): Sql =>
  columns.length === 1
    ? sqlName(columns[0]!)
    : `struct_pack(${columns.map((name, index) => `i${index} := ${sqlName(name)}`).join(", ")})`;

/**
 * `unit`, `who`, `v`: what each annotator said of each item, for `data`. Several labels by one annotator are one value, the set of them; a null
 * label is none.
 */
function ratings({ item, annotator, label }: LabelColumns): Sql {
  const value = `CAST(${sqlName(label)} AS VARCHAR)`;
  const there = noneNull([...item, label, ...(annotator === undefined ? [] : [annotator])]);
  return annotator === undefined
    ? `SELECT ${itemOf(item)} AS unit, NULL AS who, [${value}] AS v FROM data WHERE ${there}`
    : `SELECT ${itemOf(item)} AS unit, ${sqlName(annotator)} AS who, list_sort(list_distinct(list(${value}))) AS v FROM data WHERE ${there} GROUP BY ALL`;
}

/**
 * WITH queries over `data`: `ratings`, `counts` (how many said the same of an item), and `units`, the items with two annotators or more:
 * `m` labels, `s` the sum of the squares of the counts, `score` the share of pairs of annotators that agree.
 */
export function classQueries(columns: LabelColumns): Sql {
  return (
    `ratings AS (${ratings(columns)}), ` +
    "counts AS (SELECT unit, v, count(*)::DOUBLE AS n FROM ratings GROUP BY ALL), " +
    "units AS (SELECT unit, sum(n) AS m, sum(n * n) AS s, (sum(n * n) - sum(n)) / (sum(n) * (sum(n) - 1)) AS score FROM counts GROUP BY unit HAVING sum(n) > 1)"
  );
}

/** What the coefficients are made of, as JSON: see `ClassFacts`. */
export function classFacts(columns: LabelColumns): Sql {
  const value = (expression: Sql, from: Sql): Sql => `(SELECT ${expression} FROM ${from})`;
  const rated = "(SELECT * FROM ratings WHERE unit IN (SELECT unit FROM units))";
  const shares = `(SELECT who, v, count(*) / sum(count(*)) OVER (PARTITION BY who) AS p FROM ${rated} GROUP BY who, v)`;
  const facts = {
    items: value("count(*)", "units"),
    percent: value("avg(score)", "units"),
    fewest: value("min(m)", "units"),
    most: value("max(m)", "units"),
    labels: value("coalesce(sum(m), 0)", "units"),
    disagreement: value("sum((m * m - s) / (m - 1))", "units"),
    squares: value("sum(t * t)", "(SELECT sum(n) AS t FROM counts WHERE unit IN (SELECT unit FROM units) GROUP BY v)"),
    annotators: value("count(DISTINCT who)", rated),
    chance: value("sum(p)", `(SELECT product(p) AS p FROM ${shares} GROUP BY v HAVING count(*) = 2)`),
  };
  const members = Object.entries(facts).map(([name, sql]) => `${name}: ${sql}`);
  return `(WITH ${classQueries(columns)} SELECT CAST(to_json({${members.join(", ")}}) AS VARCHAR))`;
}

/** Of the items that two annotators or more have labelled. */
export interface ClassFacts {
  items: number;
  /** Mean share of pairs of annotators of an item that agree. */
  percent: number | null;
  /** Fewest and most labels of one item. */
  fewest: number | null;
  most: number | null;
  labels: number;
  /** Σ over items of ordered pairs that disagree, each item by its labels − 1. */
  disagreement: number | null;
  /** Σ over classes of the square of their labels. */
  squares: number | null;
  annotators: number;
  /** Σ over classes of the product of both annotators' shares of it. */
  chance: number | null;
}

/** Corrected for chance; undefined where there is but one class, because chance then agrees too. */
const corrected = (observed: number, chance: number): number | undefined =>
  1 - chance < 1e-12 ? undefined : (observed - chance) / (1 - chance);

/** Cohen 1960: of two annotators, each with classes as frequent as their own. */
export const cohen = ({ percent, chance }: ClassFacts): number | undefined => corrected(percent ?? 0, chance ?? 0);

/** Fleiss 1971: of any annotators, with classes as frequent as among all labels. Wants as many labels for every item. */
export const fleiss = ({ percent, squares, labels }: ClassFacts): number | undefined =>
  corrected(percent ?? 0, (squares ?? 0) / labels ** 2);

/** Krippendorff's α of nominal data: of any annotators and any number of labels an item (Krippendorff 2011, “Computing …”, D). */
export function krippendorff({ labels, disagreement, squares }: ClassFacts): number | undefined {
  const expected = (labels ** 2 - (squares ?? 0)) / (labels * (labels - 1));
  return expected < 1e-12 ? undefined : 1 - (disagreement ?? 0) / labels / expected;
}

/**
 * WITH queries over `data` that end in `units`: `score` is the mean over pairs of annotators of an item of 2 Σ IoU / (boxes of both). Two boxes
 * are a pair when each is the other's best of its class; boxes without a pair count as 0, and two annotators who both found nothing agree.
 */
export function boxQueries(
  { item, annotator, label }: LabelColumns & { annotator: string },
  box: readonly string[],
): Sql {
  const [left, top, right, bottom] = box.map((name) => `CAST(${sqlName(name)} AS DOUBLE)`);
  const overlap = (from: string, to: string): Sql =>
    `greatest(0, least(a.${to}, b.${to}) - greatest(a.${from}, b.${from}))`;
  const inner = `${overlap("x0", "x1")} * ${overlap("y0", "y1")}`;
  const area = (alias: string): Sql => `(${alias}.x1 - ${alias}.x0) * (${alias}.y1 - ${alias}.y0)`;
  return (
    `boxes AS (SELECT ${itemOf(item)} AS unit, ${sqlName(annotator)} AS who, CAST(${sqlName(label)} AS VARCHAR) AS v, ${left} AS x0, ${top} AS y0, ${right} AS x1, ${bottom} AS y1, ` +
    `row_number() OVER () AS id FROM data WHERE ${noneNull([...item, annotator])}), ` +
    "seen AS (SELECT unit, who, count(x0 + y0 + x1 + y1) AS n FROM boxes GROUP BY ALL), " +
    "pairs AS (SELECT a.unit, a.who AS a, b.who AS b, a.n + b.n AS n FROM seen AS a JOIN seen AS b ON a.unit = b.unit AND a.who < b.who), " +
    "near AS (SELECT a.unit, a.who AS a, b.who AS b, a.id AS i, b.id AS j, " +
    `${inner} / nullif(${area("a")} + ${area("b")} - ${inner}, 0) AS iou ` +
    "FROM boxes AS a JOIN boxes AS b ON a.unit = b.unit AND a.who < b.who AND a.v IS NOT DISTINCT FROM b.v), " +
    "best AS (SELECT *, row_number() OVER (PARTITION BY i, b ORDER BY iou DESC, j) AS of_i, row_number() OVER (PARTITION BY j, a ORDER BY iou DESC, i) AS of_j FROM near WHERE iou > 0), " +
    "matched AS (SELECT unit, a, b, sum(iou) AS iou FROM best WHERE of_i = 1 AND of_j = 1 GROUP BY ALL), " +
    "units AS (SELECT unit, avg(CASE WHEN n = 0 THEN 1 ELSE 2 * coalesce(iou, 0) / n END) AS score FROM pairs LEFT JOIN matched USING (unit, a, b) GROUP BY unit)"
  );
}
