import { MillraceError, type ReadRequest, type Source, type SourceContext } from "../../core/index.ts";
import { openMessages, type Messages } from "../messages/index.ts";
import { chosen } from "../messages/chosen.ts";
import { Cluster } from "./cluster.ts";
import { lagOf, waitForNews } from "./news.ts";
import { streamOptionsOf, type KafkaOptions, type StreamOptions } from "./options.ts";
import { planParts, type PartSpec } from "./plan.ts";
import { fromCursor, type Position } from "./position.ts";
import { RangeReader } from "./ranges.ts";
import { readPart } from "./read.ts";
import { registryDecoder } from "./registry-decoder.ts";
import { metaColumns } from "./rows.ts";
import { selectionOf, type Selection } from "./selection.ts";
import { connectionSettings } from "./settings.ts";

const defaultPartBytes = 128 * 1024 ** 2;
/** Of so many topics `discover` looks at the records. */
const discovered = 50;

interface Stream {
  options: StreamOptions;
  selection: Selection;
  messages: Messages;
}

/** Connects on first use. Throws `config` for options that do not fit together. */
export async function open(options: KafkaOptions, context: SourceContext): Promise<Source> {
  const { connection } = context;
  const where = { connection };
  const cluster = new Cluster(options, await connectionSettings(options, context), connection);
  const ranges = new RangeReader(cluster, connection);
  const streams = new Map<string, Promise<Stream>>();
  /** Positions that groups were told, by stream. */
  const told = new Map<string, string>();

  const openStream = async ({ stream, query, options: own }: ReadRequest): Promise<Stream> => {
    const parsed = streamOptionsOf(options, own);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new MillraceError("config", `\`options\` of the stream: ${issue!.path.join(".")}: ${issue!.message}`, {
        where,
        hint: "`millrace describe source kafka` lists them",
      });
    }
    const decoder = await registryDecoder(options.registry, parsed.data, context);
    return {
      options: parsed.data,
      selection: selectionOf(query === undefined ? stream : undefined, connection),
      messages: await openMessages(parsed.data, context, {
        meta: metaColumns,
        ...(decoder === undefined ? {} : { decoder }),
      }),
    };
  };
  const streamOf = (request: ReadRequest): Promise<Stream> => {
    const name = nameOf(request);
    const known = streams.get(name);
    if (known !== undefined) return known;
    const opened = openStream(request);
    streams.set(name, opened);
    opened.catch(() => streams.delete(name));
    return opened;
  };
  /** The group follows what is committed. */
  const tellGroup = async (
    name: string,
    { options: own }: Stream,
    after: Position | undefined,
    signal?: AbortSignal,
  ): Promise<void> => {
    if (own.group === undefined || after === undefined) return;
    const offsets = [...after.topics].flatMap(([topic, { next }]) =>
      [...next].map(([partition, offset]) => ({ topic, partition, offset })),
    );
    const text = JSON.stringify(offsets);
    if (offsets.length === 0 || told.get(name) === text) return;
    const { group } = own;
    await cluster.steady(() => cluster.commit(group, offsets, signal), signal);
    told.set(name, text);
  };

  return {
    async check(signal) {
      const topics = await cluster.topics(undefined, signal);
      if (topics.some(({ isInternal }) => !isInternal)) return;
      throw new MillraceError("not-found", "the cluster shows no topic", {
        where,
        hint: "allow `Describe` and `Read` on the topics: kafka-acls --add --consumer --topic …",
      });
    },

    async *streams(signal) {
      const all = await cluster.steady(() => cluster.topics(undefined, signal), signal);
      const shown = all.filter(({ isInternal }) => !isInternal).toSorted((a, b) => (a.name < b.name ? -1 : 1));
      for (const [index, topic] of shown.entries()) {
        const places = topic.partitions.map(({ number, leader }) => ({ topic: topic.name, partition: number, leader }));
        const [firsts, ends] = await cluster.steady(
          () => Promise.all([cluster.offsets(places, -2n, false, signal), cluster.offsets(places, -1n, false, signal)]),
          signal,
        );
        const rows = ends.reduce((sum, end, at) => sum + end - firsts[at]!, 0);
        let columns = [...metaColumns];
        if (index < discovered) {
          const request = { stream: topic.name };
          const { options: own, ...stream } = await streamOf(request);
          const looked = { ...own, from: "earliest" as const, max_records: 1 };
          const parts = { cluster, ranges, connection, partBytes: defaultPartBytes, signal };
          ({ columns } = await planParts({ ...parts, ...stream, options: looked }, undefined, false));
        }
        yield { name: topic.name, columns, key: [], cursors: [], rows, kind: "topic" as const };
      }
    },

    async plan(request, { after, signal, peek }) {
      const stream = await streamOf(request);
      const position = fromCursor(after);
      if (peek !== true) await tellGroup(nameOf(request), stream, position, signal);
      const { partBytes = defaultPartBytes } = request;
      const { position: _, ...plan } = await planParts(
        { cluster, ranges, connection, partBytes, signal, ...stream },
        position,
        position === undefined,
      );
      // Of a topic that is empty nobody knows the columns.
      const isKnown = plan.columns.length > metaColumns.length + 1;
      const columns = chosen(plan.columns, isKnown ? request.columns : undefined);
      return { ...plan, columns };
    },

    async read(part, request, { signal }) {
      const { messages, options: own } = await streamOf(request);
      return readPart(part.spec as unknown as PartSpec, {
        reader: ranges,
        messages,
        options: own,
        wanted: request.columns,
        signal,
      });
    },

    async wait(request, { after, milliseconds, signal }) {
      const { options: own, selection } = await streamOf(request);
      const position = fromCursor(after);
      if (position === undefined) return true;
      return waitForNews({ cluster, connection, selection, options: own }, position, milliseconds, signal);
    },

    async lag(request, { after, signal }) {
      const { options: own, selection } = await streamOf(request);
      return lagOf({ cluster, connection, selection, options: own }, fromCursor(after), signal);
    },

    async [Symbol.asyncDispose]() {
      await cluster[Symbol.asyncDispose]();
    },
  };
}

const nameOf = ({ stream, query, options }: ReadRequest): string => JSON.stringify([stream, query, options]);
