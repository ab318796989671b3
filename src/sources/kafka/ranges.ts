import { MillraceError } from "../../core/index.ts";
import { batchesOf, type RecordBatch } from "./batches.ts";
import type { Lane } from "./brokers.ts";
import type { Cluster } from "./cluster.ts";
import { brokerError, codes } from "./errors.ts";
import type { FetchAnswer } from "./wire.ts";

/** Offsets of one partition, from the first up to the last, which is not in it. */
export interface Range {
  topic: string;
  id: string;
  partition: number;
  from: number;
  to: number;
}

export interface Fetched {
  answer: FetchAnswer;
  batches: RecordBatch[];
  /** What it covers: records from `from` up to `next`. */
  from: number;
  next: number;
}

/** Records between two offsets that are no longer there. */
export interface Gap {
  topic: string;
  partition: number;
  from: number;
  /** The first one that is there again. */
  to: number;
  reason: string;
}

export interface FetchLimits {
  committed: boolean;
  maximumBytes: number;
  /** Undefined: a gap is an error. */
  onGap?: ((gap: Gap) => void) | undefined;
}

/** How long a broker waits for records that must come any moment. */
const waitMs = 500;

/** Reads ranges, whichever broker leads their partitions now. */
export class RangeReader {
  readonly #cluster: Cluster;
  readonly #connection: string;
  readonly #leaders = new Map<string, number>();

  constructor(cluster: Cluster, connection: string) {
    this.#cluster = cluster;
    this.#connection = connection;
  }

  /** What a plan has just learnt. */
  learn(topic: string, partition: number, leader: number): void {
    this.#leaders.set(`${topic}/${partition}`, leader);
  }

  /** All of a range, in pieces of about `maximumBytes`; the next one is asked for while one is worked at. */
  async *read(range: Range, limits: FetchLimits, signal?: AbortSignal): AsyncGenerator<Fetched> {
    let coming = range.from < range.to ? this.once(range, range.from, limits, "read", signal) : undefined;
    while (coming !== undefined) {
      const fetched = await coming;
      coming = fetched.next < range.to ? this.once(range, fetched.next, limits, "read", signal) : undefined;
      // It is told when it is waited for.
      coming?.catch(() => undefined);
      yield fetched;
    }
  }

  /** One piece of a range: at least one batch, or proof that there is none. Throws `not-found` for records that are gone. */
  async once(range: Range, from: number, limits: FetchLimits, lane: Lane, signal?: AbortSignal): Promise<Fetched> {
    let at = from;
    return this.#cluster.steady(async () => {
      for (;;) {
        const answer = await this.#fetch(range, at, limits, lane, signal);
        if (answer.error === codes.offsetOutOfRange) {
          at = await this.#afterGap(range, at, limits, signal);
          if (at >= range.to) return { answer, batches: [], from: at, next: range.to };
          continue;
        }
        if (answer.error !== 0) throw brokerError(answer.error, placeOf(range), { connection: this.#connection });
        const batches = batchesOf(answer.records);
        const last = batches.at(-1);
        if (last !== undefined)
          return { answer, batches, from: at, next: Math.min(range.to, Math.max(at, last.last + 1)) };
        const end = limits.committed ? answer.lastStable : answer.highWatermark;
        // Compaction took the rest.
        if (end >= range.to) return { answer, batches, from: at, next: range.to };
        throw new MillraceError(
          "unreachable",
          `${placeOf(range)}: the leader does not have offset ${range.to - 1} yet`,
          {
            where: { connection: this.#connection },
            temporary: true,
          },
        );
      }
    }, signal);
  }

  async #fetch(
    range: Range,
    offset: number,
    limits: FetchLimits,
    lane: Lane,
    signal?: AbortSignal,
  ): Promise<FetchAnswer> {
    const { topic, id, partition } = range;
    const leader = await this.#leaderOf(range, signal);
    try {
      const wish = { topic, id, partition, offset, maximumBytes: limits.maximumBytes };
      const [answer] = await this.#cluster.fetch(
        leader,
        [wish],
        { lane, waitMs, maximumBytes: limits.maximumBytes, committed: limits.committed },
        signal,
      );
      if (answer === undefined) throw brokerError(5, placeOf(range), { connection: this.#connection });
      if (answer.error !== 0 && answer.error !== codes.offsetOutOfRange) this.#leaders.delete(`${topic}/${partition}`);
      if (
        answer.error === codes.unknownTopic ||
        answer.error === codes.unknownTopicId ||
        answer.error === codes.inconsistentTopicId
      ) {
        // A broker that has just started may not know its topics yet; one that is gone the others do not know either.
        await this.#leaderOf(range, signal);
        throw new MillraceError("unreachable", `${placeOf(range)}: the broker does not know it yet`, {
          where: { connection: this.#connection },
          temporary: true,
        });
      }
      return answer;
    } catch (error) {
      this.#leaders.delete(`${topic}/${partition}`);
      throw error;
    }
  }

  async #leaderOf(range: Range, signal?: AbortSignal): Promise<number> {
    const name = `${range.topic}/${range.partition}`;
    const known = this.#leaders.get(name);
    if (known !== undefined) return known;
    const [topic] = await this.#cluster.topics([range.topic], signal);
    const where = { connection: this.#connection };
    if (topic === undefined || topic.error !== 0)
      throw brokerError(topic?.error ?? codes.unknownTopic, placeOf(range), where);
    if (range.id !== "" && topic.id !== "" && range.id !== topic.id) throw madeAnew(range.topic, this.#connection);
    for (const { number, leader } of topic.partitions)
      if (leader >= 0) this.#leaders.set(`${range.topic}/${number}`, leader);
    const leader = this.#leaders.get(name);
    if (leader === undefined) throw brokerError(5, placeOf(range), where);
    return leader;
  }

  /** Where the records begin again that the retention of the topic has left. */
  async #afterGap(range: Range, at: number, { onGap }: FetchLimits, signal?: AbortSignal): Promise<number> {
    const { topic, partition } = range;
    const place = { topic, partition, leader: await this.#leaderOf(range, signal) };
    const [[first], [end]] = await Promise.all([
      this.#cluster.offsets([place], -2n, false, signal),
      this.#cluster.offsets([place], -1n, false, signal),
    ]);
    if (at <= end! && at >= first!) {
      throw new MillraceError("unreachable", `${placeOf(range)}: the leader does not have offset ${at} yet`, {
        where: { connection: this.#connection },
        temporary: true,
      });
    }
    const to = at < first! ? first! : range.to;
    const reason =
      at < first!
        ? `offsets ${at} to ${Math.min(first!, range.to) - 1} of ${placeOf(range)} were removed before they were read (retention)`
        : `${placeOf(range)} ends at offset ${end}, before ${at}: its newest records were lost`;
    if (onGap === undefined) throw gone(reason, this.#connection);
    onGap({ topic, partition, from: at, to: Math.min(to, range.to), reason });
    return to;
  }
}

export const placeOf = ({ topic, partition }: Pick<Range, "topic" | "partition">): string =>
  `topic \`${topic}\`, partition ${partition}`;

export function gone(reason: string, connection: string): MillraceError {
  return new MillraceError("not-found", reason, {
    where: { connection },
    hint: "nothing was skipped: set `on_gap: continue` to go on with what is there, and raise the retention of the topic",
  });
}

export function madeAnew(topic: string, connection: string): MillraceError {
  return gone(`the topic \`${topic}\` was deleted and made anew since the last version`, connection);
}
