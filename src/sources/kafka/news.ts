import { throwIfAborted, type Lag } from "../../core/index.ts";
import { groupBy } from "./cluster.ts";
import { topicsOf, type PlanContext } from "./plan.ts";
import type { Position } from "./position.ts";

type Context = Pick<PlanContext, "cluster" | "connection" | "selection" | "options">;

/** Brokers hold a request this long at most; then it is looked for new topics and partitions. */
const longestPollMs = 10_000;

/** True as soon as a partition has records after the position, or there is a partition that it does not know. */
export async function waitForNews(
  context: Context,
  position: Position,
  milliseconds: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { cluster, options } = context;
  const deadline = performance.now() + milliseconds;
  while (signal?.aborted !== true) {
    const waitMs = Math.ceil(Math.min(longestPollMs, deadline - performance.now()));
    if (waitMs <= 0) return false;
    const topics = await cluster.steady(() => topicsOf(context, signal), signal).catch(stopped(signal));
    if (topics === undefined) return false;
    const wishes = topics.flatMap(({ name, id, partitions }) =>
      partitions.map(({ number, leader }) => ({
        leader,
        topic: name,
        id,
        partition: number,
        offset: position.topics.get(name)?.next.get(number) ?? -1,
        maximumBytes: 1,
      })),
    );
    const isUnknown = topics.some(({ name, id }) => {
      const known = position.topics.get(name);
      return known === undefined || known.id !== id;
    });
    if (isUnknown || wishes.some(({ offset }) => offset < 0)) return true;
    // A broker that has gone may be back: nothing is lost by looking again.
    const stop = new AbortController();
    const either = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal]);
    const polls = [...groupBy(wishes, ({ leader }) => leader)].map(async ([leader, own]) => {
      const limits = {
        lane: "wait" as const,
        waitMs,
        maximumBytes: 1,
        committed: options.isolation === "read_committed",
      };
      const answers = await cluster.fetch(leader, own, limits, either);
      if (answers.some(({ error, records }) => error !== 0 || records.length > 0)) return true;
      throw new Error("nothing new");
    });
    const isNew = await Promise.any(polls).catch(() => false);
    stop.abort();
    await Promise.allSettled(polls);
    if (isNew) return true;
  }
  return false;
}

/** Records between the position and the end, as far as offsets tell. */
export async function lagOf(
  context: Context,
  position: Position | undefined,
  signal: AbortSignal | undefined,
): Promise<Lag> {
  const { cluster, options } = context;
  throwIfAborted(signal);
  const topics = await topicsOf(context, signal);
  const places = topics.flatMap(({ name, partitions }) =>
    partitions.map(({ number, leader }) => ({ topic: name, partition: number, leader })),
  );
  const ends = await cluster.offsets(places, -1n, options.isolation === "read_committed", signal);
  const isKnown = ({ topic, partition }: (typeof places)[number]): boolean =>
    position?.topics.get(topic)?.next.has(partition) === true;
  const unknown = places.filter((place) => !isKnown(place));
  const firsts = unknown.length === 0 ? [] : await cluster.offsets(unknown, -2n, false, signal);
  const records = places.reduce((sum, place, index) => {
    const from = isKnown(place)
      ? position!.topics.get(place.topic)!.next.get(place.partition)!
      : firsts[unknown.indexOf(place)]!;
    return sum + Math.max(0, ends[index]! - from);
  }, 0);
  return { records };
}

const stopped =
  (signal: AbortSignal | undefined) =>
  (error: unknown): undefined => {
    if (signal?.aborted !== true) throw error;
  };
