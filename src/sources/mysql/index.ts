import { defineSource } from "../../core/index.ts";
import { options } from "../../protocols/mysql/options.ts";

export default defineSource({
  name: "mysql",
  title: "MySQL and MariaDB",
  summary: "Tables, views and any SELECT of a MySQL or MariaDB server, read in one consistent snapshot.",
  options,
  needs: [
    "MySQL 8 or MariaDB 10.6, or newer",
    "a user with SELECT on the tables",
    "LOCK TABLES on the database, to read one table over several connections; without it one connection reads",
    "tables of an engine with transactions (InnoDB) for one moment in all parts; others are read in one part",
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
    { title: "By URL", yaml: 'connections:\n  shop: { source: mysql, url: "${env:SHOP_URL}" }\n' },
    {
      title: "By parts, with a checked certificate",
      yaml: [
        "connections:",
        "  shop:",
        "    source: mysql",
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
        "    from: { connection: shop, stream: orders, cursor: updated_at, lag: 60 }",
        "    mode: merge",
        "    key: [id]",
        "",
      ].join("\n"),
    },
    {
      title: "A statement",
      yaml: [
        "flows:",
        "  paid:",
        "    from:",
        "      connection: shop",
        "      query: select id, amount, coalesce(updated_at, created_at) as changed_at from orders where paid",
        "      cursor: changed_at",
        "    mode: merge",
        "    key: [id]",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
});
