import { randomUUID } from "node:crypto";
import { copyFile, mkdir, rename, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { asMillraceError, MillraceError, systemCode } from "../core/index.ts";
import { fileSha256 } from "../engine/index.ts";
import { withoutFormulas } from "./formulas.ts";
import type { LakeHandles } from "./lake.ts";
import { openFormat } from "./modules.ts";
import { selectRows, type Selection } from "./folds.ts";

export interface ExportOptions extends Selection {
  /** `parquet`, `csv`, `tsv`, `jsonl`, `json`, `arrow`. */
  format: string;
  /** Folder for the files; made when absent. Relative to the working folder. */
  to: string;
  /**
   * CSV and TSV only: puts `'` before text that a spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@`, tab or carriage
   * return and is no number). False writes it as it is, which is right for readers that are no spreadsheets. Default true.
   */
  escapeFormulas?: boolean;
  signal?: AbortSignal;
}

export interface ExportReport {
  files: { path: string; rows: number; bytes: number; sha256: string }[];
  rows: number;
}

const suffixes: Record<string, string> = {
  ndjson: "jsonl",
  json: "json",
  csv: "csv",
  tsv: "tsv",
  parquet: "parquet",
  arrow: "arrow",
};

/** Writes a version as files. Each appears under its name only when it is complete. */
export async function exportDataset(
  lake: LakeHandles,
  reference: string,
  options: ExportOptions,
): Promise<ExportReport> {
  const { dataset, version } = await lake.resolve(reference);
  const format = options.format === "jsonl" ? "ndjson" : options.format;
  const suffix = suffixes[format];
  const copy =
    format === "arrow" || suffix === undefined ? undefined : (await openFormat(lake.registry, format, {})).copy;
  if (suffix === undefined || (copy === undefined && format !== "arrow")) {
    throw new MillraceError("usage", `\`${options.format}\` is not a format to export to`, {
      hint: "use --format parquet, csv, tsv, jsonl, json or arrow",
    });
  }
  const folder = resolve(options.to);
  await makeFolder(folder);
  const engine = await lake.engine();
  const { relation, columns } = selectRows(
    lake,
    dataset.name,
    dataset.columns(version),
    await dataset.relation(version),
    options,
  );
  const guard = (format === "csv" || format === "tsv") && options.escapeFormulas !== false;
  const plain = `SELECT * FROM ${relation}`;
  const select = guard ? withoutFormulas(plain, columns) : plain;
  const path = join(folder, `${dataset.name}@${version.number}${suffixOf(options)}.${suffix}`);
  const temporary = join(lake.scratch, `export-${randomUUID()}.${suffix}`);
  try {
    const rows =
      copy === undefined
        ? await (await import("../feed/arrow.ts")).writeArrowFile(engine, select, temporary, options.signal)
        : await engine.export(select, temporary, copy, options.signal);
    await moveInto(temporary, path);
    return { files: [{ path, rows, bytes: (await stat(path)).size, sha256: await fileSha256(path) }], rows };
  } catch (error) {
    await rm(temporary, { force: true });
    throw asMillraceError(error, { dataset: dataset.name, file: path });
  }
}

/** What tells files of one version apart: `-train`, `-fold2of5-train`. */
function suffixOf({ split, folds, fold }: Selection): string {
  const part = folds === undefined ? "" : fold === undefined ? `-${folds}folds` : `-fold${fold}of${folds}`;
  return `${part}${split === undefined ? "" : `-${split}`}`;
}

async function moveInto(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if ((error as { code?: string }).code !== "EXDEV") throw error;
    const partial = `${to}.${randomUUID()}.partial`;
    try {
      await copyFile(from, partial);
      await rename(partial, to);
    } catch (failed) {
      await rm(partial, { force: true });
      throw failed;
    }
    await rm(from);
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    const code = systemCode(cause);
    if (code === "EEXIST" || code === "ENOTDIR") {
      throw new MillraceError("usage", `\`${folder}\` is not a folder`, { cause, hint: "name a folder with --to" });
    }
    if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
      throw new MillraceError("permission", `the folder \`${folder}\` cannot be made: ${code}`, { cause });
    }
    throw asMillraceError(cause, { file: folder });
  }
}
