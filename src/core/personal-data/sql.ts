import { sqlString } from "../engine-view.ts";
import type { Sql } from "../check.ts";
import { personalKindNames, personalKinds, type Form, type PersonalKindName } from "./kinds.ts";

/** Where the candidates of a mask are cut out. Texts that hold it lose it. */
const cut = "(chr(1) || 'millrace' || chr(2))";

const formsOf = (kind: PersonalKindName): readonly Form[] => personalKinds[kind].forms;
const beforeOf = ({ before = "^|[^\\w.\\-+]" }: Form): string => before;
/** The candidate is the second group, what stands before it the first. */
const patternOf = (form: Form): Sql => sqlString(`(${beforeOf(form)})(${form.pattern})`);
/** Binds a value once, which a macro would repeat at each use of its parameter. */
const bound = (name: string, value: Sql, body: Sql): Sql => `list_transform([${value}], lambda ${name}: ${body})[1]`;
const macro = (name: string, parameters: string, body: Sql): Sql => `CREATE MACRO ${name}(${parameters}) AS (${body})`;

/**
 * A predicate over a text expression that is true where personal data of the kinds may be: one pass over the text, which most texts end with.
 */
export function mayHavePersonalData(kinds: readonly PersonalKindName[], text: Sql): Sql {
  const forms = kinds.flatMap(formsOf);
  const anywhere = forms
    .filter(({ contains }) => contains !== "@")
    .map((form) => `(?:${beforeOf(form)})(?:${form.pattern})`);
  const tests: Sql[] = anywhere.length < forms.length ? [`contains(${text}, '@')`] : [];
  if (anywhere.length > 0) tests.push(`regexp_matches(${text}, ${sqlString(anywhere.join("|"))})`);
  return `(${tests.join(" OR ")})`;
}

/** A predicate over a text expression, which is repeated in it: personal data of the kind is there. Not for null. */
export function hasPersonalData(kind: PersonalKindName, text: Sql): Sql {
  return formsOf(kind)
    .map((form) => {
      const candidates = `regexp_matches(${text}, ${patternOf(form)})`;
      if (form.valid === undefined) return candidates;
      const valid = `len(list_filter(regexp_extract_all(${text}, ${patternOf(form)}, 2), lambda found: ${form.valid("found")})) > 0`;
      return `CASE WHEN ${candidates} THEN ${valid} ELSE false END`;
    })
    .join(" OR ");
}

/** `content` with what is of the form replaced. */
function maskedForm(kind: PersonalKindName, form: Form): Sql {
  const pattern = patternOf(form);
  if (form.valid === undefined) return `regexp_replace(content, ${pattern}, '\\1[${kind}]', 'g')`;
  // What is between the candidates, each with the candidate behind it; the last one has none. All at once: one after the other is quadratic.
  const pieces = `string_split(regexp_replace(content, ${pattern}, '\\1' || ${cut}, 'g'), ${cut})`;
  const pairs = `list_zip(${pieces}, regexp_extract_all(content, ${pattern}, 2))`;
  const candidate = `CASE WHEN ${form.valid("pair[2]")} THEN '[${kind}]' ELSE pair[2] END`;
  const joined = `array_to_string(list_transform(${pairs}, lambda pair: CASE WHEN pair[2] IS NULL THEN pair[1] ELSE pair[1] || ${candidate} END), '')`;
  return `CASE WHEN regexp_matches(content, ${pattern}) THEN ${joined} ELSE content END`;
}

const maskOf = (kind: PersonalKindName): string => `millrace_mask_${kind.replaceAll("-", "_")}`;

/** Statements that make the engine's function `mask_personal_data(text[, kinds])`, and those that it is made of. */
export function personalDataFunctions(): Sql[] {
  const national = (kind: PersonalKindName): string[] => ("national" in personalKinds[kind] ? ["national-id"] : []);
  const wanted = (kind: PersonalKindName): Sql =>
    `list_has_any(kinds, [${[kind, ...national(kind)].map(sqlString).join(", ")}])`;
  const start = `replace(content, ${cut}, '')`;
  const all = personalKindNames.reduce((text, kind) => `${maskOf(kind)}(${text})`, start);
  const some = personalKindNames.reduce(
    (text, kind) =>
      bound("before_it", text, `CASE WHEN ${wanted(kind)} THEN ${maskOf(kind)}(before_it) ELSE before_it END`),
    start,
  );
  const where = (masked: Sql): Sql =>
    `CASE WHEN millrace_may_have_personal_data(text) THEN ${bound("content", "text", masked)} ELSE text END`;
  return [
    macro("millrace_may_have_personal_data", "content", mayHavePersonalData(personalKindNames, "content")),
    ...personalKindNames.map((kind) =>
      macro(
        maskOf(kind),
        "text",
        formsOf(kind).reduce((text, form) => bound("content", text, maskedForm(kind, form)), "text"),
      ),
    ),
    `CREATE MACRO mask_personal_data(text) AS (${where(all)}), (text, kinds) AS (${where(some)})`,
  ];
}
