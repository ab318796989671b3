import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  isMillraceError,
  messageOf,
  MillraceError,
  parseHttpUrl,
  shownUrl,
  type Column,
  type Converter,
  type Encoding,
  type ErrorCode,
  type FileRef,
  type Payload,
  type RejectedRecord,
  type SourceContext,
} from "../../core/index.ts";
import geotiff from "../../formats/geotiff/index.ts";
import { convertJob, poisoned, poisonIdentity } from "../assets/job.ts";
import { together } from "../assets/together.ts";
import type { Json } from "./client.ts";
import { microsOf, momentOf, type Item } from "./items.ts";
import type { StreamOptions } from "./options.ts";
import type { Subject } from "./plan.ts";
import { RemoteFile, type Range } from "./remote.ts";

/** What the rows of assets say besides what the format does. */
const extraColumns: readonly Column[] = [
  { name: "item", type: "string", doc: "Id of the item." },
  { name: "collection", type: "string" },
  { name: "datetime", type: "timestamptz", doc: "Of the item." },
  { name: "asset", type: "string", doc: "Its name in the item." },
  { name: "fetched", type: "long", doc: "How many bytes of the asset were fetched." },
];

/** Errors that say something of one asset, so that the others go on without it. */
const ownFaults: ReadonlySet<ErrorCode> = new Set([
  "parse",
  "corrupt",
  "limit",
  "timeout",
  "unsupported",
  "value",
  "not-found",
  "permission",
]);
/** Rows of one asset are held back up to here, so that an asset that fails leaves none; more of them flow. */
const heldBytes = 32 * 1024 ** 2;
/** Assets that are read at the same time. */
const width = 2;
/** A header tells of the next one, and that of its lists; more rounds are a file that leads nowhere. */
const maximumRounds = 32;

interface Reader {
  converter: Converter;
  options: Json;
}

/** Throws `config` for options that the format does not take. */
async function readerOf(asked: StreamOptions): Promise<Reader> {
  const result = geotiff.options.safeParse(asked.geotiff);
  if (!result.success) {
    const problems = result.error.issues.map((issue) => `\`geotiff.${issue.path.join(".")}\`: ${issue.message}`);
    throw new MillraceError("config", problems.join("; "), {
      hint: "`millrace describe format geotiff` lists the options",
    });
  }
  const { converter } = (await geotiff.load()).open(result.data);
  return { converter: converter!, options: result.data };
}

/** The columns of rows of assets. */
export const assetColumnsOf = async (asked: StreamOptions): Promise<Column[]> => [
  ...extraColumns,
  ...(await readerOf(asked)).converter.columns!,
];

export interface AssetRead {
  place: Subject;
  asked: StreamOptions;
  columns: Column[];
  items: AsyncIterable<Item[]>;
  rejected: RejectedRecord[];
  context: SourceContext;
  signal: AbortSignal | undefined;
}

type Wanted = [item: Item, asset: string];

