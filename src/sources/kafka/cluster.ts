import {
  apiVersionsV1,
  findCoordinatorV3,
  listOffsetsV5,
  metadataV10,
  metadataV12,
  metadataV7,
  offsetCommitV7,
  type ConnectionOptions,
} from "@platformatic/kafka";
import { MillraceError, retry } from "../../core/index.ts";
import { Brokers, type Lane } from "./brokers.ts";
import { brokerError } from "./errors.ts";
import type { KafkaOptions } from "./options.ts";
import { fetchAnswer, fetchKey, fetchRequest, fetchVersions, type FetchAnswer, type FetchWish } from "./wire.ts";

export interface Partition {
  number: number;
  /** Id of the broker; -1 while there is none. */
  leader: number;
  error: number;
}
export interface Topic {
  name: string;
  /** Another one when the topic is deleted and made anew; empty where brokers are older than Kafka 2.8. */
  id: string;
  isInternal: boolean;
  error: number;
  partitions: Partition[];
}
export interface Place {
  topic: string;
  partition: number;
  leader: number;
}
const noId = "00000000-0000-0000-0000-000000000000";
/** About 40 s in all. */
const patience = { tries: 14, delayMs: 100, maximumDelayMs: 5_000 };

/** What the source asks of a cluster, whichever versions of the protocol it speaks. */
export class Cluster implements AsyncDisposable {
  readonly #brokers: Brokers;
  readonly #where: { connection: string };
  #versions: Map<number, number> | undefined;

  constructor(options: KafkaOptions, settings: (host: string) => ConnectionOptions, connection: string) {
    this.#brokers = new Brokers(options, settings, connection);
    this.#where = { connection };
  }

  /** Calls again while leaders move and brokers start, up to about 40 s. */
  steady<T>(action: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return retry(action, { ...patience, ...(signal === undefined ? {} : { signal }) });
  }

  /** The topics with these names, or all. What is wrong with one stands in its `error`. */
  async topics(names: readonly string[] | undefined, signal?: AbortSignal): Promise<Topic[]> {
    const newest = (await this.#known(signal)).get(3) ?? 0;
    const asked = names === undefined ? null : [...names];
    const answer = await this.#brokers.ask(undefined, "ask", signal, (connection) =>
      newest >= 12
        ? metadataV12.api.async(connection, asked, false, false)
        : newest >= 10
          ? metadataV10.api.async(connection, asked?.map((name) => ({ name })) ?? null, false, false, false)
          : metadataV7.api.async(connection, asked, false),
    );
    this.#brokers.known.clear();
    for (const { nodeId, host, port } of answer.brokers) this.#brokers.known.set(nodeId, { host, port });
    return answer.topics.map((topic) => ({
      name: topic.name ?? "",
      id: topic.topicId === noId ? "" : topic.topicId,
      isInternal: topic.isInternal,
      error: topic.errorCode,
      partitions: topic.partitions
        .map(({ partitionIndex, leaderId, errorCode }) => ({
          number: partitionIndex,
          leader: leaderId,
          error: errorCode,
        }))
        .toSorted((left, right) => left.number - right.number),
    }));
  }

