import * as z from "zod";
import { defineCheck, MillraceError, sqlString, type Check, type CheckContext, type Sql } from "../core/index.ts";
import {
  boxQueries,
  classFacts,
  classQueries,
  cohen,
  fleiss,
  itemOf,
  krippendorff,
  type ClassFacts,
  type LabelColumns,
} from "./shared/agreement.ts";
import { columnNamed, requireKind } from "./shared/columns.ts";
import { countOf, numberOf, ofRows, percent, shortNumber } from "./shared/numbers.ts";

/** What a limit is, where none is given. */
const defaults = { percent: 1, iou: 0.5, cohen: 0.6, fleiss: 0.6, krippendorff: 0.667 } as const;

const options = z.strictObject({
  item: z
    .union([z.string(), z.array(z.string()).min(1)])
    .default("image")
    .describe("Column, or columns, of what was labelled. Default `image`, as in labels that Millrace reads."),
  annotator: z
    .string()
    .optional()
    .describe(
      "Column of who labelled it. Default `annotator`; without such a column each row of an item is taken for another annotator.",
    ),
  label: z.string().default("label").describe("Column of the class. Default `label`."),
  measure: z
    .enum(["percent", "iou", "cohen", "fleiss", "krippendorff"])
    .default("percent")
    .describe(
      "`percent`: pairs of annotators of an item that agree; `iou`: overlap of their boxes; both judge item by item. Over all items, corrected for chance: `cohen` for two annotators, `fleiss` for as many labels an item, `krippendorff` (α, nominal) for any. Default `percent`.",
    ),
  min: z
    .number()
    .min(-1)
    .max(1)
    .optional()
    .describe(
      `Least agreement, 1 is perfect. Default: ${Object.entries(defaults)
        .map(([name, value]) => `\`${name}\` ${value}`)
        .join(", ")}.`,
    ),
  box: z
    .array(z.string())
    .length(4)
    .default(["left", "top", "right", "bottom"])
    .describe(
      "Columns of the edges of a box, for `iou`. A row without them says that nothing was found. Default `[left, top, right, bottom]`.",
    ),
});
type Options = z.output<typeof options>;

const limitOf = ({ measure, min }: Options): number => min ?? defaults[measure];
const isByItem = ({ measure }: Options): boolean => measure === "percent" || measure === "iou";

function wrong(message: string, hint: string): MillraceError {
  return new MillraceError("config", `the check \`label-agreement\`: ${message}`, {
    hint,
    where: { check: "label-agreement" },
  });
}

/** Throws `config` for columns that are not there. */
function columnsOf(options: Options, context: CheckContext): LabelColumns {
  const named = (name: string): string => columnNamed("label-agreement", name, context).name;
  const hasDefault = context.columns.some(({ name }) => name === "annotator");
  const annotator = options.annotator ?? (hasDefault ? "annotator" : undefined);
  if (annotator === undefined && (options.measure === "iou" || options.measure === "cohen")) {
    throw wrong(
      `\`${options.measure}\` compares annotators, and no column says who they are`,
      "name it with `annotator`",
    );
  }
  if (options.measure === "iou") {
    for (const name of options.box)
      requireKind(
        "label-agreement",
        columnNamed("label-agreement", name, context),
        ["number", "float"],
        "name four columns of numbers with `box`",
      );
  }
  return {
    item: [options.item].flat().map(named),
    label: named(options.label),
    ...(annotator === undefined ? {} : { annotator: named(annotator) }),
  };
}

/** WITH queries that give `units`: each item that two have labelled, with its `score`. */
function unitQueries(options: Options, context: CheckContext): Sql {
  const columns = columnsOf(options, context);
  return options.measure === "iou"
    ? boxQueries({ ...columns, annotator: columns.annotator! }, options.box)
    : classQueries(columns);
}

/** Rounding may take a perfect score below 1. */
const isBelow = (options: Options): Sql => `score < ${limitOf(options)} - 1e-9`;

const coefficients = {
  cohen: { title: "Cohen's kappa", of: cohen },
  fleiss: { title: "Fleiss' kappa", of: fleiss },
  krippendorff: { title: "Krippendorff's alpha", of: krippendorff },
};

