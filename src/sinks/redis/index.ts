import { defineSink } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSink({
  name: "redis",
  title: "Redis and Valkey",
  summary:
    "A row for each key of a dataset, of one server or a cluster; versions are written beside each other and switched at once.",
  options,
  needs: [
    "Redis 6.2, Valkey 7.2 or newer; ElastiCache and MemoryDB",
    "a user with `~millrace:* +@read +@write +@connection +eval`",
    "`maxmemory-policy noeviction`: rows that the server gives up would be missing",
  ],
  capabilities: { lookup: true, merge: false, atomic: true },
  examples: [
    {
      title: "Published after every run of a flow",
      yaml: [
        "connections:",
        '  online: { sink: redis, url: "${env:REDIS_URL}" }',
        "flows:",
        "  customers:",
        "    from: { path: customers/*.csv }",
        "    publish:",
        "      - { connection: online, key: [customer_id] }",
        "",
      ].join("\n"),
    },
    {
      title: "A cluster",
      yaml: [
        "connections:",
        "  online:",
        "    sink: redis",
        "    nodes: [redis-1.example.com:6379, redis-2.example.com:6379]",
        "    tls: true",
        "    username: millrace",
        '    password: "${env:REDIS_PASSWORD}"',
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
});
