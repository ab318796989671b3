import * as z from "zod";
import { defineCheck, sqlName, type Check, type CheckContext, type Column, type Sql } from "../core/index.ts";
import { columnNamed, kindOf, requireKind } from "./shared/columns.ts";
import { percent } from "./shared/numbers.ts";

const options = z.strictObject({
  label: z.string().describe("Column of the label."),
  ignore: z
    .array(z.string())
    .default([])
    .describe("Columns that are not given to the model, so may know the label. Default: none."),
  max_power: z
    .number()
    .min(0)
    .max(1)
    .default(0.95)
    .describe(
      "A feature that removes this share of the errors of always guessing the commonest label leaks it. Default 0.95; 1 is a perfect predictor, 0 a useless one.",
    ),
  sample_rows: z
    .number()
    .int()
    .min(100)
    .max(1_000_000)
    .default(50_000)
    .describe("About how many rows are looked at, chosen by a hash of the row. Default 50000."),
});
type Options = z.output<typeof options>;

/** A numeric label with more values than this is a quantity: its ten quantile bins are the classes. */
const maxClasses = 50;
/** Numbers are also looked at in bins of about this many rows, where a threshold alone gives the label away. */
const rowsPerBin = 20;
const maxBins = 200;

function features(options: Options, context: CheckContext): Column[] {
  const left = new Set([
    options.label,
    ...options.ignore.map((name) => columnNamed("label-leakage", name, context).name),
  ]);
  if (context.split !== undefined) left.add(context.split);
  return context.columns.filter(
    (column) => !left.has(column.name) && kindOf(column) !== "nested" && kindOf(column) !== "binary",
  );
}

const isOrdered = (column: Column): boolean => ["number", "float", "temporal", "time"].includes(kindOf(column));

/**
 * How many labels the other rows of the same group predict (leave one out), and how many groups there are.
 * With the row itself left out, a value that occurs once predicts nothing, so identifiers do not look like leaks.
 */
function correct(group: Sql): Sql {
  return (
    `(SELECT coalesce(sum(CASE WHEN top[1] - 1 > coalesce(top[2], 0) THEN top[1] ELSE 0 END), 0) FROM ` +
    `(SELECT max(n, 2) AS top FROM (SELECT ${group} AS g, y, count(*) AS n FROM binned GROUP BY 1, 2) GROUP BY g))`
  );
}

const check: Check<Options> = {
  measure(options, context) {
    const label = columnNamed("label-leakage", options.label, context);
    requireKind(
      "label-leakage",
      label,
      ["text", "boolean", "number", "float", "temporal", "time", "uuid"],
      "name a column of single values",
    );
    const columns = features(options, context);
    const y = sqlName(label.name);
    const all = [label, ...columns].map((column) => sqlName(column.name)).join(", ");
    const values = columns.flatMap((column, index) => {
      const name = sqlName(column.name);
      const bins = `least(${maxBins}, greatest(2, count(*) OVER () // ${rowsPerBin}))`;
      return [
        `${name} AS v${index}`,
        ...(isOrdered(column)
          ? [
              `CASE WHEN ${name} IS NOT NULL THEN (rank() OVER (ORDER BY ${name}) - 1) * ${bins} // count(*) OVER () END AS b${index}`,
            ]
          : []),
      ];
    });
    const classes = isOrdered(label)
      ? `CASE WHEN (SELECT count(DISTINCT ${y}) FROM sampled) > ${maxClasses} THEN CAST((rank() OVER (ORDER BY ${y}) - 1) * 10 // count(*) OVER () AS VARCHAR) ELSE CAST(${y} AS VARCHAR) END`
      : `CAST(${y} AS VARCHAR)`;
    const powers = columns.map((column, index) =>
      isOrdered(column) ? `greatest(${correct(`v${index}`)}, ${correct(`b${index}`)})` : correct(`v${index}`),
    );
    const labelled = kindOf(label) === "float" ? `${y} IS NOT NULL AND isfinite(${y})` : `${y} IS NOT NULL`;
    return {
      found:
        `(WITH sampled AS MATERIALIZED (SELECT ${all} FROM data WHERE ${labelled} ` +
        `AND hash(${all}) % (SELECT greatest(1, count(*) // ${options.sample_rows}) FROM data) = 0), ` +
        `binned AS MATERIALIZED (SELECT ${[`${classes} AS y`, ...values].join(", ")} FROM sampled) ` +
        `SELECT CAST(to_json({rows: (SELECT count(*) FROM binned), base: (SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM binned GROUP BY y)), ` +
        `correct: [${powers.map((power) => `CAST(${power} AS BIGINT)`).join(", ")}]::BIGINT[]}) AS VARCHAR))`,
    };
  },

  judge(options, measured, context) {
    const found = JSON.parse(String(measured["found"])) as { rows: number; base: number; correct: number[] };
    const { rows, base } = found;
    const columns = features(options, context);
    if (rows === 0)
      return {
        status: "passed",
        message: `there is no row with a \`${options.label}\` to predict`,
        measured: { rows },
      };
    if (base === rows)
      return {
        status: "passed",
        message: `\`${options.label}\` has one value only, so nothing can give it away`,
        measured: { rows },
      };
    const powers = columns
      .map((column, index) => ({ name: column.name, power: (found.correct[index]! - base) / (rows - base) }))
      .sort((left, right) => right.power - left.power);
    const leaks = powers.filter(({ power }) => power >= options.max_power);
    const facts: Record<string, number> = { rows, base_accuracy: base / rows };
    for (const { name, power } of powers.slice(0, 20)) facts[`power:${name}`] = Math.max(0, power);
    if (leaks.length === 0) {
      const best = powers[0];
      const said =
        best === undefined
          ? "there is no other column"
          : `the strongest, \`${best.name}\`, removes ${percent(Math.max(0, best.power))} of the errors of a guess`;
      return { status: "passed", message: `no column predicts \`${options.label}\` alone: ${said}`, measured: facts };
    }
    const names = leaks.map(({ name, power }) => `\`${name}\` (removes ${percent(power)} of the errors of a guess)`);
    return {
      status: "failed",
      message: `\`${options.label}\` is predicted alone by ${names.join(", ")}`,
      measured: facts,
    };
  },
};

export default defineCheck({
  name: "label-leakage",
  title: "Label leakage",
  summary: "No single column gives the label away.",
  options,
  needs: [],
  capabilities: { rows: false },
  examples: [
    {
      title: "No feature knows the outcome",
      yaml: "check: label-leakage\nlabel: churned\nignore: [customer_id, closed_at]\n",
    },
  ],
  load: async () => check,
});
