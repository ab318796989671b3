import { MillraceError } from "../../core/index.ts";
import type { ExportOptions, ExportReport } from "../../pipeline/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { paint, type Output } from "../output.ts";
import { createProgress } from "../progress.ts";
import { selectionOf, type SelectionFlags } from "../selection.ts";
import { withLake } from "../session.ts";
import { escapeData } from "../text/escape.ts";
import { bytes, count, counted, seconds } from "../text/numbers.ts";
import { table } from "../text/table.ts";

interface Flags extends GlobalFlags, Omit<SelectionFlags, "split"> {
  readonly format: "parquet" | "csv" | "tsv" | "jsonl" | "json" | "arrow" | "webdataset" | "mds" | "tfrecord";
  readonly to: string;
  readonly store?: string | undefined;
  readonly split?: string | undefined;
  readonly columns?: string | undefined;
  readonly where?: string | undefined;
  readonly order?: "stored" | "shuffle" | undefined;
  readonly seed?: number | undefined;
  readonly shardSize?: number | undefined;
  readonly compression?: string | undefined;
  readonly as?: readonly string[] | undefined;
  readonly key?: string | undefined;
  readonly float32: boolean;
  readonly force: boolean;
}

export default async function exportDataset(this: Context, flags: Flags, reference: string): Promise<void> {
  const { output, signal } = this;
  await withLake(this, flags, async (lake) => {
    const progress = createProgress(reference, output.interactive && !flags.quiet && !flags.json);
    let report: ExportReport;
    try {
      report = await lake.export(reference, {
        ...optionsOf(flags),
        signal,
        onProgress: (state) => progress.show(state),
      });
    } finally {
      progress.stop();
    }
    if (flags.json) output.json(report);
    else print(output, report);
  });
}

function optionsOf(flags: Flags): ExportOptions {
  return {
    format: flags.format,
    to: flags.to,
    force: flags.force,
    ...(flags.store === undefined ? {} : { store: flags.store }),
    ...selectionOf({ ...flags, split: undefined }),
    ...(flags.split === undefined ? {} : { split: listed(flags.split) }),
    ...(flags.columns === undefined ? {} : { columns: listed(flags.columns) }),
    ...(flags.where === undefined ? {} : { where: flags.where }),
    ...(flags.order === undefined ? {} : { order: flags.order }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
    ...(flags.shardSize === undefined ? {} : { shardBytes: flags.shardSize }),
    ...(flags.compression === undefined ? {} : { compression: flags.compression }),
    ...(flags.as === undefined ? {} : { files: Object.fromEntries(flags.as.map(named)) }),
    ...(flags.key === undefined ? {} : { key: flags.key }),
    ...(flags.float32 ? { float32: true } : {}),
  };
}

const listed = (text: string): string[] => text.split(",").map((name) => name.trim());

/** `photo=jpg`: the column and its extension. */
function named(text: string): [string, string] {
  const at = text.lastIndexOf("=");
  if (at > 0 && at < text.length - 1) return [text.slice(0, at), text.slice(at + 1)];
  throw new MillraceError("usage", `\`${text}\` names no column and extension`, { hint: "write `--as photo=jpg`" });
}

/** Files that are shown one by one. */
const shown = 12;

function print(output: Output, report: ExportReport): void {
  const { files } = report;
  const rate = report.seconds > 0 ? `, ${bytes(report.bytes / report.seconds)}/s` : "";
  const subject = paint(output, "bold", escapeData(`${report.dataset}@${report.version}`));
  output.print(`${paint(output, "green", "✓")} ${subject} exported as ${report.format} to ${escapeData(report.to)}`);
  output.print(
    `  ${counted(report.rows, "row")} in ${counted(files.length, "file")}, ${bytes(report.bytes)} in ${seconds(report.seconds)}${rate}`,
  );
  const lines = files
    .slice(0, shown)
    .map((file) => [file.path, count(file.rows), bytes(file.bytes), file.sha256.slice(0, 12)]);
  output.print(
    table(
      [{ title: "file" }, { title: "rows", align: "right" }, { title: "size", align: "right" }, { title: "sha256" }],
      lines,
      output.width,
    ),
  );
  if (files.length > shown) output.print(`  and ${counted(files.length - shown, "more file")}: see manifest.json`);
}
