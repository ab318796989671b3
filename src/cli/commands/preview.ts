import type { Context, GlobalFlags } from "../context.ts";
import { printRows } from "../rows.ts";
import { withLake } from "../session.ts";

interface Flags extends GlobalFlags {
  readonly split?: string | undefined;
  readonly rows?: number | undefined;
  readonly columns?: string | undefined;
}

export default async function preview(this: Context, flags: Flags, reference: string): Promise<void> {
  await withLake(this, flags, async (lake) => {
    const result = await lake.preview(reference, {
      ...(flags.split === undefined ? {} : { split: flags.split }),
      ...(flags.rows === undefined ? {} : { rows: flags.rows }),
      ...(flags.columns === undefined ? {} : { columns: flags.columns.split(",").map((name) => name.trim()) }),
    });
    printRows(this.output, result, flags.json ? "json" : "table");
    if (result.more && !flags.json && !flags.quiet)
      this.output.note("there are more rows: --rows shows as many as you say");
  });
}