  /** Offsets by time, in the order of the places: -2 the first, -1 the end, else the first at or after it (-1: none). */
  async offsets(places: readonly Place[], time: bigint, committed: boolean, signal?: AbortSignal): Promise<number[]> {
    const found = new Map<string, number>();
    await Promise.all(
      [...groupBy(places, ({ leader }) => leader)].map(async ([leader, own]) => {
        const topics = [...groupBy(own, ({ topic }) => topic)].map(([name, parts]) => ({
          name,
          partitions: parts.map(({ partition }) => ({
            partitionIndex: partition,
            currentLeaderEpoch: -1,
            timestamp: time,
          })),
        }));
        const answer = await this.#brokers.ask(leader, "ask", signal, (connection) =>
          listOffsetsV5.api.async(connection, -1, committed ? 1 : 0, topics),
        );
        for (const topic of answer.topics) {
          for (const { partitionIndex, errorCode, offset } of topic.partitions) {
            if (errorCode !== 0) throw this.#refused(errorCode, `topic \`${topic.name}\`, partition ${partitionIndex}`);
            found.set(`${topic.name}/${partitionIndex}`, Number(offset));
          }
        }
      }),
    );
    return places.map(({ topic, partition }) => found.get(`${topic}/${partition}`)!);
  }

  /** Record batches from the offsets on. Answers name topics as the version does: by id from 13 on. */
  async fetch(
    leader: number,
    wishes: readonly FetchWish[],
    limits: { lane: Lane; waitMs: number; maximumBytes: number; committed: boolean },
    signal?: AbortSignal,
  ): Promise<FetchAnswer[]> {
    const newest = (await this.#known(signal)).get(fetchKey) ?? 0;
    const known = fetchVersions.filter(
      (version) => version <= newest && (version < 13 || wishes.every(({ id }) => id !== "")),
    );
    const version = known.at(-1);
    if (version === undefined) {
      throw new MillraceError("unsupported", "the brokers are older than Kafka 2.3", { where: this.#where });
    }
    const isFlexible = version >= 12;
    const { error, partitions } = await this.#brokers.ask(
      leader,
      limits.lane,
      signal,
      (connection) =>
        new Promise<ReturnType<typeof fetchAnswer>>((resolve, reject) => {
          connection.send<ReturnType<typeof fetchAnswer>>(
            fetchKey,
            version,
            () => fetchRequest(version, wishes, { ...limits, minimumBytes: 1 }),
            fetchAnswer,
            isFlexible,
            isFlexible,
            (failure, answer) => (failure ? reject(failure) : resolve(answer!)),
          );
        }),
      limits.waitMs,
    );
    if (error !== 0) throw this.#refused(error, "reading");
    return partitions;
  }

  /** Sets the offsets of a group in which nobody consumes. */
  async commit(
    group: string,
    offsets: readonly { topic: string; partition: number; offset: number }[],
    signal?: AbortSignal,
  ): Promise<void> {
    const found = await this.#brokers.ask(undefined, "ask", signal, (connection) =>
      findCoordinatorV3.api.async(connection, 0, [group]),
    );
    const coordinator = found.coordinators[0]!;
    if (coordinator.errorCode !== 0) throw this.#refused(coordinator.errorCode, `group \`${group}\``);
    this.#brokers.known.set(coordinator.nodeId, { host: coordinator.host, port: coordinator.port });
    const topics = [...groupBy(offsets, ({ topic }) => topic)].map(([name, own]) => ({
      name,
      partitions: own.map(({ partition, offset }) => ({
        partitionIndex: partition,
        committedOffset: BigInt(offset),
        committedLeaderEpoch: -1,
        committedMetadata: null,
      })),
    }));
    const answer = await this.#brokers.ask(coordinator.nodeId, "ask", signal, (connection) =>
      offsetCommitV7.api.async(connection, group, -1, "", null, topics),
    );
    for (const { partitions } of answer.topics) {
      for (const { errorCode } of partitions) if (errorCode !== 0) throw this.#refused(errorCode, `group \`${group}\``);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#brokers[Symbol.asyncDispose]();
  }

  #refused(code: number, what: string): MillraceError {
    return brokerError(code, what, this.#where);
  }

  /** The newest version of each API that the brokers know. */
  async #known(signal: AbortSignal | undefined): Promise<Map<number, number>> {
    if (this.#versions === undefined) {
      const { apiKeys } = await this.#brokers.ask(undefined, "ask", signal, (connection) =>
        apiVersionsV1.api.async(connection, "millrace", "1"),
      );
      this.#versions = new Map(apiKeys.map(({ apiKey, maxVersion }) => [apiKey, maxVersion]));
    }
    return this.#versions;
  }
}

export function groupBy<K, V>(values: Iterable<V>, keyOf: (value: V) => K): Map<K, V[]> {
  const groups = new Map<K, V[]>();
  for (const value of values) {
    const key = keyOf(value);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [value]);
    else group.push(value);
  }
  return groups;
}
