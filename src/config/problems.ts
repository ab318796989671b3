import * as z from "zod";
import { MillraceError, nearest } from "../core/index.ts";

export type Path = readonly (string | number)[];

/** One thing that is wrong in a configuration. */
export interface Problem {
  path: Path;
  /** A sentence with names in backticks. Never a value of a connection: it may be a secret. */
  message: string;
  hint?: string;
  /** The key itself is the problem, whatever its value is. */
  unknownKey?: true;
  line?: number | undefined;
}

export function formatPath(path: Path): string {
  return path.reduce<string>(
    (text, step) => (typeof step === "number" ? `${text}[${step}]` : text === "" ? step : `${text}.${step}`),
    "",
  );
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  let current = schema;
  for (;;) {
    if (
      current instanceof z.ZodOptional ||
      current instanceof z.ZodDefault ||
      current instanceof z.ZodNullable ||
      current instanceof z.ZodPrefault ||
      current instanceof z.ZodReadonly
    ) {
      current = current._zod.def.innerType;
    } else if (current instanceof z.ZodPipe) current = current._zod.def.in;
    else return current;
  }
}

/** The schema that holds at a path, or undefined where the shape is free. */
export function schemaAt(schema: z.core.$ZodType, path: Path): z.core.$ZodType | undefined {
  const current = unwrap(schema);
  const [step, ...rest] = path;
  if (step === undefined) return current;
  if (current instanceof z.ZodObject) {
    const field = (current.shape as Record<string, z.core.$ZodType | undefined>)[String(step)];
    return field === undefined ? undefined : schemaAt(field, rest);
  }
  if (current instanceof z.ZodRecord) return schemaAt(current._zod.def.valueType, rest);
  if (current instanceof z.ZodArray) return schemaAt(current._zod.def.element, rest);
  if (current instanceof z.ZodUnion) {
    for (const option of current._zod.def.options) {
      const found = schemaAt(option, path);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** Keys that an object at this place may have. */
export function knownKeys(schema: z.core.$ZodType | undefined): string[] {
  if (schema === undefined) return [];
  const current = unwrap(schema);
  if (current instanceof z.ZodObject) return Object.keys(current.shape);
  if (current instanceof z.ZodUnion) return current._zod.def.options.flatMap((option) => knownKeys(option));
  return [];
}

const typeNames: Record<string, string> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a set of keys",
  record: "a set of keys",
  undefined: "missing",
  null: "empty",
};
const typeName = (type: string): string => typeNames[type] ?? type;

function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

const quoted = (names: readonly unknown[]): string => names.map((name) => `\`${String(name)}\``).join(", ");

function sentence(issue: z.core.$ZodIssue): { text: string; hint?: string } {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined
        ? { text: "is missing", hint: `it takes ${typeName(issue.expected)}` }
        : { text: `must be ${typeName(issue.expected)}, not ${typeName(typeOf(issue.input))}` };
    case "invalid_value": {
      const typed = typeof issue.input === "string" ? issue.input : undefined;
      const match = typed === undefined ? undefined : nearest(typed, issue.values.map(String));
      return {
        text: `must be ${issue.values.length === 1 ? "" : "one of "}${quoted(issue.values)}`,
        ...(match === undefined ? {} : { hint: `did you mean \`${match}\`?` }),
      };
    }
    case "invalid_union": {
      const expected = new Set<string>();
      for (const branch of issue.errors) {
        for (const inner of branch)
          if (inner.code === "invalid_type" && inner.path.length === 0) expected.add(typeName(inner.expected));
      }
      return { text: expected.size === 0 ? `is not valid: ${issue.message}` : `must be ${[...expected].join(" or ")}` };
    }
    case "invalid_key":
      return { text: issue.issues[0]?.message ?? issue.message };
    default:
      return { text: issue.message };
  }
}

/** What zod found, as sentences; `base` is where the schema begins in the configuration, `alsoKnown` are keys that others took out. */
export function problemsOf(
  error: z.ZodError,
  schema: z.core.$ZodType,
  base: Path = [],
  alsoKnown: readonly string[] = [],
): Problem[] {
  const problems: Problem[] = [];
  for (const issue of error.issues) {
    const inner = issue.path.map((step) => (typeof step === "symbol" ? String(step) : step));
    const path = [...base, ...inner];
    if (issue.code === "unrecognized_keys") {
      const known = [...new Set([...knownKeys(schemaAt(schema, inner)), ...(inner.length === 0 ? alsoKnown : [])])];
      const place = path.length === 0 ? "the configuration" : `\`${formatPath(path)}\``;
      for (const key of issue.keys) {
        const match = nearest(key, known);
        const list = known.length === 0 ? "it takes no keys" : `known keys are ${quoted(known)}`;
        problems.push({
          path: [...path, key],
          unknownKey: true,
          message: `\`${key}\` is not a known key of ${place}`,
          hint: match === undefined ? list : `did you mean \`${match}\`? ${list[0]!.toUpperCase()}${list.slice(1)}`,
        });
      }
      continue;
    }
    const { text, hint } = sentence(issue);
    const subject = path.length === 0 ? "the configuration" : `\`${formatPath(path)}\``;
    problems.push({ path, message: `${subject} ${text}`, ...(hint === undefined ? {} : { hint }) });
  }
  return problems;
}

/** One error for all problems: the first gives the place; several are listed with their lines. */
export function asConfigError(problems: readonly Problem[], file: string): MillraceError {
  const sorted = [...problems].sort((left, right) => (left.line ?? 0) - (right.line ?? 0));
  const first = sorted[0]!;
  const where = { file, ...(first.line === undefined ? {} : { line: first.line }) };
  if (sorted.length === 1) {
    return new MillraceError("config", first.message, {
      where,
      hint: first.hint ?? "`millrace describe` lists what a module takes",
    });
  }
  const shown = sorted.slice(0, 20).map((problem) => {
    const line = problem.line === undefined ? "" : `line ${problem.line}: `;
    return `\n    ${line}${problem.message}${problem.hint === undefined ? "" : ` (${problem.hint})`}`;
  });
  const more = sorted.length > shown.length ? `\n    and ${sorted.length - shown.length} more` : "";
  return new MillraceError("config", `the configuration has ${sorted.length} problems:${shown.join("")}${more}`, {
    where,
    hint: "mend these lines; `millrace describe <kind> <name>` lists what a module takes",
  });
}
