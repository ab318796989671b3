import { defineSource } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSource({
  name: "mysql-changes",
  title: "MySQL and MariaDB, change by change",
  summary:
    "Every insertion, update and deletion of tables of MySQL and MariaDB from the server's own log, after one consistent first reading.",
  options,
  needs: [
    "MySQL 8 or MariaDB 10.6, or newer, with `log_bin`, `binlog_format = ROW`, `binlog_row_image = FULL` and `binlog_row_metadata = FULL`",
    "a user with SELECT and LOCK TABLES on the database, REPLICATION SLAVE, and REPLICATION CLIENT (MariaDB: BINLOG MONITOR)",
    "files of the log that are kept for longer than the flow may stand still (`binlog_expire_logs_seconds`)",
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
        '  shop: { source: mysql-changes, url: "${env:SHOP_URL}" }',
        "flows:",
        "  orders:",
        "    from: { connection: shop, stream: orders }",
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
        "    from: { connection: shop, stream: orders }",
        "    mode: append",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
});
