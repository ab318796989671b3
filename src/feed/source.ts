import { createHash } from "node:crypto";
import { MillraceError, sqlName, sqlString, suggestion, type Column } from "../core/index.ts";
import type { Dataset, Version } from "../dataset/index.ts";
import type { Engine } from "../engine/index.ts";
import { weightName, type CacheSubject } from "./cache-build.ts";
import { openRowCache, type RowCache } from "./cache.ts";
import type { FeedOptions } from "./feed.ts";
import { decoderVersion } from "./images/decode.ts";
import { imageReader, settledImages } from "./images/images.ts";
import { shapeOf } from "./images/spec.ts";

/** A version of a dataset to feed from. */
export interface FeedSource {
  dataset: Dataset;
  version: Version;
  /** Column that holds the split, when `split` is asked for. */
  splitColumn?: string;
  /** The condition of its rows, where the split is not what the column says. */
  splitRows?: string;
  /** Its share when several are mixed; default: its rows. */
  weight?: number;
}

export interface OpenSource {
  name: string;
  version: number;
  columns: Column[];
  cache: RowCache;
  /** Anew, because it is damaged. */
  remake(): Promise<RowCache>;
  identity: string;
  /** All that decides what its rows are: `identity`, content of the files, columns, images, weights. */
  content: string;
  weight?: number;
}

/** The types that columns have in a batch. */
export const batchColumns = ({ cache }: OpenSource): Column[] =>
  cache.layout.columns.map(({ column, type }) => ({ name: column.name, type }));

/** Of columns of images. */
export function shapesOf({ cache }: OpenSource): Map<string, readonly number[]> {
  const images = cache.layout.columns.filter(({ shape }) => shape !== undefined);
  return new Map(images.map(({ column, shape }) => [column.name, shape!]));
}

export function listLengths(sources: readonly OpenSource[]): Map<string, number> {
  const lengths = new Map<string, number>();
  for (const [index, { column }] of sources[0]!.cache.layout.columns.entries()) {
    const [length, ...others] = new Set(sources.map(({ cache }) => cache.seen[index]!.listLength));
    if (typeof length === "number" && others.length === 0) lengths.set(column.name, length);
  }
  return lengths;
}

export const presentColumns = (sources: readonly OpenSource[]): Set<string> => {
  const laid = [...sources[0]!.cache.layout.columns.entries()];
  const present = laid.filter(([index]) => sources.every(({ cache }) => !cache.seen[index]!.nulls));
  return new Set(present.map(([, { column }]) => column.name));
};

