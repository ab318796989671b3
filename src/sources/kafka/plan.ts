import { MillraceError, type Column, type CursorValue, type Part, type Plan } from "../../core/index.ts";
import { grouped } from "../assets/grouped.ts";
import { sampleMessages, type Messages } from "../messages/index.ts";
import type { Cluster, Place, Topic } from "./cluster.ts";
import { brokerError } from "./errors.ts";
import type { StreamOptions } from "./options.ts";
import { toCursor, type Position, type TopicPosition } from "./position.ts";
import { gone, madeAnew, placeOf, type Gap, type Range, type RangeReader } from "./ranges.ts";
import { RecordReader } from "./rows.ts";
import type { Selection } from "./selection.ts";

export interface PartSpec {
  ranges: Range[];
  /** All columns of the stream. */
  columns: Column[];
  gaps: Gap[];
}

export interface PlanContext {
  cluster: Cluster;
  ranges: RangeReader;
  messages: Messages;
  selection: Selection;
  options: StreamOptions;
  connection: string;
  partBytes: number;
  signal?: AbortSignal | undefined;
}

/** Partitions of which a plan looks at the first records. */
const sampledPartitions = 8;
const sampleBytes = 256 * 1024;

interface PartitionEnds extends Place {
  id: string;
  from: number;
  end: number;
}

/** What is new after the position, in parts of about `partBytes`. `isFirst`: no version holds a position yet. */
export async function planParts(
  context: PlanContext,
  position: Position | undefined,
  isFirst: boolean,
): Promise<Plan & { position: Position }> {
  const { options, messages, ranges: reader, signal } = context;
  const gaps: Gap[] = [];
  const partitions = await endsOf(context, position, gaps);
  for (const { topic, partition, leader } of partitions) reader.learn(topic, partition, leader);
  const waiting: Range[] = partitions
    .filter(({ from, end }) => end > from)
    .map(({ topic, id, partition, from, end }) => ({ topic, id, partition, from, to: end }));
  const { values, averageBytes } = await sampleOf(context, waiting);
  const columns = await messages.columns(values, position?.columns ?? [], signal);
  const most = Math.min(
    options.max_records ?? Infinity,
    options.max_bytes === undefined ? Infinity : Math.max(1, Math.floor(options.max_bytes / averageBytes)),
  );
  const chosen = bounded(waiting, most);
  const next: Position = { topics: new Map(position?.topics), columns };
  for (const { topic, id, partition, from } of partitions) {
    const known = next.topics.get(topic);
    const own: TopicPosition = known?.id === id ? known : { id, next: new Map() };
    const taken = chosen.find((range) => range.topic === topic && range.partition === partition);
    next.topics.set(topic, { id, next: new Map(own.next).set(partition, taken?.to ?? from) });
  }
  const pieces = chosen.flatMap((range) => pieced(range, context.partBytes / averageBytes));
  const groups = grouped(pieces, context.partBytes, ({ from, to }) => (to - from) * averageBytes);
  // Where a stream is read from its end, or its records are gone, an empty version holds the position.
  if (groups.length === 0 && (gaps.length > 0 || (isFirst && options.from !== "earliest" && partitions.length > 0)))
    groups.push([]);
  const parts = groups.map((own, index): Part => {
    const records = own.reduce((sum, { from, to }) => sum + to - from, 0);
    const spec: PartSpec = { ranges: own, columns, gaps: index === 0 ? gaps : [] };
    return {
      id: `kafka-${String(index + 1).padStart(5, "0")}`,
      bytes: Math.round(records * averageBytes),
      spec: spec as unknown as Record<string, CursorValue>,
    };
  });
  const isMore = chosen.length < waiting.length || chosen.some(({ to }, index) => to < waiting[index]!.to);
  return { columns, key: [], parts, cursor: toCursor(next), position: next, ...(isMore ? { more: true } : {}) };
}

/** Topics that the stream names or its pattern fits. Throws `not-found`, `permission`. */
export async function topicsOf(
  { cluster, selection, connection }: Pick<PlanContext, "cluster" | "selection" | "connection">,
  signal: AbortSignal | undefined,
): Promise<Topic[]> {
  const all = await cluster.topics(selection.names, signal);
  const fitting = all.filter(
    ({ name, isInternal }) => selection.names !== undefined || (!isInternal && selection.fits(name)),
  );
  for (const { name, error, partitions } of fitting) {
    if (error !== 0) throw brokerError(error, `topic \`${name}\``, { connection });
    const lost = partitions.find(({ leader }) => leader < 0);
    if (lost !== undefined) throw brokerError(5, placeOf({ topic: name, partition: lost.number }), { connection });
  }
  return fitting;
}

