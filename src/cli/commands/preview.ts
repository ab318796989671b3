import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Lake } from "../../pipeline/index.ts";
import { renderPreviewHtml } from "../../quality/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { printRows } from "../rows.ts";
import { selectionOf, type SelectionFlags } from "../selection.ts";
import { withLake } from "../session.ts";

interface Flags extends GlobalFlags, SelectionFlags {
  readonly rows?: number | undefined;
  readonly columns?: string | undefined;
  readonly html?: string | undefined;
}

/** Content of assets that goes into a page, bytes. */
const pageBytes = 64 * 1024 ** 2;

/** The content that cards play or show, as long as there is room for it: images have their thumbnails. */
async function objectsOf(lake: Lake, rows: readonly Record<string, unknown>[]): Promise<Map<string, Uint8Array>> {
  const objects = new Map<string, Uint8Array>();
  let held = 0;
  for (const { object, size, thumbnail } of rows) {
    if (typeof object !== "string" || thumbnail instanceof Uint8Array || held + Number(size) > pageBytes) continue;
    held += Number(size);
    objects.set(object, await lake.asset(object));
  }
  return objects;
}

export default async function preview(this: Context, flags: Flags, reference: string): Promise<void> {
  await withLake(this, flags, async (lake) => {
    const result = await lake.preview(reference, {
      ...selectionOf(flags),
      ...(flags.rows === undefined ? {} : { rows: flags.rows }),
      ...(flags.columns === undefined ? {} : { columns: flags.columns.split(",").map((name) => name.trim()) }),
    });
    if (flags.html !== undefined) {
      const { dataset, version } = await lake.dataset(reference);
      const rows = result.rows as Record<string, unknown>[];
      const title = `${dataset.name}@${version.number}${flags.split === undefined ? "" : ` ${flags.split}`}`;
      const page = renderPreviewHtml({ title, columns: result.columns, rows, objects: await objectsOf(lake, rows) });
      await writeFile(resolve(flags.html), page);
      if (!flags.quiet) this.output.note(`the page is in ${flags.html}`);
      return;
    }
    printRows(this.output, result, flags.json ? "json" : "table");
    if (result.more && !flags.json && !flags.quiet)
      this.output.note("there are more rows: --rows shows as many as you say");
  });
}
