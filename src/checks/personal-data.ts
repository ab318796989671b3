import * as z from "zod";
import {
  defineCheck,
  formatType,
  hasPersonalData,
  mayHavePersonalData,
  MillraceError,
  personalKindNames,
  personalKinds,
  sqlName,
  sqlString,
  type Check,
  type CheckContext,
  type Column,
  type PersonalKindName,
  type Sql,
} from "../core/index.ts";
import { columnShape, columnsOf, kindOf, requireKind } from "./shared/columns.ts";
import { countOf, ofRows } from "./shared/numbers.ts";

const national = personalKindNames.filter((kind) => "national" in personalKinds[kind]);

const options = z
  .strictObject({
    ...columnShape,
    column: z
      .string()
      .optional()
      .describe("Column to look into. Several: use `columns`. Default: every column with text."),
    kinds: z
      .array(z.enum([...personalKindNames, "national-id"]))
      .min(1)
      .default([...personalKindNames])
      .describe(
        `What to look for. \`national-id\` stands for ${national.map((kind) => `\`${kind}\``).join(", ")}. Default: all.`,
      ),
  })
  .refine(({ column, columns }) => column === undefined || columns === undefined, {
    message: "`column` and `columns` exclude each other",
  });
type Options = z.output<typeof options>;

function kindsOf({ kinds }: Options): PersonalKindName[] {
  return personalKindNames.filter(
    (kind) => kinds.includes(kind) || (kinds.includes("national-id") && national.includes(kind)),
  );
}

const isListOfText = ({ type }: Column): boolean =>
  typeof type !== "string" && type.type === "list" && type.element === "string";
const holdsText = ({ type }: Column): boolean => JSON.stringify(type).includes('"string"');

function lookedInto(options: Options, context: CheckContext): { column: Column; text: Sql }[] {
  const columns =
    options.column === undefined && options.columns === undefined
      ? context.columns.filter((column) => holdsText(column) && !bookkeeping.has(column.name))
      : columnsOf("personal-data", options, context);
  if (columns.length === 0) {
    throw new MillraceError("config", "the check `personal-data` has no column with text to look into", {
      hint: "name the columns to look into with `columns`",
      where: { check: "personal-data" },
    });
  }
  return columns.map((column) => {
    requireKind("personal-data", column, ["text", "nested", "number"], "name columns with text or whole numbers");
    const name = sqlName(column.name);
    return { column, text: kindOf(column) === "text" ? name : `CAST(${name} AS VARCHAR)` };
  });
}

/** What nobody wrote, and what assets are found by. */
const bookkeeping = new Set(["sha256", "object", "media_type"]);

/** Never null. Most texts are done with after one pass that looks for all kinds at once. */
function has(kinds: readonly PersonalKindName[], text: Sql): Sql {
  const each = kinds.map((kind) => `(${hasPersonalData(kind, text)})`).join(" OR ");
  return `coalesce(CASE WHEN ${mayHavePersonalData(kinds, text)} THEN ${each} ELSE false END, false)`;
}

const check: Check<Options> = {
  measure(options, context) {
    const kinds = kindsOf(options);
    const columns = lookedInto(options, context);
    const texts = columns.map(
      ({ text }, index) => `${text} AS t${index}, ${mayHavePersonalData(kinds, text)} AS m${index}`,
    );
    const found = columns.flatMap((_, index) =>
      kinds.map(
        (kind, at) =>
          `coalesce(CASE WHEN m${index} THEN ${hasPersonalData(kind, `t${index}`)} ELSE false END, false) AS f${index}_${at}`,
      ),
    );
    const flags = columns.map((_, index) => kinds.map((_kind, at) => `f${index}_${at}`));
    const count = (names: readonly string[]): Sql => `count(*) FILTER (WHERE ${names.join(" OR ")})`;
    const counts = flags.flatMap((names, index) =>
      names.map((name) => `${name}: ${count([name])}`).concat(`c${index}: ${count(names)}`),
    );
    // One column after the other and each kind once, whereas aggregates side by side would look again for every count.
    return {
      found:
        `(SELECT CAST(to_json({failing: ${count(flags.flat())}, ${counts.join(", ")}}) AS VARCHAR) ` +
        `FROM (SELECT ${found.join(", ")} FROM (SELECT ${texts.join(", ")} FROM data)))`,
    };
  },

  judge(options, measured, context) {
    const kinds = kindsOf(options);
    const columns = lookedInto(options, context);
    const rows = countOf(measured["rows"]);
    const found = JSON.parse(String(measured["found"])) as Record<string, number>;
    const failing = countOf(found["failing"]);
    const facts: Record<string, number> = { rows, failing };
    const parts: string[] = [];
    for (const [index, { column }] of columns.entries()) {
      const own = countOf(found[`c${index}`]);
      if (own === 0) continue;
      facts[`failing:${column.name}`] = own;
      const nouns = kinds.flatMap((kind, at) => {
        const times = countOf(found[`f${index}_${at}`]);
        if (times === 0) return [];
        facts[`${kind}:${column.name}`] = times;
        return [`${personalKinds[kind].noun} in ${times}`];
      });
      parts.push(`\`${column.name}\` has personal data in ${ofRows(own, rows)}: ${nouns.join(", ")}`);
    }
    if (failing === 0) {
      const names = columns.map(({ column }) => `\`${column.name}\``).join(", ");
      return {
        status: "passed",
        message: `no personal data was found in ${names} of ${rows} rows`,
        failing,
        measured: facts,
      };
    }
    return { status: "failed", message: parts.join("; "), failing, measured: facts };
  },

  failing(options, context) {
    const kinds = kindsOf(options);
    return `(${lookedInto(options, context)
      .map(({ text }) => has(kinds, text))
      .join(" OR ")})`;
  },

  mask(options, context) {
    const kinds = kindsOf(options);
    const mask = (text: Sql): Sql => `mask_personal_data(${text}, [${kinds.map(sqlString).join(", ")}])`;
    const masks = lookedInto(options, context).map(({ column }): [string, Sql] => {
      const name = sqlName(column.name);
      if (column.type === "string") return [column.name, mask(name)];
      if (isListOfText(column)) return [column.name, `list_transform(${name}, lambda text: ${mask("text")})`];
      throw new MillraceError(
        "config",
        `the check \`personal-data\` cannot mask \`${column.name}\` of type \`${formatType(column.type)}\``,
        {
          hint: "name columns with text, or lists of text, with `columns`",
          where: { check: "personal-data", column: column.name },
        },
      );
    });
    return Object.fromEntries(masks);
  },

  // Says what kind it is, never the value: reasons are read by more people than the data.
  reason(options, context) {
    const kinds = kindsOf(options);
    const parts = lookedInto(options, context).map(({ column, text }) => {
      const nouns = kinds.map(
        (kind) => `CASE WHEN ${hasPersonalData(kind, text)} THEN ${sqlString(personalKinds[kind].noun)} END`,
      );
      return `CASE WHEN ${has(kinds, text)} THEN ${sqlString(`\`${column.name}\` has `)} || concat_ws(', ', ${nouns.join(", ")}) END`;
    });
    return `concat_ws('; ', ${parts.join(", ")})`;
  },
};

export default defineCheck({
  name: "personal-data",
  title: "Personal data",
  summary: "No text holds e-mail addresses, telephone, card, bank account and identity numbers, or IP addresses.",
  options,
  needs: [],
  capabilities: { rows: true, mask: true },
  examples: [
    {
      title: "Transcripts and texts of scans with `[email]`, `[phone]` … in their place",
      yaml: "check: personal-data\ncolumns: [text]\non_fail: mask\n",
    },
    { title: "Transcripts without personal data", yaml: "check: personal-data\ncolumn: text\non_fail: reject\n" },
    {
      title: "Warn of cards and bank accounts anywhere",
      yaml: "check: personal-data\nkinds: [card, iban]\non_fail: warn\n",
    },
  ],
  load: async () => check,
});