/** Where each partition is to be read from, and where it ends now. */
async function endsOf(context: PlanContext, position: Position | undefined, gaps: Gap[]): Promise<PartitionEnds[]> {
  const { cluster, options, connection, signal } = context;
  const committed = options.isolation === "read_committed";
  let shrunk: { reason: string; range: Gap } | undefined;
  const found = await cluster
    .steady(async () => {
      shrunk = undefined;
      const topics = await topicsOf(context, signal);
      const anew: Gap[] = [];
      const places = topics.flatMap((topic) => {
        const known = position?.topics.get(topic.name);
        const isAnew = known !== undefined && known.id !== "" && topic.id !== "" && known.id !== topic.id;
        if (isAnew && options.on_gap === "fail") throw madeAnew(topic.name, connection);
        if (isAnew) anew.push(...gapsOf(topic.name, known));
        return topic.partitions.map(({ number, leader }) => ({
          topic: topic.name,
          id: topic.id,
          partition: number,
          leader,
          from: isAnew ? undefined : known?.next.get(number),
        }));
      });
      const unknown = places.filter(({ from }) => from === undefined);
      const [ends, firsts] = await Promise.all([
        cluster.offsets(places, -1n, committed, signal),
        firstOffsets(context, unknown, position === undefined),
      ]);
      const all = places.map((place, index): PartitionEnds => {
        const end = ends[index]!;
        const from = place.from ?? firsts.get(place)!;
        return { ...place, from: Math.min(from, place.from === undefined ? end : from), end };
      });
      const short = all.find(({ from, end }) => end < from);
      if (short !== undefined) {
        const reason = `${placeOf(short)} ends at offset ${short.end}, before ${short.from}: its newest records were lost`;
        shrunk = { reason, range: { ...short, to: short.end, reason } };
        // A leader that has just become it may not know the end yet.
        throw new MillraceError("unreachable", reason, { where: { connection }, temporary: true });
      }
      gaps.push(...anew);
      return all;
    }, signal)
    .catch((error: unknown) => {
      if (shrunk === undefined || signal?.aborted) throw error;
      throw gone(shrunk.reason, connection);
    });
  return found;
}

function gapsOf(topic: string, { next }: TopicPosition): Gap[] {
  return [...next].map(([partition, from]) => ({
    topic,
    partition,
    from,
    to: 0,
    reason: `the topic \`${topic}\` was made anew; partition ${partition} was read up to offset ${from}`,
  }));
}

/** Where partitions begin that have no position. Those that came after the first version are read from their first record. */
async function firstOffsets<P extends Place>(
  { cluster, options, signal }: PlanContext,
  places: readonly P[],
  isFirst: boolean,
): Promise<Map<P, number>> {
  if (places.length === 0) return new Map();
  const { from } = options;
  const committed = options.isolation === "read_committed";
  const earliest = await cluster.offsets(places, -2n, committed, signal);
  const wanted = new Map(places.map((place, index) => [place, earliest[index]!]));
  if (!isFirst || from === "earliest") return wanted;
  if (typeof from === "object") {
    for (const [place, first] of wanted) {
      const given = from[place.topic]?.[String(place.partition)];
      wanted.set(place, given === undefined ? first : Number(given));
    }
    return wanted;
  }
  const ends = await cluster.offsets(places, -1n, committed, signal);
  const found = from === "latest" ? ends : await cluster.offsets(places, BigInt(Date.parse(from)), committed, signal);
  return new Map(places.map((place, index) => [place, found[index]! < 0 ? ends[index]! : found[index]!]));
}

/** Values of the first records, and how many bytes a record has on average. */
async function sampleOf(
  { ranges, options, signal }: PlanContext,
  waiting: readonly Range[],
): Promise<{ values: (Uint8Array | null)[]; averageBytes: number }> {
  const step = Math.max(1, Math.floor(waiting.length / sampledPartitions));
  const looked = waiting.filter((_, index) => index % step === 0).slice(0, sampledPartitions);
  const committed = options.isolation === "read_committed";
  const limits = {
    committed,
    maximumBytes: sampleBytes,
    onGap: options.on_gap === "continue" ? (): void => undefined : undefined,
  };
  let bytes = 0;
  let offsets = 0;
  const found = await Promise.all(
    looked.map(async (range) => {
      const { answer, batches, from, next } = await ranges.once(range, range.from, limits, "read", signal);
      const { values } = new RecordReader(range.topic, range.partition, "base64").messages(
        answer,
        batches,
        from,
        range.to,
        committed,
      );
      bytes += values.reduce((sum, value) => sum + (value?.length ?? 0) + 100, 0);
      offsets += next - from;
      return values.slice(0, Math.ceil(sampleMessages / looked.length));
    }),
  );
  return { values: found.flat(), averageBytes: offsets === 0 ? 1000 : Math.max(1, bytes / offsets) };
}

/** At most so many records, the same number of each range as far as it has them. */
function bounded(ranges: readonly Range[], most: number): Range[] {
  let left = most;
  if (ranges.reduce((sum, { from, to }) => sum + to - from, 0) <= most) return [...ranges];
  const taken = new Map<Range, number>();
  const smallestFirst = ranges.toSorted((a, b) => a.to - a.from - (b.to - b.from));
  for (const [index, range] of smallestFirst.entries()) {
    const share = Math.min(range.to - range.from, Math.ceil(left / (ranges.length - index)));
    taken.set(range, share);
    left -= share;
  }
  return ranges.map((range) => ({ ...range, to: range.from + taken.get(range)! }));
}

function pieced(range: Range, most: number): Range[] {
  const records = range.to - range.from;
  const count = Math.max(1, Math.ceil(records / Math.max(1, most)));
  const size = Math.ceil(records / count);
  return Array.from({ length: count }, (_, index) => ({
    ...range,
    from: range.from + index * size,
    to: Math.min(range.to, range.from + (index + 1) * size),
  })).filter(({ from, to }) => to > from);
}
