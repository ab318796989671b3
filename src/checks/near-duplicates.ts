import * as z from "zod";
import {
  defineCheck,
  formatType,
  MillraceError,
  sqlName,
  sqlString,
  type Alike,
  type AlikeQuestion,
  type Check,
  type CheckContext,
  type Sql,
} from "../core/index.ts";
import { columnNamed, kindOf, requireKind } from "./shared/columns.ts";
import { countOf, ofRows } from "./shared/numbers.ts";
import { orderTerms, totalOrder } from "./shared/rows.ts";

const name = "near-duplicates";

const options = z
  .strictObject({
    text: z
      .union([z.string(), z.array(z.string()).min(1)])
      .optional()
      .describe(
        "Column or columns of text that are compared, letter case, punctuation and layout aside (MinHash). Texts of fewer than 20 letters and digits are not; of longer ones the first 20,000 characters.",
      ),
    similarity: z
      .number()
      .min(0.5)
      .max(1)
      .default(0.8)
      .describe("Texts are near when so great a share of their pieces of five characters is the same. Default 0.8."),
    hash: z
      .string()
      .optional()
      .describe("Column of 64-bit perceptual hashes, such as `phash` of images, instead of `text`."),
    bits: z
      .number()
      .int()
      .min(0)
      .max(12)
      .default(4)
      .describe("Images are near when at most so many bits of their hashes differ. Default 4."),
    order_by: z
      .array(z.string())
      .min(1)
      .optional()
      .describe(
        "Of rows that are alike the first one in this order stays: `[width desc, uri]`. Default: the smallest key, else the smallest row by all columns.",
      ),
    previous: z
      .boolean()
      .default(true)
      .describe(
        "Compare with the rows that are already in the dataset as well. Default true; costs a read of the hashes, or of sketches that are kept beside the dataset (about 90 bytes a text).",
      ),
  })
  .refine((given) => (given.text === undefined) !== (given.hash === undefined), {
    message: "either `text` or `hash` is needed, and not both",
  });
type Options = z.output<typeof options>;

function textColumns(options: Options): string[] {
  return options.text === undefined ? [] : [options.text].flat();
}

/** Throws `config` for columns that cannot be compared that way. */
function alikeOf(options: Options, context: CheckContext): Alike {
  for (const text of textColumns(options))
    requireKind(name, columnNamed(name, text, context), ["text"], "name a column of text");
  if (options.hash !== undefined) {
    const column = columnNamed(name, options.hash, context);
    const type = formatType(column.type);
    if (!/^(long|decimal\(20,0\))$/.test(type)) {
      throw new MillraceError(
        "config",
        `\`hash\` is \`${column.name}\` of type \`${type}\`, but a hash is a \`long\``,
        {
          hint: "name the column of the hash: `phash`",
          where: { check: name, column: column.name },
        },
      );
    }
  }
  if (context.alike === undefined) {
    throw new MillraceError("config", `the check \`${name}\` is for the rows of a flow`, { where: { check: name } });
  }
  return context.alike(questionOf(options, context));
}

/** Rows of the dataset that a merge replaces are not looked at: that is known to whoever answers. */
function questionOf(options: Options, context: CheckContext): AlikeQuestion {
  const known = new Set((context.previousColumns ?? context.columns).map((column) => column.name));
  const compared = options.hash === undefined ? textColumns(options) : [options.hash];
  const asked = {
    order: order(options, context),
    previous: options.previous && context.previous !== undefined && compared.every((column) => known.has(column)),
  };
  return options.hash === undefined
    ? { text: textColumns(options), similarity: options.similarity, ...asked }
    : { hash: options.hash, bits: options.bits, ...asked };
}

function order(options: Options, context: CheckContext): Sql[] {
  const key = context.key.map((column) => sqlName(columnNamed(name, column, context).name));
  // Bytes decide nothing that their hash would not, and are long.
  const binary = context.columns
    .filter((column) => kindOf(column) === "binary")
    .map(({ name: column }) => sqlName(column));
  const rest = totalOrder(context).map((column) => (binary.includes(column) ? `hash(${column})` : column));
  return [...orderTerms(name, options.order_by ?? [], context), ...key, ...rest];
}

const check: Check<Options> = {
  measure(options, context) {
    const { value, found } = alikeOf(options, context);
    return {
      alike:
        `(SELECT CAST(to_json({within: coalesce(sum(CASE WHEN millrace_known THEN 0 WHEN millrace_whole THEN millrace_rows ELSE millrace_rows - 1 END), 0)::BIGINT, ` +
        `known: coalesce(sum(millrace_rows) FILTER (WHERE millrace_known), 0)::BIGINT, example: min(millrace_like)}) AS VARCHAR) FROM ` +
        `(SELECT ${value} AS millrace_value, count(*) AS millrace_rows FROM data GROUP BY 1) JOIN ${found} USING (millrace_value))`,
    };
  },

  judge(options, measured) {
    const rows = countOf(measured["rows"]);
    const { within, known, example } = JSON.parse(String(measured["alike"])) as {
      within: number;
      known: number;
      example: string | null;
    };
    const failing = within + known;
    const facts = { rows, failing, within, known };
    const compared = (options.hash === undefined ? textColumns(options) : [options.hash])
      .map((column) => `\`${column}\``)
      .join(", ");
    const like =
      options.hash === undefined ? `at least ${options.similarity} similar to` : `within ${options.bits} bits of`;
    if (failing === 0) {
      const message = `no row of ${rows} has a ${compared} ${like} that of another`;
      return { status: "passed", message, failing, measured: facts };
    }
    const message =
      `${ofRows(failing, rows)} have a ${compared} ${like} that of a row before it` +
      `${known > 0 ? `, ${known} of them that of one already in the dataset` : ""}${example === null ? "" : `, for instance of ${example}`}`;
    return { status: "failed", message, failing, measured: facts };
  },

  failing(options, context) {
    const { value, found } = alikeOf(options, context);
    return `coalesce(${value} IN (SELECT millrace_value FROM ${found} WHERE millrace_whole), false)`;
  },

  qualify(options, context) {
    const { value, found } = alikeOf(options, context);
    return (
      `(coalesce(${value} IN (SELECT millrace_value FROM ${found} WHERE NOT millrace_whole), false) ` +
      `AND row_number() OVER (PARTITION BY ${value} ORDER BY ${order(options, context).join(", ")}) > 1)`
    );
  },

  reason(options, context) {
    const { value, found } = alikeOf(options, context);
    return `${sqlString("near-duplicate of ")} || (SELECT min(millrace_like) FROM ${found} WHERE millrace_value = ${value})`;
  },
};

export default defineCheck({
  name,
  title: "Near-duplicates",
  summary:
    "No row is almost the same as another one, of the run or of the dataset so far: texts by MinHash, images by perceptual hash; the first one stays.",
  options,
  needs: [],
  capabilities: { rows: true },
  examples: [
    {
      title: "Articles that were copied with small changes are set aside",
      yaml: "check: near-duplicates\ntext: body\nsimilarity: 0.8\non_fail: reject\n",
    },
    {
      title: "Of photos that look the same, keep the largest",
      yaml: "check: near-duplicates\nhash: phash\nbits: 4\norder_by: [width desc, uri]\non_fail: reject\n",
    },
  ],
  load: async () => check,
});
