import { availableParallelism } from "node:os";
import { MillraceError, sqlName, suggestion, type Column, type ColumnBatch, type Sql } from "../../core/index.ts";
import { decodeImages, type Decoded } from "./decode.ts";
import { pickRows } from "./rows.ts";
import { settledImage, type ImageOptions } from "./spec.ts";

/** What to do with a row whose image cannot be decoded. */
export type OnBad = "error" | "skip";

/** Where rows with images come from. */
export interface ImageSource {
  dataset: string;
  version: number;
  /** All columns of the version. */
  columns: readonly Column[];
  /** Names of the columns of a batch. */
  shown: readonly string[];
  /** Data files, by the number of the SELECT that reads each. */
  files: readonly string[];
  onBad: OnBad;
  /** The bytes of an object of the dataset, by its path. */
  read(path: string): Promise<Uint8Array>;
  signal?: AbortSignal;
}

/** Images of some columns, on their way from encoded bytes to samples. */
export interface ImageReader {
  /** The column as encoded bytes, as an item of a SELECT; undefined for a column that is no image. */
  item(column: Column): Sql | undefined;
  /** Items that each SELECT has besides: where bytes are that are not in the row, and what names the row. */
  extra: { name: string; item: Sql }[];
  /**
   * Decodes a batch whose first columns are `columns` and whose last are `extra`; gives it in pieces, without rows that are left out. Throws
   * `parse` for the first image that cannot be decoded, naming its row.
   */
  decode(batch: ColumnBatch, columns: readonly Column[], select: number, folder: string): AsyncIterable<ColumnBatch>;
}

/** Samples that are made by one job, bytes: what is in memory at a time is this for each job that runs. */
const jobBytes = 4 << 20;
const largestJob = 32;
const rowName = "feed row";
const uriName = "feed uri";
const pathName = (index: number): string => `feed path ${index}`;

/** Throws `usage` for columns that hold neither bytes nor paths of objects. */
export function imageReader(images: ReadonlyMap<string, Required<ImageOptions>>, source: ImageSource): ImageReader {
  const names = [...images.keys()];
  const known = new Map(source.columns.map((column) => [column.name, column]));
  const isAssets = known.has("object") && known.has("sha256");
  for (const name of names) requireImage(source, name);
  const absent = names.find((name) => !source.shown.includes(name));
  if (absent !== undefined) {
    throw new MillraceError("usage", `the image \`${absent}\` is not among the columns of a batch`, {
      hint: "name it with `columns`, or leave it out of the images",
    });
  }
  const pathItem = (name: string): Sql => {
    if (known.get(name)!.type === "string") return sqlName(name);
    // The bytes of large assets lie beside the dataset.
    if (name === "bytes" && isAssets) return `CASE WHEN ${sqlName(name)} IS NULL THEN "object" END`;
    return "NULL::VARCHAR";
  };
  const extra = [
    ...names.map((name, index) => ({ name: pathName(index), item: pathItem(name) })),
    { name: rowName, item: "file_row_number::BIGINT" },
    { name: uriName, item: known.get("uri")?.type === "string" ? `"uri"` : "NULL::VARCHAR" },
  ];

  return {
    item(column) {
      if (!images.has(column.name)) return undefined;
      return column.type === "string" ? `NULL::BLOB AS ${sqlName(column.name)}` : sqlName(column.name);
    },
    extra,
    async *decode(batch, columns, select, folder) {
      const places = names.map((name) => columns.findIndex((column) => column.name === name));
      const extras = batch.columns.slice(-extra.length);
      const largest = Math.max(...[...images.values()].map(({ width, height, channels }) => width * height * channels));
      const size = Math.min(largestJob, Math.max(1, Math.floor(jobBytes / largest)));
      const job = async (from: number): Promise<ColumnBatch> => {
        const rows = Array.from({ length: Math.min(size, batch.rows - from) }, (_, index) => from + index);
        const decoded: (Decoded | null)[][] = [];
        for (const [index, name] of names.entries()) {
          const inline = batch.columns[places[index]!]!.values as (Uint8Array | null)[];
          const paths = extras[index]!.values as (string | null)[];
          const encoded = await Promise.all(
            rows.map(async (row) => inline[row] ?? (paths[row] === null ? null : await source.read(paths[row]!))),
          );
          const present = [...encoded.keys()].filter((at) => encoded[at] !== null);
          const nameOf = (at: number): string => nameOfRow(rows[present[at]!]!);
          const bytes = present.map((at) => encoded[at]!);
          const results = await decodeImages(bytes, images.get(name)!, folder, nameOf, source.signal);
          const ofRows = Array<Decoded | null>(rows.length).fill(null);
          for (const [at, place] of present.entries()) ofRows[place] = results[at]!;
          decoded.push(ofRows);
        }
        const good: number[] = [];
        for (const [at, row] of rows.entries()) {
          const bad = decoded.findIndex((column) => column[at] instanceof MillraceError);
          if (bad < 0) good.push(at);
          else if (source.onBad === "error") throw undecodable(row, names[bad]!, decoded[bad]![at] as MillraceError);
        }
        const picked = pickRows(
          batch,
          good.map((at) => rows[at]!),
        );
        for (const [index, place] of places.entries()) {
          picked.columns[place] = { values: good.map((at) => decoded[index]![at] as Uint8Array | null) };
        }
        return { ...picked, columns: picked.columns.slice(0, -extra.length) };
      };
      const nameOfRow = (row: number): string => {
        const [number, uri] = [extras.at(-2)!.values[row], extras.at(-1)!.values[row]];
        return typeof uri === "string" ? uri : `row ${String(number)} of ${source.files[select]!}`;
      };
      const undecodable = (row: number, column: string, cause: MillraceError): MillraceError => {
        const { dataset, version } = source;
        const number = Number(extras.at(-2)!.values[row]);
        return new MillraceError(
          "parse",
          `the image \`${column}\` of \`${nameOfRow(row)}\` in \`${dataset}@${version}\` cannot be decoded: ${cause.message}`,
          {
            cause,
            where: { dataset, column, file: source.files[select]!, row: number },
            hint: "leave rows whose image cannot be decoded out with --on-bad skip",
          },
        );
      };
      const running: Promise<ColumnBatch>[] = [];
      try {
        for (let from = 0; from < batch.rows; from += size) {
          if (running.length >= availableParallelism()) yield await running.shift()!;
          const started = job(from);
          // It is looked at in its turn.
          started.catch(() => undefined);
          running.push(started);
        }
        while (running.length > 0) yield await running.shift()!;
      } finally {
        await Promise.allSettled(running);
      }
    },
  };
}

function requireImage({ columns, dataset }: ImageSource, name: string): void {
  const column = columns.find((each) => each.name === name);
  if (column === undefined) {
    throw new MillraceError("usage", `\`${dataset}\` has no column \`${name}\``, {
      where: { dataset, column: name },
      hint: suggestion(
        name,
        columns.map((each) => each.name),
      ),
    });
  }
  if (column.type === "binary" || column.type === "string") return;
  throw new MillraceError("usage", `\`${name}\` holds no images: it is ${JSON.stringify(column.type)}`, {
    where: { dataset, column: name },
    hint: "an image is a column of bytes, or of paths of objects such as `object` of assets",
  });
}

/** The images that are asked for, with all that is not said. */
export function settledImages(images: Readonly<Record<string, ImageOptions>>): Map<string, Required<ImageOptions>> {
  return new Map(Object.entries(images).map(([column, options]) => [column, settledImage(column, options)]));
}
