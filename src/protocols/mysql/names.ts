import { MillraceError } from "../../core/index.ts";
import { formatStreamName, mysqlNames, parseStreamName, quoteName as quote } from "../sql/names.ts";

/** A table of a database. */
export interface TableName {
  database: string;
  table: string;
}

/** A quoted identifier: `` `a``b` ``. */
export function quoteName(name: string): string {
  return quote(mysqlNames, name);
}

export function quoteTable({ database, table }: TableName): string {
  return `${quoteName(database)}.${quoteName(table)}`;
}

/** A literal that means the same under every `sql_mode` and character set. */
export function quoteText(text: string): string {
  return /^[\w .,:+-]*$/.test(text) ? `'${text}'` : `_utf8mb4 X'${Buffer.from(text).toString("hex")}'`;
}

/** `orders` for a table of the connection's own database, else `shop.orders`. */
export function formatStream({ database, table }: TableName, currentDatabase: string | undefined): string {
  return formatStreamName(database === currentDatabase ? [table] : [database, table]);
}

/** The table that a stream's name means. Throws `config` when it names no database and the connection has none. */
export function parseStream(stream: string, currentDatabase: string | undefined): TableName {
  const parts = parseStreamName(stream);
  if (parts.length > 2) {
    throw new MillraceError("config", `\`${stream}\` is not the name of a table: it has ${parts.length} parts`, {
      hint: 'write `database.table`, and `"odd.table"` for names that hold dots',
      where: { stream },
    });
  }
  const [first, second] = parts as [string, string?];
  if (second !== undefined) return { database: first, table: second };
  if (currentDatabase !== undefined) return { database: currentDatabase, table: first };
  throw new MillraceError("config", `the stream \`${stream}\` names no database, and the connection has none`, {
    hint: `write <database>.${stream}, or set \`database\` on the connection`,
    where: { stream },
  });
}
