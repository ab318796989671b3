import type { Context, GlobalFlags } from "../context.ts";
import { selectionOf, type SelectionFlags } from "../selection.ts";
import { withLake } from "../session.ts";
import { bytes, count } from "../text/numbers.ts";
import { table } from "../text/table.ts";

interface Flags extends GlobalFlags, SelectionFlags {
  readonly format: "parquet" | "csv" | "jsonl" | "arrow";
  readonly to: string;
}

export default async function exportDataset(this: Context, flags: Flags, reference: string): Promise<void> {
  const { output } = this;
  await withLake(this, flags, async (lake) => {
    const report = await lake.export(reference, {
      format: flags.format,
      to: flags.to,
      signal: this.signal,
      ...selectionOf(flags),
    });
    if (flags.json) {
      output.json(report);
      return;
    }
    const rows = report.files.map((file) => [file.path, count(file.rows), bytes(file.bytes), file.sha256.slice(0, 12)]);
    output.print(
      table(
        [{ title: "file" }, { title: "rows", align: "right" }, { title: "size", align: "right" }, { title: "sha256" }],
        rows,
      ),
    );
  });
}
