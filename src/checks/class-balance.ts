import * as z from "zod";
import { defineCheck, sqlName, type Check, type Measured } from "../core/index.ts";
import { columnNamed, requireKind } from "./shared/columns.ts";
import { countOf, percent, shortNumber } from "./shared/numbers.ts";

/** More different values than this are no classes. */
const maxClasses = 1000;

const options = z
  .strictObject({
    label: z.string().describe("Column of the class. Nulls are left out: `labels` is about them."),
    min_share: z.number().min(0).max(1).optional().describe("Smallest share that every class must have, 0 to 1."),
    min_rows: z.number().int().nonnegative().optional().describe("Fewest rows that every class must have."),
    max_ratio: z
      .number()
      .min(1)
      .optional()
      .describe("How many times larger the largest class may be than the smallest."),
    classes: z
      .array(z.union([z.string(), z.number(), z.boolean()]))
      .min(1)
      .optional()
      .describe("Classes that must be there; an absent one counts as 0 rows."),
  })
  .refine(
    ({ min_share, min_rows, max_ratio, classes }) =>
      [min_share, min_rows, max_ratio, classes].some((limit) => limit !== undefined),
    {
      message: "at least one of `min_share`, `min_rows`, `max_ratio` and `classes` is needed",
    },
  );
type Options = z.output<typeof options>;

/** Class → rows, the largest first. */
function classesOf(options: Options, measured: Measured): [string, number][] {
  const text = measured["classes"];
  const found = new Map(
    (typeof text === "string" ? (JSON.parse(text) as [string, string][]) : []).map(([name, rows]) => [
      name,
      Number(rows),
    ]),
  );
  for (const wanted of options.classes ?? []) {
    if (!found.has(String(wanted))) found.set(String(wanted), 0);
  }
  return [...found].sort((left, right) => right[1] - left[1]);
}

const check: Check<Options> = {
  measure(options, context) {
    const column = columnNamed("class-balance", options.label, context);
    requireKind(
      "class-balance",
      column,
      ["text", "boolean", "number", "float", "temporal", "time", "uuid"],
      "name a column of single values",
    );
    const name = sqlName(column.name);
    return {
      labelled: `count(${name})`,
      classes:
        `(SELECT CAST(to_json(list([v, CAST(n AS VARCHAR)])) AS VARCHAR) FROM (SELECT left(CAST(${name} AS VARCHAR), 200) AS v, count(*) AS n ` +
        `FROM data WHERE ${name} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ${maxClasses + 1}))`,
    };
  },

  judge(options, measured) {
    const total = countOf(measured["labelled"]);
    const classes = classesOf(options, measured);
    const facts: Record<string, number | string> = { labelled: total, classes: classes.length };
    const column = `\`${options.label}\``;
    if (total === 0) return { status: "failed", message: `${column} holds no class at all`, measured: facts };
    if (classes.length > maxClasses) {
      return {
        status: "failed",
        message: `${column} has more than ${maxClasses} different values, so it holds no classes`,
        measured: facts,
      };
    }
    const [largest, most] = classes[0]!;
    const [smallest, fewest] = classes.at(-1)!;
    const ratio = fewest === 0 ? Infinity : most / fewest;
    Object.assign(facts, { largest, largest_rows: most, smallest, smallest_rows: fewest });
    const problems: string[] = [];
    const below = (limit: number, share: boolean): string[] =>
      classes
        .filter(([, rows]) => (share ? rows / total : rows) < limit)
        .map(([name, rows]) => `\`${name}\` has ${rows} (${percent(rows / total)})`);
    const name = (list: string[]): string =>
      list.slice(-5).join(", ") + (list.length > 5 ? ` and ${list.length - 5} more` : "");
    if (options.min_share !== undefined) {
      const small = below(options.min_share, true);
      if (small.length > 0) problems.push(`${name(small)}, less than ${percent(options.min_share)} of ${total} rows`);
    }
    if (options.min_rows !== undefined) {
      const small = below(options.min_rows, false);
      if (small.length > 0) problems.push(`${name(small)}, fewer than ${options.min_rows} rows`);
    }
    if (options.max_ratio !== undefined && ratio > options.max_ratio) {
      const times = Number.isFinite(ratio) ? `${shortNumber(ratio)} times` : "infinitely many times";
      problems.push(`\`${largest}\` is ${times} as frequent as \`${smallest}\`, more than ${options.max_ratio}`);
    }
    const absent = (options.classes ?? []).filter((wanted) =>
      classes.some(([found, rows]) => found === String(wanted) && rows === 0),
    );
    if (absent.length > 0) problems.push(`there is no row of ${absent.map((wanted) => `\`${wanted}\``).join(", ")}`);
    return problems.length === 0
      ? {
          status: "passed",
          message: `${column} has ${classes.length} classes, from ${percent(fewest / total)} to ${percent(most / total)}`,
          measured: facts,
        }
      : { status: "failed", message: `${column}: ${problems.join("; ")}`, measured: facts };
  },
};

export default defineCheck({
  name: "class-balance",
  title: "Class balance",
  summary: "No class is too rare, and none is missing.",
  options,
  needs: [],
  capabilities: { rows: false },
  examples: [
    {
      title: "Every species is at least a twentieth",
      yaml: "check: class-balance\nlabel: species\nmin_share: 0.05\nmax_ratio: 10\non_fail: warn\n",
    },
  ],
  load: async () => check,
});
