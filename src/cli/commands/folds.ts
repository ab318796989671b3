import type { Context, GlobalFlags } from "../context.ts";
import { paint } from "../output.ts";
import { withLake } from "../session.ts";
import { escapeData } from "../text/escape.ts";
import { count } from "../text/numbers.ts";
import { table } from "../text/table.ts";

interface Flags extends GlobalFlags {
  readonly folds?: number | undefined;
  readonly gap?: string | undefined;
}

export default async function folds(this: Context, flags: Flags, reference: string): Promise<void> {
  const { output, signal } = this;
  await withLake(this, flags, async (lake) => {
    const report = await lake.folds(reference, {
      folds: flags.folds ?? 5,
      signal,
      ...(flags.gap === undefined ? {} : { gap: flags.gap }),
    });
    if (flags.json) {
      output.json(report);
      return;
    }
    const { dataset, version, rows, heldOut, history, by } = report;
    output.print(
      `${paint(output, "bold", `${escapeData(dataset)}@${version}`)}  ${count(rows)} rows, ${count(heldOut)} held out for test`,
    );
    if (by === "time") output.print(`${count(history)} rows lie before all folds and are only trained on`);
    const right = (title: string): { title: string; align: "right" } => ({ title, align: "right" });
    const shown = report.folds.map(({ fold, train, validation, outside }) => [
      String(fold),
      count(train),
      count(validation),
      ...(by === "time" ? [count(outside)] : []),
    ]);
    output.print(
      table(
        [right("fold"), right("train"), right("validation"), ...(by === "time" ? [right("later or in the gap")] : [])],
        shown,
        output.width,
      ),
    );
    for (const text of report.uneven) output.print(`  ${paint(output, "yellow", "!")} ${escapeData(text)}`);
    if (!flags.quiet)
      output.note(`next: millrace feed ${reference} --folds ${report.folds.length} --fold 1 --split train`);
  });
}