export async function openSource(
  engine: () => Promise<Engine>,
  { dataset, version, splitColumn, splitRows, weight }: FeedSource,
  options: FeedOptions,
): Promise<OpenSource> {
  const all = dataset.columns(version);
  const columns = chooseColumns(all, options.columns, splitColumn, dataset.name);
  const conditions = [
    ...(options.split === undefined ? [] : [splitRows ?? `${sqlName(splitColumn!)} = ${sqlString(options.split)}`]),
    ...(options.where === undefined ? [] : [`(${options.where})`]),
  ];
  // By content, not by path: the same version gives the same order wherever its files lie.
  const files = (await dataset.files(version)).toSorted((left, right) => (left.path < right.path ? -1 : 1));
  const content = createHash("sha256")
    .update(files.map((file) => file.sha256 ?? file.path).join("\n"))
    .digest("hex");
  const identity = JSON.stringify([
    dataset.name,
    version.number,
    options.split ?? null,
    options.where ?? null,
    ...(splitRows === undefined ? [] : [splitRows]),
  ]);
  const images = settledImages(options.images ?? {});
  const reader =
    images.size === 0
      ? undefined
      : imageReader(images, {
          dataset: dataset.name,
          version: version.number,
          columns: all,
          shown: columns.map((column) => column.name),
          files: files.map(({ path }) => path),
          onBad: options.onBad ?? "error",
          read: (path) => readObject(dataset, path),
          ...(options.signal ? { signal: options.signal } : {}),
        });
  const items = [
    ...columns.map((column) => reader?.item(column) ?? sqlName(column.name)),
    ...(options.weights === undefined
      ? []
      : [`${weightItem(all, options.weights, dataset.name)} AS ${sqlName(weightName)}`]),
    ...(reader?.extra ?? []).map(({ name, item }) => `${item} AS ${sqlName(name)}`),
  ].join(", ");
  const where = conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`;
  const selects: string[] = [];
  for (const file of files) {
    const relation = await dataset.relation(version, [file], { rowNumber: true });
    selects.push(`SELECT ${items} FROM ${relation}${where} ORDER BY file_row_number`);
  }
  const cached = [
    identity,
    content,
    ...(reader === undefined ? [] : [JSON.stringify([...images]), options.onBad ?? "error", await decoderVersion()]),
    ...(options.weights === undefined ? [] : [`weights ${options.weights}`]),
  ];
  const cacheIdentity = cached.join(" ");
  const subject: CacheSubject = {
    dataset: dataset.name,
    identity: cacheIdentity,
    columns: columns.map((column) => (images.has(column.name) ? { ...column, type: "binary" } : column)),
    selects,
    ...(reader && {
      images: { reader, shapes: new Map([...images].map(([name, image]) => [name, shapeOf(image)])) },
    }),
    ...(options.weights === undefined ? {} : { weighted: true }),
  };
  const open = (damaged: boolean): Promise<RowCache> =>
    openRowCache(engine, subject, options.cache, options.signal, damaged);
  const source: OpenSource = {
    name: dataset.name,
    version: version.number,
    columns,
    cache: await open(false),
    remake: () => open(true),
    identity,
    content: JSON.stringify([cacheIdentity, columns.map(({ name, type }) => [name, type])]),
    ...(weight === undefined ? {} : { weight }),
  };
  if (source.cache.rows === 0) {
    const what = options.split === undefined ? "rows" : `rows in the split \`${options.split}\``;
    throw new MillraceError("usage", `\`${dataset.name}@${version.number}\` has no ${what}`, {
      where: { dataset: dataset.name },
      hint: `millrace query "select * from ${dataset.name} limit 10"`,
    });
  }
  return source;
}

/** The content of an asset, which rows name by its path in the store. */
async function readObject(dataset: Dataset, path: string): Promise<Uint8Array> {
  if (path.startsWith(`${dataset.folder}/assets/`)) return dataset.store.read(path);
  throw new MillraceError("usage", `\`${path}\` is not the \`object\` of an asset of \`${dataset.name}\``, {
    where: { dataset: dataset.name },
    hint: "a column of text must hold paths of objects, as `object` of assets does",
  });
}

function weightItem(all: readonly Column[], name: string, dataset: string): string {
  const [column] = chooseColumns(all, [name], undefined, dataset);
  if (typeof column!.type === "string" && /^(int|long|float|double|decimal.*)$/.test(column!.type)) {
    return `${sqlName(name)}::DOUBLE`;
  }
  throw new MillraceError("usage", `\`${name}\` cannot be a weight: it is ${JSON.stringify(column!.type)}`, {
    where: { dataset, column: name },
    hint: "a weight is a column of numbers",
  });
}

function chooseColumns(
  all: readonly Column[],
  wanted: readonly string[] | undefined,
  splitColumn: string | undefined,
  dataset: string,
): Column[] {
  if (wanted === undefined) return all.filter((column) => column.name !== splitColumn);
  return wanted.map((name) => {
    const column = all.find((each) => each.name === name);
    if (column) return column;
    throw new MillraceError("usage", `\`${dataset}\` has no column \`${name}\``, {
      where: { dataset, column: name },
      hint: suggestion(
        name,
        all.map((each) => each.name),
      ),
    });
  });
}

export function assertSameColumns(first: OpenSource, other: OpenSource): void {
  const shape = (source: OpenSource): string =>
    JSON.stringify(source.cache.layout.columns.map(({ column, type, shape }) => [column.name, type, shape]));
  if (shape(first) === shape(other)) return;
  throw new MillraceError(
    "usage",
    `\`${first.name}\` and \`${other.name}\` have different columns, so they cannot be mixed`,
    {
      hint: "name the columns that both have with `columns`",
    },
  );
}