const check: Check<Options> = {
  measure(options, context) {
    const columns = columnsOf(options, context);
    if (!isByItem(options)) return { facts: classFacts(columns) };
    const contested = `SELECT unit FROM units WHERE ${isBelow(options)}`;
    return {
      facts:
        `(WITH ${unitQueries(options, context)} SELECT CAST(to_json({items: count(*), mean: avg(score), least: min(score), ` +
        `contested: count(*) FILTER (WHERE ${isBelow(options)}), ` +
        `failing: (SELECT count(*) FROM data WHERE ${itemOf(columns.item)} IN (${contested}))}) AS VARCHAR) FROM units)`,
    };
  },

  judge(options, measured) {
    const rows = countOf(measured["rows"]);
    const limit = limitOf(options);
    const text = String(measured["facts"]);
    if (isByItem(options)) {
      const { items, mean, least, contested, failing } = JSON.parse(text) as Record<string, number | null>;
      const facts = {
        rows,
        failing: countOf(failing),
        items: countOf(items),
        contested: countOf(contested),
        mean: numberOf(mean),
        least: numberOf(least),
      };
      if (facts.items === 0) {
        return {
          status: "passed",
          message: `no item has labels of two annotators in ${rows} rows`,
          failing: 0,
          measured: facts,
        };
      }
      const agree =
        options.measure === "iou"
          ? `boxes overlap by ${shortNumber(facts.mean!)}`
          : `annotators agree by ${percent(facts.mean!)}`;
      const message = `${agree} on average over ${facts.items} items`;
      if (facts.contested === 0) return { status: "passed", message, failing: 0, measured: facts };
      return {
        status: "failed",
        message: `${message}; ${facts.contested} of them are below ${shortNumber(limit)}, with ${ofRows(facts.failing, rows)}`,
        failing: facts.failing,
        measured: facts,
      };
    }
    const found = JSON.parse(text) as ClassFacts;
    const { title, of } = coefficients[options.measure as keyof typeof coefficients];
    const facts = {
      rows,
      items: found.items,
      labels: found.labels,
      annotators: found.annotators,
      percent: found.percent,
    };
    const unknown = (why: string): ReturnType<Check<Options>["judge"]> => ({
      status: "failed",
      message: `${title} cannot be told: ${why}`,
      measured: facts,
    });
    if (found.items === 0) return unknown("no item has labels of two annotators");
    if (options.measure === "cohen" && found.annotators !== 2) {
      return unknown(
        `it is of two annotators, and there are ${found.annotators}; \`fleiss\` or \`krippendorff\` suit more`,
      );
    }
    if (options.measure === "fleiss" && found.fewest !== found.most) {
      return unknown(`items have from ${found.fewest} to ${found.most} labels; \`krippendorff\` suits these`);
    }
    const value = of(found);
    if (value === undefined) return unknown("all labels are the same, and so they would be by chance");
    const message = `${title} is ${shortNumber(value)} over ${found.items} items with ${found.labels} labels (${percent(found.percent!)} agree)`;
    return {
      status: value < limit - 1e-9 ? "failed" : "passed",
      message: value < limit - 1e-9 ? `${message}, less than ${shortNumber(limit)}` : message,
      measured: { ...facts, [options.measure]: value },
    };
  },

  /** All rows of an item go together, whichever files they are in. The window is there because QUALIFY wants one. */
  qualify(options, context) {
    if (!isByItem(options)) {
      throw wrong(
        `\`${options.measure}\` is about all rows together, so it cannot reject rows`,
        "use `measure: percent` or `iou`, or another `on_fail`",
      );
    }
    const { item } = columnsOf(options, context);
    const contested = `WITH ${unitQueries(options, context)} SELECT unit FROM units WHERE ${isBelow(options)}`;
    return `(coalesce(${itemOf(item)} IN (${contested}), false) AND row_number() OVER () > 0)`;
  },

  reason(options, context) {
    const { item } = columnsOf(options, context);
    const score = `(WITH ${unitQueries(options, context)} SELECT any_value(score) FROM units WHERE unit = ${itemOf(item)})`;
    const what = options.measure === "iou" ? "boxes of the annotators overlap by " : "annotators agree by ";
    return `${sqlString(what)} || format('{:.3g}', ${score}) || ${sqlString(`, less than ${shortNumber(limitOf(options))}`)}`;
  },
};

export default defineCheck({
  name: "label-agreement",
  title: "Label agreement",
  summary:
    "Annotators who labelled the same item agree: share of pairs, Cohen's and Fleiss' kappa, Krippendorff's alpha, overlap of boxes.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    {
      title: "Items that annotators disagree on are set aside",
      yaml: "check: label-agreement\nitem: image\non_fail: reject\n",
    },
    {
      title: "Labels that are no better than chance stop the run",
      yaml: "check: label-agreement\nmeasure: krippendorff\nmin: 0.8\n",
    },
    {
      title: "Boxes of two annotators overlap",
      yaml: "check: label-agreement\nmeasure: iou\nmin: 0.5\non_fail: warn\n",
    },
  ],
  load: async () => check,
});
