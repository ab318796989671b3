import { defineSource } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSource({
  name: "kafka",
  title: "Apache Kafka",
  summary: "Records of topics, each exactly once: the offsets are in the version that holds the records.",
  options,
  needs: [
    "brokers with the protocol of Apache Kafka 2.3 or newer: Kafka, Redpanda, Amazon MSK, Confluent",
    "`Describe` and `Read` on the topics; with `group` also `Read` on the group",
  ],
  capabilities: {
    discover: true,
    incremental: true,
    query: false,
    replayable: true,
    snapshot: false,
    deletes: true,
    measure: false,
  },
  examples: [
    {
      title: "JSON of a topic, a version whenever there is something new (`millrace run orders --watch`)",
      yaml: "connections:\n  bus:\n    source: kafka\n    brokers: [kafka-1:9092, kafka-2:9092]\nflows:\n  orders:\n    from: { connection: bus, stream: orders }\n",
    },
    {
      title: "Avro by a schema registry, with TLS and SCRAM, from a time on",
      yaml: [
        "connections:",
        "  bus:",
        "    source: kafka",
        "    brokers: [kafka.example.com:9093]",
        "    tls: { ca: ./kafka-ca.pem }",
        '    sasl: { mechanism: scram-sha-512, username: millrace, password: "${env:KAFKA_PASSWORD}" }',
        '    registry: { url: "https://registry.example.com", username: key, password: "${env:REGISTRY_SECRET}" }',
        "    value: avro",
        "    from: 2026-11-24T00:00:00Z",
        "",
      ].join("\n"),
    },
    {
      title: "All topics of a pattern on Amazon MSK, with offsets for lag tools",
      yaml: [
        "connections:",
        "  bus:",
        "    source: kafka",
        "    brokers: [b-1.shop.kafka.eu-west-1.amazonaws.com:9098]",
        "    sasl: { mechanism: aws-msk-iam, region: eu-west-1 }",
        "    group: millrace",
        "flows:",
        "  events:",
        "    from: { connection: bus, stream: '/^shop\\./', options: { max_records: 5000000 } }",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
});
