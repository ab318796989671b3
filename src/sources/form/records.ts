import { isUtf8 } from "node:buffer";
import { isMillraceError, type Column } from "../../core/index.ts";
import {
  checkedJson,
  elementsAt,
  isObjectAt,
  membersAt,
  originColumns,
  quoted,
  rejected,
  textAt,
  textOfMicros,
  type CollectedKind,
  type CollectedRecord,
  type CollectedRow,
} from "../collected/index.ts";
import type { Options, Question } from "./options.ts";
import { idField, scaleOf, trapField } from "./page.ts";

/** How long a form that was sent is remembered: the page may be sent again by going back, or by reloading. */
const remembersMs = 30 * 86_400_000;

/** Answers by the name of the question; empty ones are left out. */
type Answers = ReadonlyMap<string, readonly string[]>;

export function formKind(options: Options): CollectedKind {
  const questions = Object.entries(options.questions);
  return {
    columns: [
      { name: "answer_id", type: "string", doc: "Of the page that was sent, or the number of the request." },
      { name: "received_at", type: "timestamptz" },
      ...questions.flatMap(([name, question]) => columnsOf(name, question)),
      ...originColumns,
    ],
    senders: options.channels,
    remembersMs,
    *records(row) {
      const text = row.body.toString();
      try {
        const answers = isUtf8(row.body) ? answersOf(text, row) : undefined;
        yield answers === undefined
          ? rejected("the answers are not UTF-8", text)
          : recordOf(answers, text, row, questions);
      } catch (error) {
        if (!isMillraceError(error)) throw error;
        yield rejected(`the answers cannot be read: ${error.message}`, text);
      }
    },
  };
}

function columnsOf(name: string, question: Question): Column[] {
  const doc = question.text;
  switch (question.kind) {
    case "nps":
    case "csat":
      return [
        { name, type: "int", doc },
        {
          name: `${name}_class`,
          type: "string",
          doc: question.kind === "nps" ? "promoter (9, 10), passive (7, 8) or detractor." : "satisfied (4, 5) or not.",
        },
      ];
    case "rating":
      return [{ name, type: "int", doc }];
    case "choice":
      return [{ name, type: question.multiple ? { type: "list", element: "string" } : "string", doc }];
    case "text":
      return [{ name, type: "string", doc }];
  }
}

function answersOf(text: string, { meta }: CollectedRow): Answers {
  const answers = new Map<string, string[]>();
  const add = (name: string, value: string): void => {
    if (value.trim() === "") return;
    const list = answers.get(name);
    if (list === undefined) answers.set(name, [value]);
    else if (list.length < 200) list.push(value);
  };
  if (meta["type"] !== "application/json") {
    for (const [name, value] of new URLSearchParams(text)) add(name, value);
    return answers;
  }
  const root = checkedJson(text);
  if (!isObjectAt(text, root)) return answers;
  for (const [name, span] of membersAt(text, root)) {
    for (const each of elementsAt(text, span) ?? [span]) add(name, textAt(text, each) ?? "");
  }
  return answers;
}

function recordOf(
  answers: Answers,
  text: string,
  row: CollectedRow,
  questions: readonly (readonly [string, Question])[],
): CollectedRecord {
  // A program filled it in.
  if (answers.has(trapField)) return { values: [], isLeftOut: true };
  const id = answers.get(idField)?.[0]?.slice(0, 100);
  const values = [quoted(id ?? String(row.number)), quoted(textOfMicros(row.received))];
  let given = 0;
  for (const [name, question] of questions) {
    const said = answers.get(name) ?? [];
    given += said.length;
    if (said.length === 0 && question.required) return rejected(`\`${name}\` is not answered`, text);
    const json = valueOf(question, said);
    if (json === undefined) return rejected(`the answer to \`${name}\` is none of those that it can have`, text);
    values.push(...json);
  }
  if (given === 0) return rejected("nothing is answered", text);
  return { values, id };
}

/** The JSON of the columns of a question; undefined for an answer that it cannot have. */
function valueOf(question: Question, said: readonly string[]): string[] | undefined {
  if (question.kind === "choice") {
    if (!said.every((each) => question.choices.includes(each)) || (said.length > 1 && !question.multiple))
      return undefined;
    if (!question.multiple) return [quoted(said[0])];
    return [said.length === 0 ? "null" : `[${[...new Set(said)].map(quoted).join(",")}]`];
  }
  if (said.length > 1) return undefined;
  const answer = said[0];
  if (question.kind === "text") {
    // Browsers count a line break as one character and send it as two.
    const plain = answer?.replaceAll("\r\n", "\n");
    return plain !== undefined && plain.length > question.max_length ? undefined : [quoted(plain)];
  }
  const hasClass = question.kind !== "rating";
  if (answer === undefined) return hasClass ? ["null", "null"] : ["null"];
  const [first, last] = scaleOf(question);
  const score = /^\d{1,2}$/.test(answer) ? Number(answer) : -1;
  if (score < first || score > last) return undefined;
  return hasClass ? [String(score), quoted(classOf(question.kind, score))] : [String(score)];
}

/** Of NPS: promoters 9 and 10, passives 7 and 8. Of CSAT: the two highest of five. */
function classOf(kind: "nps" | "csat", score: number): string {
  if (kind === "csat") return score >= 4 ? "satisfied" : "unsatisfied";
  return score >= 9 ? "promoter" : score >= 7 ? "passive" : "detractor";
}
