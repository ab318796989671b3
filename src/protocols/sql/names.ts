import { MillraceError } from "../../core/index.ts";

/** How a dialect of SQL writes names. */
export interface NameRules {
  /** As people write it: `PostgreSQL`. */
  system: string;
  quote: '"' | "`";
  /** The longest name the server keeps; it cuts or refuses longer ones. */
  limit: number;
  unit: "bytes" | "characters";
}

export const postgresNames: NameRules = { system: "PostgreSQL", quote: '"', limit: 63, unit: "bytes" };
export const mysqlNames: NameRules = { system: "MySQL", quote: "`", limit: 64, unit: "characters" };

/**
 * One name (of a schema, table or column) as an identifier in SQL text.
 * Throws `config` for what no server can hold: an empty name, NUL, or more than the limit. A name that is too long must not
 * reach the server: PostgreSQL cuts it without a word, and then it is the name of something else.
 */
export function quoteName(rules: NameRules, name: string): string {
  if (name === "") throw new MillraceError("config", "a name in the request is empty");
  if (name.includes("\0")) {
    throw new MillraceError("config", `the name ${JSON.stringify(name)} holds the character NUL`, {
      hint: `${rules.system} has no such names; see \`millrace discover\``,
    });
  }
  const length = rules.unit === "bytes" ? Buffer.byteLength(name) : Array.from(name).length;
  if (length > rules.limit) {
    throw new MillraceError("config", `the name \`${name}\` has ${length} ${rules.unit}`, {
      hint: `names in ${rules.system} have at most ${rules.limit} ${rules.unit}; \`millrace discover\` lists them`,
    });
  }
  return rules.quote + name.replaceAll(rules.quote, rules.quote + rules.quote) + rules.quote;
}

/** Several names joined by dots: `"shop"."orders"`. */
export function quotePath(rules: NameRules, names: readonly string[]): string {
  return names.map((name) => quoteName(rules, name)).join(".");
}

/** A name that needs no quotes in the name of a stream. */
const plainName = /^[^."`\s][^."`]*(?<!\s)$/;

/** The name of a stream from its parts: `public.orders`, and `"odd.schema"."t able "` where a part holds dots, quotes or outer spaces. */
export function formatStreamName(parts: readonly string[]): string {
  return parts.map((part) => (plainName.test(part) ? part : `"${part.replaceAll('"', '""')}"`)).join(".");
}

/**
 * The parts of the name of a stream, as `formatStreamName` writes them. A part in double quotes or backticks may hold anything,
 * its own quote doubled. Upper and lower case are kept. Throws `config` when the quotes do not match.
 */
export function parseStreamName(text: string): string[] {
  const parts: string[] = [];
  let position = 0;
  for (;;) {
    const quote = text[position];
    if (quote === '"' || quote === "`") {
      let part = "";
      for (;;) {
        const end = text.indexOf(quote, position + 1);
        if (end < 0) throw badStreamName(text, "a quote is not closed");
        part += text.slice(position + 1, end);
        position = end + 1;
        if (text[position] !== quote) break;
        part += quote;
      }
      if (position < text.length && text[position] !== ".") throw badStreamName(text, "a closing quote ends a part");
      parts.push(part);
    } else {
      const dot = text.indexOf(".", position);
      const end = dot < 0 ? text.length : dot;
      parts.push(text.slice(position, end));
      position = end;
    }
    if (parts.at(-1) === "") throw badStreamName(text, "a part of it is empty");
    if (position >= text.length) return parts;
    position++;
  }
}

function badStreamName(text: string, why: string): MillraceError {
  return new MillraceError("config", `\`${text}\` is not the name of a table: ${why}`, {
    hint: 'write `schema.table`, and `"odd.schema"."t""able"` for parts that hold dots or quotes',
  });
}

/**
 * A statement of the user's, as a FROM item. The line break keeps a closing comment (`-- …`) from swallowing the bracket.
 * Throws `config` when there is nothing in it.
 */
export function wrapQuery(query: string, alias: string): string {
  const statement = query.trim().replace(/(?:\s*;)+$/, "");
  if (statement === "") throw new MillraceError("config", "`query` is empty", { hint: "write a SELECT" });
  return `(${statement}\n) AS ${alias}`;
}
