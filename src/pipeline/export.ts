import { join } from "node:path";
import { writeFile } from "node:fs/promises";
import { asMillraceError, MillraceError, suggestion, throwIfAborted } from "../core/index.ts";
import type { Dataset, Version } from "../dataset/index.ts";
import { croissantBytes } from "../feed/export/croissant.ts";
import {
  croissantName,
  manifestBytes,
  manifestColumns,
  manifestName,
  type ExportSubject,
  type Manifest,
} from "../feed/export/manifest.ts";
import type { ExportedFile } from "../feed/export/shard.ts";
import { formats, writerOf } from "./export-formats.ts";
import { openPlace } from "./export-place.ts";
import { chooseRows, type ChosenRows, type RowChoice } from "./export-rows.ts";
import type { FormatOptions } from "./export-writer.ts";
import type { LakeHandles } from "./lake.ts";
import type { RunProgress } from "./report.ts";

export interface ExportOptions extends RowChoice, FormatOptions {
  /** `parquet`, `csv`, `tsv`, `jsonl`, `json`, `arrow`, `webdataset`, `mds`, `tfrecord`. */
  format: string;
  /**
   * Folder for the files, or the address of a place in a store (`s3://bucket/prefix`). It is made when absent, and holds nothing but this
   * export; an earlier one of the same dataset, format and splits is replaced. Relative to the working folder.
   */
  to: string;
  /** Name of a configured connection of a store: `to` is then a path in it. */
  store?: string;
  /** One split, or several, each in a folder of its own. Default: all rows. */
  split?: string | string[];
  /** Also between files of others, and in the place of another export. Default false. */
  force?: boolean;
  onProgress?: (progress: RunProgress) => void;
  signal?: AbortSignal;
}

export interface ExportReport {
  dataset: string;
  version: number;
  format: string;
  /** Where it is: the absolute path of the folder, or the address. */
  to: string;
  /** `path` is relative to `to`. */
  files: (ExportedFile & { split?: string })[];
  rows: number;
  bytes: number;
  seconds: number;
}

/** Writes a version as files, which appear all at once when they are complete. */
export async function exportDataset(
  lake: LakeHandles,
  reference: string,
  options: ExportOptions,
): Promise<ExportReport> {
  const started = performance.now();
  throwIfAborted(options.signal);
  const { dataset, version } = await lake.resolve(reference);
  await using lease = await dataset.lease(version, "export");
  void lease;
  const format = formatOf(options.format);
  const splits = splitsOf(options.split);
  const rows = await chooseRows(lake, dataset, version, { ...options, splits });
  const { folds, fold, gap } = options;
  const folded = folds !== undefined && {
    folds: { folds, ...(fold !== undefined && { fold }), ...(gap !== undefined && { gap }) },
  };
  const about = { dataset: dataset.name, format, ...(splits.length > 0 && { splits }), ...folded };
  const { force = false, signal } = options;
  await using place = await openPlace(lake, options.to, about, { force, store: options.store, signal });
  try {
    const { manifest, paths } = await writeExport(
      lake,
      { dataset, version, rows, splits, about },
      place.stage,
      options,
    );
    await place.publish(paths);
    const { files } = manifest;
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    const seconds = (performance.now() - started) / 1000;
    return {
      dataset: dataset.name,
      version: version.number,
      format,
      to: place.name,
      files,
      rows: manifest.rows,
      bytes,
      seconds,
    };
  } catch (error) {
    throw asMillraceError(error, { dataset: dataset.name });
  }
}

interface Subject {
  dataset: Dataset;
  version: Version;
  rows: ChosenRows;
  splits: readonly string[];
  about: ExportSubject;
}

/** All files of an export into a folder, the manifest last. */
async function writeExport(
  lake: LakeHandles,
  { dataset, version, rows, splits, about }: Subject,
  folder: string,
  options: ExportOptions,
): Promise<{ manifest: Manifest; paths: string[] }> {
  const { onProgress, signal } = options;
  const { format } = about;
  await using writer = await writerOf(lake, format, { dataset, version, rows, folder, options });
  const parts = splits.length === 0 ? [undefined] : splits;
  const totals: number[] = [];
  for (const split of parts) totals.push(await writer.count(split));
  const totalRows = totals.reduce((sum, count) => sum + count, 0);
  const files: Manifest["files"] = [];
  let [doneRows, doneBytes] = [0, 0];
  for (const [index, split] of parts.entries()) {
    const report = (partRows: number, partBytes: number): void =>
      onProgress?.({
        phase: "write",
        rows: doneRows + partRows,
        bytes: doneBytes + partBytes,
        totalRows,
        parts: parts.length,
        partsDone: index,
      });
    report(0, 0);
    const prefix = splits.length > 1 ? `${split!}/` : "";
    const written = await writer.write({ split, prefix, onProgress: report });
    const count = written.reduce((sum, file) => sum + file.rows, 0);
    if (count !== totals[index]) {
      throw new MillraceError("internal", `${totals[index]} rows were to be written, and ${count} were`);
    }
    files.push(...written.map((file) => ({ ...file, ...(split !== undefined && { split }) })));
    doneRows += count;
    doneBytes += written.reduce((sum, file) => sum + file.bytes, 0);
  }
  const manifest: Manifest = {
    millraceExport: 1,
    dataset: dataset.name,
    version: version.number,
    snapshot: String(version.snapshotId),
    format,
    ...(about.folds && { folds: about.folds }),
    ...(options.compression !== undefined && { compression: options.compression }),
    ...(splits.length > 0 && { splits: [...splits] }),
    ...(options.where !== undefined && { where: options.where }),
    order: options.order === "shuffle" ? { kind: "shuffle", seed: options.seed ?? 0 } : { kind: "stored" },
    rows: totalRows,
    columns: manifestColumns(rows.columns, writer.written),
    files,
  };
  const flow = Object.entries(lake.config.flows).find(([name, each]) => (each.into ?? name) === dataset.name)?.[1];
  const croissant = croissantBytes({
    manifest,
    columns: rows.columns,
    time: version.time,
    about: flow?.about ?? {},
    splitColumn: flow?.split?.into ?? "split",
  });
  await writeFile(join(folder, croissantName), croissant, { flush: true });
  await writeFile(join(folder, manifestName), manifestBytes(manifest), { flush: true });
  throwIfAborted(signal);
  return { manifest, paths: [...files.map(({ path }) => path), croissantName, manifestName] };
}

function formatOf(name: string): string {
  const format = name === "ndjson" ? "jsonl" : name;
  if (formats.includes(format)) return format;
  throw new MillraceError("usage", `\`${name}\` is not a format to export to`, { hint: suggestion(name, formats) });
}

function splitsOf(split: string | string[] | undefined): string[] {
  const splits = split === undefined ? [] : typeof split === "string" ? [split] : split;
  for (const [index, name] of splits.entries()) {
    if (splits.indexOf(name) !== index) {
      throw new MillraceError("usage", `the split \`${name}\` is named twice`, { hint: "leave one of them out" });
    }
    if (splits.length > 1 && !/^[\p{L}\p{N}_-]+$/u.test(name)) {
      throw new MillraceError("usage", `the split \`${name}\` cannot be the name of a folder`, {
        hint: "export it alone",
      });
    }
  }
  return splits;
}
