import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { dirname, relative, resolve, sep } from "node:path";
import type { Lake } from "../../pipeline/index.ts";
import { isShown, renderPreviewHtml } from "../../quality/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { printRows } from "../rows.ts";
import { selectionOf, type SelectionFlags } from "../selection.ts";
import { withLake } from "../session.ts";

interface Flags extends GlobalFlags, SelectionFlags {
  readonly rows?: number | undefined;
  readonly columns?: string | undefined;
  readonly html?: string | undefined;
}

/** Content of assets that goes into a page: of one asset, and of all together, bytes. Players load more from files. */
const assetBytes = 16 * 1024 ** 2;
const pageBytes = 64 * 1024 ** 2;

type Row = Readonly<Record<string, unknown>>;

/** The content that cards play or show, as long as there is room for it, and the files of the rest where they are on this machine. */
async function contentOf(
  lake: Lake,
  rows: readonly Row[],
  page: string,
  folder: string,
): Promise<{ objects: Map<string, Uint8Array>; files: Map<Row, string> }> {
  const objects = new Map<string, Uint8Array>();
  const files = new Map<Row, string>();
  const seen = new Set<unknown>();
  let held = 0;
  for (const row of rows) {
    const { object, uri, bytes, media_type: type, size, thumbnail, samples } = row;
    // Content is with the first row of an asset. Images have their thumbnails, and segments their samples.
    const isFirst = !seen.has(uri);
    seen.add(uri);
    if (
      !isShown(type) ||
      bytes instanceof Uint8Array ||
      thumbnail instanceof Uint8Array ||
      samples instanceof Uint8Array
    )
      continue;
    if (typeof object === "string") {
      if (objects.has(object)) continue;
      if (Number(size) <= assetBytes && held + Number(size) <= pageBytes) {
        held += Number(size);
        objects.set(object, await lake.asset(object));
        continue;
      }
      const file = lake.assetFile(object);
      if (file !== undefined) files.set(row, addressOf(file, page));
    } else if (isFirst && typeof uri === "string" && !/^[a-z][a-z0-9+.-]*:\/\//i.test(uri)) {
      const file = resolve(folder, uri);
      if (existsSync(file)) files.set(row, addressOf(file, page));
    }
  }
  return { objects, files };
}

/** A file as a page names it. */
function addressOf(file: string, page: string): string {
  return relative(dirname(page), file).split(sep).map(encodeURIComponent).join("/");
}

export default async function preview(this: Context, flags: Flags, reference: string): Promise<void> {
  await withLake(this, flags, async (lake, config) => {
    const result = await lake.preview(reference, {
      ...selectionOf(flags),
      ...(flags.rows === undefined ? {} : { rows: flags.rows }),
      ...(flags.columns === undefined ? {} : { columns: flags.columns.split(",").map((name) => name.trim()) }),
    });
    if (flags.html !== undefined) {
      const { dataset, version } = await lake.dataset(reference);
      const rows = result.rows as Record<string, unknown>[];
      const title = `${dataset.name}@${version.number}${flags.split === undefined ? "" : ` ${flags.split}`}`;
      const page = resolve(flags.html);
      const content = await contentOf(lake, rows, page, config.folder);
      await writeFile(page, renderPreviewHtml({ title, columns: result.columns, rows, ...content }));
      if (!flags.quiet) this.output.note(`the page is in ${flags.html}`);
      return;
    }
    printRows(this.output, result, flags.json ? "json" : "table");
    if (result.more && !flags.json && !flags.quiet)
      this.output.note("there are more rows: --rows shows as many as you say");
  });
}
