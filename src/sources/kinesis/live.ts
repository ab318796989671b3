import { setTimeout as sleep } from "node:timers/promises";
import { Pace } from "../../protocols/aws/pace.ts";
import { consumerOf, subscribeToShard } from "./fan-out.ts";
import type { KinesisOptions } from "./index.ts";
import { positionOf, type Position, type ShardState, type StreamName } from "./position.ts";
import { pollShard, recordsOfAnswer, type Page, type ShardReader } from "./reader.ts";
import type { Service } from "./service.ts";

/** How often a shard is looked at while there is nothing to do. */
const lookMs = 1_000;

/** Readers of the shards of one stream, which stay where a plan has left them until the next one goes on. */
export class LiveReaders {
  readonly #service: Service;
  readonly #stream: StreamName;
  readonly #options: KinesisOptions;
  readonly #paces = new Map<string, Pace>();
  readonly #waiting = new Map<string, { place: string; reader: Held }>();
  /** ARN of the consumer; null where the server pushes nothing. */
  #consumer: string | null | undefined;

  constructor(service: Service, stream: StreamName, options: KinesisOptions) {
    this.#service = service;
    this.#stream = stream;
    this.#options = options;
  }

  /** Makes out how the shards are read. */
  async prepare(arn: string, signal?: AbortSignal): Promise<void> {
    const { consumer } = this.#options;
    if (consumer === undefined || this.#consumer !== undefined) return;
    this.#consumer = (await consumerOf(this.#service, arn, consumer, signal)) ?? null;
    if (this.#consumer !== null) return;
    process.emitWarning(`the server has no enhanced fan-out: the stream \`${this.#stream}\` is asked for its records`);
  }

  /** A reader at a place: the one that waits there, or another. */
  at(shard: string, state: ShardState): ShardReader {
    const waiting = this.#waiting.get(shard);
    this.#waiting.delete(shard);
    if (waiting?.place === placeOf(state)) return waiting.reader;
    waiting?.reader.close();
    const position = positionOf(state);
    if (typeof this.#consumer !== "string") return this.poll(shard, position);
    return subscribeToShard(this.#service, this.#stream, this.#consumer, shard, position);
  }

  /** One that asks. */
  poll(shard: string, position: Position): ShardReader {
    return pollShard(this.#service, this.#stream, shard, position, this.#paceOf(shard));
  }

  leave(shard: string, state: ShardState, reader: ShardReader): void {
    this.#waiting.set(shard, { place: placeOf(state), reader: reader instanceof Held ? reader : new Held(reader) });
  }

  /** True once a shard has something more, or nobody waits; false when the time is up. */
  async wait(
    states: Readonly<Record<string, ShardState>>,
    milliseconds: number,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const open = Object.entries(states).filter(([, { closed }]) => closed !== true);
    const waiting = open.map(([shard, state]) => {
      const held = this.#waiting.get(shard);
      return held?.place === placeOf(state) ? held.reader : undefined;
    });
    if (waiting.length === 0 || waiting.includes(undefined)) return true;
    const time = AbortSignal.timeout(milliseconds);
    const over = new AbortController();
    const either = AbortSignal.any([time, over.signal, ...(signal ? [signal] : [])]);
    const found = await Promise.all(
      waiting.map(async (reader) => {
        // What goes wrong here goes wrong in the plan too, which says so.
        const isNews = await reader!.look(either).catch(() => !either.aborted);
        if (isNews) over.abort();
        return isNews;
      }),
    );
    return signal?.aborted !== true && found.includes(true);
  }

  /** Age of the oldest record that waits, milliseconds. */
  behindMs(): number {
    return Math.max(0, ...[...this.#waiting.values()].map(({ reader }) => reader.behindMs(this.#service.now())));
  }

  close(): void {
    for (const { reader } of this.#waiting.values()) reader.close();
    this.#waiting.clear();
  }

  #paceOf(shard: string): Pace {
    let pace = this.#paces.get(shard);
    if (pace === undefined) {
      pace = new Pace(this.#options.calls_per_s, this.#options.bytes_per_s);
      this.#paces.set(shard, pace);
    }
    return pace;
  }
}

const placeOf = (state: ShardState): string => JSON.stringify(positionOf(state));

/** A reader that can look ahead: the page that it has found is the next one. */
class Held implements ShardReader {
  readonly #reader: ShardReader;
  #page: Page | undefined;

  constructor(reader: ShardReader) {
    this.#reader = reader;
  }

  async next(limit: number, signal?: AbortSignal): Promise<Page> {
    const page = this.#page;
    this.#page = undefined;
    return page ?? this.#reader.next(limit, signal);
  }

  /** True once there are records or the shard has ended; false when the signal was given first. */
  async look(signal: AbortSignal): Promise<boolean> {
    while (this.#page === undefined && !signal.aborted) {
      const page = await this.#reader.next(recordsOfAnswer, signal);
      if (page.records.length > 0 || page.ended !== undefined) this.#page = page;
      else await sleep(lookMs, undefined, { signal }).catch(() => undefined);
    }
    return this.#page !== undefined;
  }

  behindMs(now: number): number {
    const [first] = this.#page?.records ?? [];
    return first === undefined ? 0 : now - first.arrived;
  }

  close(): void {
    this.#reader.close();
  }
}