/** The rows of the wanted assets of items, in no particular order. One that cannot be read is rejected. */
export function readAssets(work: AssetRead): Payload {
  const { asked, columns, items, rejected, context } = work;
  let rows = 0;
  async function* wanted(): AsyncGenerator<Wanted, void, undefined> {
    for await (const some of items) for (const item of some) for (const name of asked.assets!) yield [item, name];
  }
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    const reader = await readerOf(asked);
    const parent = context.scratch ?? tmpdir();
    await mkdir(parent, { recursive: true });
    const folder = await mkdtemp(join(parent, "stac-"));
    try {
      yield* together(wanted(), (each) => one(work, reader, folder, each, (count) => void (rows += count)), width);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  return {
    form: "bytes",
    format: "csv",
    columns,
    encodings: Object.fromEntries(
      columns.flatMap(({ name, type }): [string, Encoding][] =>
        typeof type !== "string" ? [[name, "json"]] : type === "binary" ? [[name, "hex"]] : [],
      ),
    ),
    chunks: chunks(),
    rows: () => rows + rejected.length,
    rejected: () => rejected,
  };
}

async function* one(
  work: AssetRead,
  reader: Reader,
  folder: string,
  [item, name]: Wanted,
  onRows: (count: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { place, rejected, signal } = work;
  const origin = `${item.href.replace(/\?.*$/, "")}#${name}`;
  const path = join(folder, `${crypto.randomUUID()}.tif`);
  try {
    const { url, mediaType } = addressOf(item, name);
    await using remote = await RemoteFile.open(place.client, url, path, place.options.asset_max_bytes, signal);
    const { size, modified } = remote;
    const file: FileRef = { path, name: shownUrl(url), size, modified };
    const identity = poisonIdentity(file, place.options, `${item.id} ${url.href}`);
    const dead = poisoned.get(identity);
    poisoned.delete(identity);
    if (dead !== undefined) throw new MillraceError("parse", dead);
    const asset = { uri: shownUrl(url), mediaType, size, sha256: null, modified, inline: false };
    for (let round = 0; round < maximumRounds; round++) {
      const known = [item.id, item.collection, momentIn(item), name, remote.fetched];
      const needs = yield* rowsOf(work, reader, file, identity, { asset, present: remote.present, known }, onRows);
      if (needs === undefined) return;
      await remote.fetch(needs, signal);
    }
    throw new MillraceError("parse", "its directories lead nowhere");
  } catch (error) {
    if (!isMillraceError(error) || error.temporary || !ownFaults.has(error.code) || isPoison(error)) throw error;
    const record = JSON.stringify({ item: item.id, collection: item.collection, asset: name });
    rejected.push({ reason: error.message, origin, record });
  } finally {
    await rm(path, { force: true });
  }
}

/** The rows of an asset as far as it is here, or else which bytes of it are needed. */
async function* rowsOf(
  { place, columns, signal }: AssetRead,
  { converter, options }: Reader,
  file: FileRef,
  identity: string,
  { asset, present, known }: { asset: object; present: readonly Range[]; known: readonly unknown[] },
  onRows: (count: number) => void,
): AsyncGenerator<Uint8Array, Range[] | undefined, undefined> {
  const input = { ...options, columns, asset, present, extra: { columns: extraColumns, values: known } };
  let held: Uint8Array[] = [];
  let length = 0;
  let flows = false;
  let needs: Range[] | undefined;
  let count = 0;
  try {
    for await (const output of convertJob(converter, file, input, place.options, signal)) {
      if (output instanceof Uint8Array) {
        held.push(output);
        length += output.length;
        flows ||= length > heldBytes;
        if (flows) yield* held.splice(0);
      } else {
        const message = output.message as { needs?: Range[]; rows?: number };
        needs = message.needs ?? needs;
        count = message.rows ?? count;
      }
    }
  } catch (error) {
    if (!flows || !isMillraceError(error) || !ownFaults.has(error.code)) throw error;
    // Some of its rows are on their way: the part is read again, and then it is told of as a whole.
    poisoned.set(identity, messageOf(error));
    throw new MillraceError("parse", messageOf(error), { where: { file: file.name }, cause: error });
  }
  if (needs !== undefined) return needs;
  yield* held;
  onRows(count);
  return undefined;
}

/** True for the error that asks for the part to be read again. */
const isPoison = (error: MillraceError): boolean =>
  error.cause instanceof MillraceError && error.message === error.cause.message;

/** Throws `not-found`, `unsupported`. */
function addressOf({ document }: Item, name: string): { url: URL; mediaType: string } {
  const assets = document.value["assets"] as Json | undefined;
  const asset = assets !== undefined && Object.hasOwn(assets, name) ? (assets[name] as Json | null) : undefined;
  const href = asset?.["href"];
  if (typeof href !== "string") throw new MillraceError("not-found", `the item has no asset \`${name}\``);
  try {
    const type = asset!["type"];
    return { url: parseHttpUrl(href, document.url), mediaType: typeof type === "string" ? type : "image/tiff" };
  } catch (cause) {
    throw new MillraceError("unsupported", `its address is not one of HTTP: ${messageOf(cause)}`, { cause });
  }
}

function momentIn({ properties }: Item): string | null {
  const micros = typeof properties["datetime"] === "string" ? microsOf(properties["datetime"]) : undefined;
  return micros === undefined ? null : momentOf(micros);
}
