import definition from "../../src/sources/kafka/index.ts";
import { sourceContract, type SourceRow } from "../contracts/source.ts";
import { startKafkaForTests } from "./kafka-support.ts";

sourceContract({
  name: "kafka",
  definition,
  async start() {
    const kafka = await startKafkaForTests();
    await kafka.topic("first");
    const append = (name: string, rows: readonly SourceRow[]): Promise<void> =>
      kafka.send(rows.map((row) => ({ topic: name, partition: row.id % 2, value: JSON.stringify(row) })));
    return {
      options: { brokers: kafka.brokers },
      wrong: [
        {
          what: "port",
          options: { brokers: ["127.0.0.1:1"], connect_timeout_ms: 1_000, request_timeout_ms: 2_000 },
          code: "unreachable",
        },
      ],
      maximumRows: 5_000,
      async create(name, rows) {
        await kafka.topic(name, 2);
        if (rows.length > 0) await append(name, rows);
        return { stream: name, columns: ["id", "text"] };
      },
      append,
      [Symbol.asyncDispose]: () => kafka[Symbol.asyncDispose](),
    };
  },
});
