import { MillraceError, type Cursor, type RejectedRecord } from "../../core/index.ts";
import { grouped } from "../assets/grouped.ts";
import { Budget } from "./budget.ts";
import { gather } from "./gather.ts";
import type { KinesisOptions } from "./index.ts";
import type { LiveReaders } from "./live.ts";
import { stateOf, type ShardState, type StreamName, type StreamState } from "./position.ts";
import type { PartSpec } from "./read.ts";
import type { StreamRecord } from "./reader.ts";
import type { Service } from "./service.ts";
import { ShardGraph, type Gap } from "./shards.ts";
import type { Range, Spool } from "./spool.ts";

export interface Subject {
  service: Service;
  stream: StreamName;
  options: KinesisOptions;
  live: LiveReaders;
  spool: Spool;
  /** How long the stream keeps what it has; known once it was planned. */
  retentionMs?: number;
}

/** What is new in a stream. */
export interface News {
  specs: Omit<PartSpec, "columns" | "wanted">[];
  state: Omit<StreamState, "columns">;
  more: boolean;
}

/** Part of its retention after which a stream that is silent is noted to have been seen. */
const restful = 0.5;

/** Reads a stream on to its end as of now. Throws `not-found` where it has forgotten what was not read yet. */
export async function newsOf(
  subject: Subject,
  after: Cursor | undefined,
  rangeBytes: number,
  onRecords: (shard: string, records: readonly StreamRecord[]) => void,
  signal: AbortSignal | undefined,
): Promise<News> {
  const { service, stream, options, live, spool } = subject;
  const facts = await service.describe(stream, signal);
  subject.retentionMs = facts.retentionMs;
  await live.prepare(facts.arn, signal);
  const before = stateOf(after);
  const gaps: Gap[] = [];
  const onGap = (gap: Gap): void => {
    if (options.on_gap === "fail") throw gapError(stream, gap);
    gaps.push(gap);
  };
  const isAnother = before !== undefined && before.created !== facts.created;
  if (isAnother) onGap({ shard: "", why: "it was deleted and made anew since it was last read" });
  const state = isAnother ? undefined : before;
  const begin = startOf(options.start, service.now());
  const graph = new ShardGraph(await service.shards(stream, signal), state, () => (before === undefined ? begin : {}));
  for (const { id, state: last } of graph.vanished()) {
    onGap({
      shard: id,
      ...(last.after && { after: last.after }),
      why: "the shard is gone, and was not read to its end",
    });
  }
  const { ranges, more } = await gather(
    {
      service,
      stream,
      graph,
      retentionMs: facts.retentionMs,
      budget: new Budget(options.max_records, options.max_bytes),
      rangeBytes,
      spool,
      readerAt: (shard, from) => live.at(shard, from),
      pollAt: (shard, position) => live.poll(shard, position),
      leave: (shard, at, reader) => live.leave(shard, at, reader),
      onGap,
      onRecords,
    },
    signal,
  );
  const specs: News["specs"] = grouped<Range>(ranges, rangeBytes, ({ bytes }) => bytes).map((some) => ({
    stream,
    ranges: some,
    gaps: [],
  }));
  // A part without records carries what must be known the next time: that there was a gap, where the first run began, that nothing came for long.
  const isDue = isSilent(before?.shards, service.now(), facts.retentionMs);
  const isBegun = before === undefined && options.start !== "earliest";
  if (specs.length === 0 && (gaps.length > 0 || isDue || isBegun)) specs.push({ stream, ranges: [], gaps: [] });
  specs[0]?.gaps.push(...gaps);
  return { specs, state: { created: facts.created, shards: graph.states() }, more };
}

/** True when it is so long since a shard was seen that a later run could not tell silence from what was forgotten. */
export const isSilent = (
  shards: Readonly<Record<string, ShardState>> | undefined,
  now: number,
  retentionMs: number,
): boolean =>
  Object.values(shards ?? {}).some(
    ({ seen, closed }) => closed !== true && (seen ?? Infinity) < now - retentionMs * restful,
  );

function startOf(start: string, now: number): ShardState {
  if (start === "earliest") return {};
  // Its clock is known by whole seconds, and refuses times that are to come.
  return { since: start === "latest" ? now - 2_000 : Date.parse(start) };
}

/** A gap where the run is to end. */
export function gapError(stream: StreamName, { shard, why }: Gap): MillraceError {
  const place = shard === "" ? `the stream \`${stream}\`` : `the shard \`${shard}\` of the stream \`${stream}\``;
  return new MillraceError("not-found", `records of ${place} may be lost: ${why}`, {
    where: { stream },
    hint: "set `on_gap: continue` to go on with what is there, and a longer retention or more frequent runs for the time to come",
  });
}

/** The same where it is to go on: a note among the rejected records. */
export const rejectedGap = (stream: StreamName, { shard, after, why }: Gap): RejectedRecord => ({
  reason: `records may be lost: ${why}`,
  origin: [stream, shard, after].filter(Boolean).join("/"),
  record: "",
});
