import { createHash } from "node:crypto";
import type { Options, Question } from "./options.ts";

/** What a person who fills in forms by program fills in, and nobody else sees. */
export const trapField = "website_address";
export const idField = "answer_id";

const style = `
:root { color-scheme: light dark; font: 1.1rem/1.5 system-ui, sans-serif; }
body { max-width: 42rem; margin: 2rem auto; padding: 0 1rem; }
fieldset, .question { border: 0; padding: 0; margin: 0 0 2rem; min-width: 0; }
legend, .question > label { display: block; font-weight: 600; padding: 0; margin-bottom: .5rem; }
.help { margin: 0 0 .5rem; }
.scale { display: flex; flex-wrap: wrap; gap: .25rem; }
.scale label { min-width: 2.75rem; min-height: 2.75rem; display: inline-flex; flex-direction: column; align-items: center; justify-content: center; }
.ends { display: flex; justify-content: space-between; font-size: .9rem; }
.choice { display: block; padding: .35rem 0; }
input[type=radio], input[type=checkbox] { width: 1.25rem; height: 1.25rem; }
textarea, input[type=text] { width: 100%; box-sizing: border-box; font: inherit; padding: .5rem; }
button { font: inherit; font-weight: 600; padding: .75rem 1.5rem; min-height: 2.75rem; }
:focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
.trap { position: absolute; left: -10000px; }
`;
const styleHash = createHash("sha256").update(style).digest("base64");

/** Nothing is loaded, nothing is run, and the form goes nowhere else. */
export const pagePolicy = (formAction: string): string =>
  `default-src 'none'; style-src 'sha256-${styleHash}'; form-action ${formAction}; base-uri 'none'`;

const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escaped = (text: string): string => text.replaceAll(/[&<>"']/g, (character) => entities[character]!);

interface PageOptions {
  /** Where the answers go. */
  action: string;
  /** For a page that is a file: it has no headers. */
  policy?: string;
  /** What makes a form that is sent twice one answer. */
  id?: string;
}

/** The form as a page that works without scripts, loads nothing and tells nobody. */
export function formPage(options: Options, { action, policy, id }: PageOptions): string {
  const questions = Object.entries(options.questions).map(([name, question]) => fieldOf(name, question));
  const head = policy === undefined ? "" : `<meta http-equiv="Content-Security-Policy" content="${escaped(policy)}">\n`;
  const body = `<h1>${escaped(options.title)}</h1>
${options.intro === undefined ? "" : `<p>${escaped(options.intro)}</p>\n`}<form method="post" action="${escaped(action)}" accept-charset="utf-8">
${questions.join("\n")}
<div class="trap" aria-hidden="true"><label>Leave this empty <input type="text" name="${trapField}" tabindex="-1" autocomplete="off"></label></div>
${id === undefined ? "" : `<input type="hidden" name="${idField}" value="${escaped(id)}">\n`}<button type="submit">${escaped(options.submit)}</button>
</form>`;
  return pageOf(options, head, body);
}

export const thanksPage = (options: Options): string =>
  pageOf(options, "", `<h1>${escaped(options.title)}</h1>\n<p role="status">${escaped(options.thanks)}</p>`);

function pageOf({ language, title }: Options, head: string, body: string): string {
  return `<!doctype html>
<html lang="${escaped(language)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
${head}<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`;
}

function fieldOf(name: string, question: Question): string {
  const required = question.required ? " required" : "";
  const help = question.help === undefined ? "" : `<p class="help" id="${name}-help">${escaped(question.help)}</p>\n`;
  const described = question.help === undefined ? "" : ` aria-describedby="${name}-help"`;
  const label = `${escaped(question.text)}${question.required ? ' <span aria-hidden="true">*</span>' : ""}`;
  if (question.kind === "text") {
    const attributes = `id="${name}" name="${name}" maxlength="${question.max_length}"${described}${required}`;
    const input =
      question.lines === 1
        ? `<input type="text" ${attributes}>`
        : `<textarea rows="${question.lines}" ${attributes}></textarea>`;
    return `<div class="question">\n<label for="${name}">${label}</label>\n${help}${input}\n</div>`;
  }
  const legend = `<fieldset${described}>\n<legend>${label}</legend>\n${help}`;
  if (question.kind === "choice") {
    const type = question.multiple ? "checkbox" : "radio";
    const needed = question.multiple ? "" : required;
    const choices = question.choices.map(
      (choice) =>
        `<label class="choice"><input type="${type}" name="${name}" value="${escaped(choice)}"${needed}> ${escaped(choice)}</label>`,
    );
    return `${legend}${choices.join("\n")}\n</fieldset>`;
  }
  const { low, high } = question;
  const [first, last] = scaleOf(question);
  const steps = Array.from({ length: last - first + 1 }, (_, index) => {
    const value = first + index;
    const meaning = value === first ? low : value === last ? high : undefined;
    const spoken = meaning === undefined ? "" : ` aria-label="${value}, ${escaped(meaning)}"`;
    return `<label><input type="radio" name="${name}" value="${value}"${spoken}${required}> ${value}</label>`;
  });
  const words =
    low === undefined && high === undefined
      ? ""
      : `\n<div class="ends" aria-hidden="true"><span>${escaped(low ?? "")}</span><span>${escaped(high ?? "")}</span></div>`;
  return `${legend}<div class="scale">\n${steps.join("\n")}\n</div>${words}\n</fieldset>`;
}

/** The lowest and the highest score. */
export function scaleOf(question: Extract<Question, { kind: "nps" | "csat" | "rating" }>): [number, number] {
  if (question.kind === "nps") return [0, 10];
  return [1, question.kind === "csat" ? 5 : question.maximum];
}
