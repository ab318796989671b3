import { text } from "node:stream/consumers";
import { MillraceError } from "../../core/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { printRows } from "../rows.ts";
import { selectionOf, type SelectionFlags } from "../selection.ts";
import { withLake } from "../session.ts";

interface Flags extends GlobalFlags, Omit<SelectionFlags, "split"> {
  readonly csv: boolean;
  readonly rows?: number | undefined;
}

/** What fits a screen, and what fits a pipe without surprising anybody's memory. */
const onTerminal = 100;
const elsewhere = 10_000;

export default async function query(this: Context, flags: Flags, sql: string): Promise<void> {
  const statement = sql === "-" ? await text(process.stdin) : sql;
  if (statement.trim() === "") {
    throw new MillraceError("usage", "the query is empty", { hint: 'millrace query "select * from orders"' });
  }
  const { output } = this;
  const form = flags.json ? "json" : flags.csv ? "csv" : "table";
  const maximumRows = flags.rows ?? (form === "table" && output.width !== undefined ? onTerminal : elsewhere);
  await withLake(this, flags, async (lake) => {
    const result = await lake.query(statement, { ...selectionOf(flags), maximumRows, signal: this.signal });
    printRows(output, result, form);
    // Told even to those who asked for quiet: a result that is cut off must not pass for whole.
    if (result.more && form !== "json") output.note(`only the first ${maximumRows} rows are shown: --rows gives more`);
  });
}
