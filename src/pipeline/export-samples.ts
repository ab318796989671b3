import { MillraceError, sqlName } from "../core/index.ts";
import type { Engine } from "../engine/index.ts";
import type { SampleFormat } from "../feed/export/format.ts";
import { mdsFormat } from "../feed/export/mds.ts";
import { assertFinite, measureColumns } from "../feed/export/measure.ts";
import { writeSamples } from "../feed/export/samples.ts";
import { tfrecordFormat } from "../feed/export/tfrecord.ts";
import { unusableKey, webdatasetFormat } from "../feed/export/webdataset.ts";
import type { ChosenRows } from "./export-rows.ts";
import { countRows, suffixOf, type ExportWriter, type WriterSubject } from "./export-writer.ts";
import type { LakeHandles } from "./lake.ts";

/** Formats that are written sample by sample. */
export async function sampleWriter(
  lake: LakeHandles,
  format: "webdataset" | "tfrecord" | "mds",
  { dataset, rows, folder, options }: WriterSubject,
): Promise<ExportWriter> {
  const { signal } = options;
  const { shardBytes = 64e6 } = options;
  if (format !== "webdataset") assertCompression(format, options.compression, format === "mds" ? "zstd" : "gzip");
  if (rows.columns.length === 0) throw new MillraceError("usage", "there are no columns to export");
  const engine = await lake.orderedEngine();
  try {
    const columns = await measureColumns(engine, { ...rows, media: format === "webdataset", signal });
    if (format !== "webdataset") assertFinite(columns);
    if (options.key !== undefined) await assertKey(engine, rows, options.key, signal);
    // Options are held to the columns before anything is written.
    const make = (split: string | undefined): SampleFormat => {
      if (format === "webdataset") return webdatasetFormat(columns, options);
      if (format === "mds") return mdsFormat(columns, { shardBytes, zstd: options.compression === "zstd" });
      const base = `${dataset.name}${suffixOf(options, split)}`;
      return tfrecordFormat(columns, {
        base,
        gzip: options.compression === "gzip",
        ...(options.float32 !== undefined && { float32: options.float32 }),
      });
    };
    return {
      written: make(undefined).written,
      count: (split) => countRows(engine, rows.unordered(split), signal),
      write: ({ split, prefix, onProgress }) =>
        writeSamples(engine, make(split), rows.from(split), {
          folder: `${folder}/${prefix}`,
          prefix,
          shardBytes,
          signal,
          onProgress,
        }),
      [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
    };
  } catch (error) {
    await engine[Symbol.asyncDispose]();
    throw error;
  }
}

function assertCompression(format: string, compression: string | undefined, known: string): void {
  if (compression === undefined || compression === known) return;
  throw new MillraceError("usage", `${format} is not compressed with \`${compression}\``, {
    hint: `use \`--compression ${known}\`, or leave it out`,
  });
}

async function assertKey(engine: Engine, rows: ChosenRows, key: string, signal?: AbortSignal): Promise<void> {
  if (!rows.columns.some(({ name }) => name === key)) return;
  const [found] = await engine.query(
    `SELECT count(*) FILTER (WHERE ${unusableKey(key)}) AS bad, count(*) - count(DISTINCT ${sqlName(key)}::VARCHAR) AS twice FROM ${rows.relation}`,
    signal,
  );
  const [bad, twice] = [Number(found!["bad"]), Number(found!["twice"])];
  if (bad === 0 && twice === 0) return;
  throw new MillraceError(
    "usage",
    bad > 0
      ? `${bad} values of \`${key}\` cannot name a sample: they are null or empty, or have a dot or a slash at an end`
      : `\`${key}\` does not name samples: ${twice} of its values are there before`,
    { where: { column: key }, hint: "leave out `--key`: samples are then numbered" },
  );
}
