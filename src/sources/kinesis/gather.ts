import { isMillraceError, limitConcurrency } from "../../core/index.ts";
import type { Budget } from "./budget.ts";
import { nextOf } from "./gaps.ts";
import { positionOf, type Position, type ShardState, type StreamName } from "./position.ts";
import { recordsOfAnswer, type Page, type ShardReader, type StreamRecord } from "./reader.ts";
import type { Service } from "./service.ts";
import type { Gap, Readable, ShardGraph } from "./shards.ts";
import { RangesOfShard, type Range, type Spool } from "./spool.ts";

/** Shards that are read at the same time. */
const width = 8;

/** What a plan needs to find the end of a stream. */
export interface Gathering {
  service: Service;
  stream: StreamName;
  graph: ShardGraph;
  retentionMs: number;
  budget: Budget;
  /** Ranges are of about so many bytes. */
  rangeBytes: number;
  spool: Spool;
  /** A reader of a shard that stands at this place, perhaps one that has been waiting there. */
  readerAt(shard: string, state: ShardState): ShardReader;
  /** One that asks, where enhanced fan-out is used too. */
  pollAt(shard: string, position: Position): ShardReader;
  /** The reader stands behind `state`, and may go on from there in the next plan. */
  leave(shard: string, state: ShardState, reader: ShardReader): void;
  /** Throws when the source is to fail for a gap. */
  onGap(gap: Gap): void;
  onRecords(shard: string, records: readonly StreamRecord[]): void;
}

/** What a plan has read. */
export interface Gathered {
  ranges: Range[];
  /** The budget was used up before the end of the stream. */
  more: boolean;
}

/** Reads all shards from where they stand to their ends as of now, or as far as the budget goes. */
export async function gather(job: Gathering, outer?: AbortSignal): Promise<Gathered> {
  const stop = new AbortController();
  const signal = outer === undefined ? stop.signal : AbortSignal.any([outer, stop.signal]);
  const began = job.service.now();
  const limited = limitConcurrency(width);
  const gathered: Gathered = { ranges: [], more: false };
  const readAll = async (): Promise<void> => {
    const results = await Promise.allSettled(
      job.graph.ready().map(async (readable) => {
        try {
          const more = await limited(() => readShard(job, readable, began, gathered, signal));
          if (more) await readAll();
        } catch (error) {
          stop.abort();
          throw error;
        }
      }),
    );
    // What was stopped because of another's failure says nothing of its own.
    const failed = results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []));
    const first = failed.find((error) => !isMillraceError(error) || error.code !== "aborted") ?? failed[0];
    if (first !== undefined) throw first;
  };
  try {
    await readAll();
    return gathered;
  } catch (error) {
    stop.abort();
    throw error;
  }
}

/** True when the shard was read to its end, so that others may be ready now. */
async function readShard(
  job: Gathering,
  { id, state: from, closed }: Readable,
  began: number,
  gathered: Gathered,
  signal: AbortSignal,
): Promise<boolean> {
  const { budget, graph } = job;
  let state = from;
  let reader = job.readerAt(id, state);
  let isPolled = false;
  const output = new RangesOfShard(job.spool, id, job.rangeBytes, gathered.ranges);
  try {
    for (;;) {
      const limit = await budget.take(recordsOfAnswer, signal);
      if (limit === 0) {
        gathered.more = true;
        break;
      }
      let page: Page;
      try {
        ({ page, reader } = await nextOf(job, { id, state, reader }, limit, signal));
      } catch (error) {
        budget.give(limit, 0);
        throw error;
      }
      const { records, ended, behindMs, asked } = page;
      budget.give(limit - records.length, bytesOf(records));
      job.onRecords(id, records);
      await output.write(records);
      state = stateAfter(state, page, closed);
      if (ended !== undefined) {
        graph.ended(id, state, ended);
        reader.close();
        return true;
      }
      graph.progressed(id, state);
      const isAll = behindMs <= asked - began && records.length < limit;
      if (!isAll) continue;
      if (!closed) break;
      // Likenesses of AWS do not tell subscribers that a shard has ended.
      if (records.length === 0 && !isPolled) {
        reader.close();
        reader = job.pollAt(id, positionOf(state));
        isPolled = true;
      }
    }
    job.leave(id, state, reader);
    return false;
  } catch (error) {
    reader.close();
    throw error;
  } finally {
    await output.end();
  }
}

const bytesOf = (records: readonly StreamRecord[]): number => records.reduce((sum, { data }) => sum + data.length, 0);

/** What has arrived before the page was asked for was read, but for how far it is from the end. Of a closed shard the end says nothing of now. */
function stateAfter(state: ShardState, { records, asked, behindMs, ended }: Page, closed: boolean): ShardState {
  const last = records.at(-1);
  const known = closed || ended !== undefined ? last?.arrived : asked - behindMs;
  const seen = Math.max(state.seen ?? 0, known ?? 0);
  return {
    ...state,
    ...(last === undefined ? {} : { after: last.sequence }),
    ...(seen === 0 ? {} : { seen }),
  };
}
