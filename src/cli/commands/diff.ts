import { MillraceError } from "../../core/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { paint } from "../output.ts";
import { withLake } from "../session.ts";
import { escapeData } from "../text/escape.ts";
import { count } from "../text/numbers.ts";
import { pairs, table } from "../text/table.ts";
import { cell } from "../text/values.ts";

const nameOf = (reference: string): string => reference.split("@")[0]!;
const signed = (value: number): string => (value > 0 ? `+${count(value)}` : count(value));

export default async function diff(this: Context, flags: GlobalFlags, before: string, after: string): Promise<void> {
  if (nameOf(before) !== nameOf(after)) {
    throw new MillraceError("usage", `\`${before}\` and \`${after}\` are different datasets`, {
      hint: `name two versions of one: millrace diff ${nameOf(before)}@1 ${nameOf(before)}`,
    });
  }
  const { output } = this;
  await withLake(this, flags, async (lake) => {
    const found = await lake.diff(before, after);
    if (flags.json) {
      output.json({ dataset: nameOf(before), ...found });
      return;
    }
    output.print(paint(output, "bold", `${nameOf(before)}@${found.before} → ${nameOf(before)}@${found.after}`));
    output.print(
      pairs([
        [
          "rows",
          `${count(found.rowsBefore)} → ${count(found.rowsAfter)} (${signed(found.rowsAfter - found.rowsBefore)})`,
        ],
        ["added", count(found.rowsAdded)],
        ["removed", count(found.rowsRemoved)],
        [
          "changed",
          found.key.length === 0
            ? "not told apart: the flow has no key"
            : `${count(found.rowsChanged)} by ${escapeData(found.key.join(", "))}`,
        ],
        ["files", `+${count(found.filesAdded)} −${count(found.filesRemoved)}`],
        ["columns", found.schema.length === 0 ? "the same" : escapeData(found.schema.join("; "))],
      ]),
    );
    for (const [title, rows] of Object.entries(found.samples)) {
      const names = Object.keys(rows[0] ?? {});
      if (names.length === 0) continue;
      output.print(`\nsome ${title} rows`);
      output.print(
        table(
          names.map((name) => ({ title: name })),
          rows.map((row) => names.map((name) => cell(row[name]))),
          output.width,
        ),
      );
    }
  });
}
