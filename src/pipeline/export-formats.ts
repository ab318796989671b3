import { MillraceError } from "../core/index.ts";
import { copyWriter } from "./export-copy.ts";
import { sampleWriter } from "./export-samples.ts";
import type { ExportWriter, FormatOptions, WriterSubject } from "./export-writer.ts";
import type { LakeHandles } from "./lake.ts";

export const formats = ["parquet", "csv", "tsv", "jsonl", "json", "arrow", "webdataset", "mds", "tfrecord"];

/** Which options are of which formats. An option that does nothing is a mistake of the caller. */
const takenBy: Record<Exclude<keyof FormatOptions, "shardBytes">, string[]> = {
  compression: ["tfrecord", "mds"],
  files: ["webdataset"],
  key: ["webdataset"],
  float32: ["tfrecord"],
  escapeFormulas: ["csv", "tsv"],
};

/** Throws `usage` for options that the format does not have. */
export async function writerOf(lake: LakeHandles, format: string, subject: WriterSubject): Promise<ExportWriter> {
  for (const [option, taking] of Object.entries(takenBy)) {
    if (subject.options[option as keyof FormatOptions] !== undefined && !taking.includes(format)) {
      throw new MillraceError("usage", `\`${option}\` is an option of ${taking.join(" and ")}, not of ${format}`, {
        hint: "leave it out",
      });
    }
  }
  return format === "webdataset" || format === "tfrecord" || format === "mds"
    ? sampleWriter(lake, format, subject)
    : copyWriter(lake, format, subject);
}
