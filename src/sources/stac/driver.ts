import {
  isMillraceError,
  MillraceError,
  throwIfAborted,
  type Column,
  type Payload,
  type ReadRequest,
  type RejectedRecord,
  type Source,
  type SourceContext,
} from "../../core/index.ts";
import { apiOf, listCollections } from "./api.ts";
import { assetColumnsOf, readAssets } from "./assets.ts";
import { notStac, openClient } from "./client.ts";
import { crawl } from "./crawl.ts";
import { chosen, chosenFields, columnsOf, lineOf } from "./items.ts";
import { parseStreamOptions, type Options, type StreamOptions } from "./options.ts";
import { planItems, type PartSpec, type Subject } from "./plan.ts";
import { cursorNames } from "./position.ts";
import { itemsOfPart } from "./read.ts";

/** Reaches the catalogue on first use. Throws `config` for a URL that is none. */
export async function open(options: Options, context: SourceContext): Promise<Source> {
  const client = openClient(options);
  let known: Promise<Subject> | undefined;
  /** What the server is; asked once, and again after an error. */
  const subject = async (signal?: AbortSignal): Promise<Subject> => {
    throwIfAborted(signal);
    const look = async (): Promise<Subject> => {
      const landing = await client.document({ url: client.root }, signal);
      if (typeof landing.value["stac_version"] !== "string") throw notStac(landing.url);
      return { client, options, api: apiOf(landing) };
    };
    known ??= look();
    try {
      return await known;
    } catch (error) {
      known = undefined;
      throw isMillraceError(error) ? error.at({ connection: context.connection }) : error;
    }
  };
  const columnsFor = async (request: ReadRequest, asked: StreamOptions): Promise<Column[]> =>
    asked.assets === undefined
      ? columnsOf(chosenFields(asked, request.columns))
      : chosen(await assetColumnsOf(asked), request.columns);

  return {
    async check(signal) {
      await subject(signal);
    },

    async *streams(signal) {
      const place = await subject(signal);
      const columns = columnsOf(chosenFields(parseStreamOptions({}), undefined));
      const seen = new Set<string>();
      const fresh = function* (names: Iterable<string>) {
        for (const name of names) {
          if (seen.has(name)) continue;
          seen.add(name);
          yield { name, columns, key: ["id"], cursors: cursorNames, kind: "endpoint" as const };
        }
      };
      if (place.api !== undefined) {
        for await (const name of listCollections(client, place.api, signal)) yield* fresh([name]);
        return;
      }
      const found: string[] = [];
      const crawled = crawl(client, { items: false, onCollection: (id) => void found.push(id) }, signal);
      for await (const _ of crawled) throw new MillraceError("internal", "items were not asked for");
      yield* fresh(found);
    },

    async plan(request, { after, signal }) {
      if (request.query !== undefined) {
        throw new MillraceError("unsupported", "a catalogue has no query language of its own", {
          hint: "use `options: { filter: … }`, or `transform` to select from the items",
        });
      }
      const asked = parseStreamOptions(request);
      const columns = await columnsFor(request, asked);
      return planItems(await subject(signal), request, asked, columns, {
        ...(after === undefined ? {} : { after }),
        ...(signal === undefined ? {} : { signal }),
      });
    },

    async read(part, request, { signal }): Promise<Payload> {
      throwIfAborted(signal);
      const asked = parseStreamOptions(request);
      const columns = await columnsFor(request, asked);
      const place = await subject(signal);
      const spec = part.spec as unknown as PartSpec;
      const rejected: RejectedRecord[] = [];
      const items = itemsOfPart(place, spec, rejected, signal);
      if (asked.assets !== undefined) return readAssets({ place, asked, columns, items, rejected, context, signal });
      const fields = chosenFields(asked, request.columns);
      let rows = 0;
      return {
        form: "bytes",
        format: "ndjson",
        columns,
        chunks: (async function* () {
          for await (const some of items) {
            rows += some.length;
            if (some.length > 0) yield Buffer.from(some.map((item) => lineOf(item, fields)).join(""));
          }
        })(),
        rows: () => rows + rejected.length,
        rejected: () => rejected,
      };
    },

    async [Symbol.asyncDispose]() {
      known = undefined;
    },
  };
}
