import { defineSource } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSource({
  name: "postgres-changes",
  title: "PostgreSQL, change by change",
  summary:
    "Every insertion, update and deletion of PostgreSQL tables from the server's own log, after one consistent first reading.",
  options,
  needs: [
    "a PostgreSQL server, version 12 or newer, with `wal_level = logical` and room in `max_replication_slots`: one for each flow, one more while it begins",
    "a role with REPLICATION and SELECT on the tables; their owner makes the publication, or the role owns them",
    "tables with a primary key, or with REPLICA IDENTITY FULL",
  ],
  capabilities: {
    discover: true,
    incremental: true,
    query: false,
    replayable: true,
    snapshot: true,
    deletes: true,
    measure: false,
  },
  examples: [
    {
      title: "A dataset that follows a table, deletions included",
      yaml: [
        "connections:",
        '  shop: { source: postgres-changes, url: "${env:SHOP_URL}", publication: millrace }',
        "flows:",
        "  orders:",
        "    from: { connection: shop, stream: public.orders }",
        "    mode: merge",
        "    key: [id]",
        "",
      ].join("\n"),
    },
    {
      title: "The log of all changes",
      yaml: [
        "flows:",
        "  order_changes:",
        "    from: { connection: shop, stream: public.orders }",
        "    mode: append",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
});
