import { Admin, Producer, type Message } from "@platformatic/kafka";
import { startKafka, type KafkaCluster, type KafkaOptions } from "../services/kafka.ts";
import { openPlace, type Place } from "../support/flows.ts";

export type Row = Record<string, unknown>;
type Sent = {
  topic: string;
  key?: string;
  value?: string | Buffer | null;
  partition?: number;
  headers?: [string, string | Buffer][];
};

/** A broker, and clients of its own library that tests write with. */
export interface Kafka extends KafkaCluster {
  admin: Admin;
  producer: Producer<Buffer, Buffer, Buffer, Buffer>;
  topic(name: string, partitions?: number, configs?: Record<string, string>): Promise<void>;
  send(messages: readonly Sent[], compression?: "none" | "gzip" | "snappy" | "lz4" | "zstd"): Promise<void>;
  /** A lake with the flow `events` of a stream. */
  place(stream: string, options?: Row, connection?: Row): Promise<Place>;
}

export async function startKafkaForTests(options: KafkaOptions = {}): Promise<Kafka> {
  const cluster = await startKafka(options);
  const clients = { clientId: "test", bootstrapBrokers: cluster.brokers };
  const admin = new Admin(clients);
  const producer = new Producer<Buffer, Buffer, Buffer, Buffer>({ ...clients, idempotent: true });
  return {
    ...cluster,
    admin,
    producer,
    async topic(name, partitions = 1, configs = {}) {
      const own = Object.entries(configs).map(([key, value]) => ({ name: key, value }));
      await admin.createTopics({
        topics: [name],
        partitions,
        replicas: Math.min(3, cluster.nodes.length),
        configs: own,
      });
    },
    async send(messages, compression = "none") {
      await producer.send({ compression, messages: messages.map(messageOf) });
    },
    async place(stream, own = {}, connection = {}) {
      const place = await openPlace();
      await place.configure(
        { events: { from: { connection: "bus", stream, options: own } } },
        { connections: { bus: { source: "kafka", brokers: cluster.brokers, ...connection } } },
      );
      return place;
    },
    async [Symbol.asyncDispose]() {
      await producer.close(true);
      await admin.close();
      await cluster[Symbol.asyncDispose]();
    },
  };
}

export function messageOf({ topic, key, value, partition, headers }: Sent): Message<Buffer, Buffer, Buffer, Buffer> {
  return {
    topic,
    ...(partition === undefined ? {} : { partition }),
    ...(key === undefined ? {} : { key: Buffer.from(key) }),
    ...(value === undefined || value === null ? {} : { value: Buffer.from(value) }),
    ...(headers === undefined
      ? {}
      : { headers: new Map(headers.map(([name, text]) => [Buffer.from(name), Buffer.from(text)])) }),
  } as Message<Buffer, Buffer, Buffer, Buffer>;
}
