import { defineSource } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSource({
  name: "postgres",
  title: "PostgreSQL",
  summary: "Tables, views and any SELECT of a PostgreSQL database, read in one consistent snapshot.",
  options,
  needs: [
    "a PostgreSQL server, version 12 or newer (from 14 on big tables are read in parallel parts)",
    "a role with CONNECT on the database, USAGE on the schemas and SELECT on the tables",
  ],
  capabilities: {
    discover: true,
    incremental: true,
    query: true,
    replayable: true,
    snapshot: true,
    deletes: false,
    measure: true,
  },
  examples: [
    { title: "By URL", yaml: 'connections:\n  shop: { source: postgres, url: "${env:SHOP_URL}" }\n' },
    {
      title: "By parts, with a checked certificate",
      yaml: [
        "connections:",
        "  shop:",
        "    source: postgres",
        "    host: db.example.com",
        "    database: shop",
        "    user: millrace",
        '    password: "${env:SHOP_PASSWORD}"',
        "    ssl: verify-full",
        "    ca: ./shop-ca.pem",
        "",
      ].join("\n"),
    },
    {
      title: "A table, read on from the last change",
      yaml: [
        "flows:",
        "  orders:",
        "    from: { connection: shop, stream: public.orders, cursor: updated_at, lag: 60 }",
        "    mode: merge",
        "    key: [id]",
        "",
      ].join("\n"),
    },
    {
      title: "A statement, and a numeric column without precision as a decimal",
      yaml: [
        "flows:",
        "  paid:",
        "    from:",
        "      connection: shop",
        "      query: select id, amount, coalesce(updated_at, created_at) as changed_at from orders where paid",
        "      cursor: changed_at",
        "      options: { types: { amount: 'decimal(20,6)' } }",
        "    mode: merge",
        "    key: [id]",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
});
