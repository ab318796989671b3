import * as z from "zod";
import { defineSource } from "../../core/index.ts";

export const mysqlOptions = z.strictObject({
  url: z
    .string()
    .regex(/^(mysql|mariadb):\/\//, "must begin with mysql:// or mariadb://")
    .meta({ secret: true })
    .optional()
    .describe(
      "Address of the server: mysql://user:password@host:port/database. Instead of `host`, `user` and the like.",
    ),
  host: z.string().min(1).optional().describe("Host of the server. Default localhost."),
  port: z.int().min(1).max(65_535).optional().describe("Port of the server. Default 3306."),
  database: z
    .string()
    .min(1)
    .optional()
    .describe("Database whose tables need no prefix. Default: none, streams are database.table."),
  user: z.string().min(1).optional().describe("User that may SELECT what is read."),
  password: z.string().meta({ secret: true }).optional().describe("Password of the user."),
  ssl: z
    .enum(["off", "on", "verify"])
    .optional()
    .describe(
      "off: plain text. on: encrypted, whoever answers. verify: encrypted, and the certificate must be trusted. Default: verify with `ca`, else off.",
    ),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe("File with the certificates (PEM) of the authorities to trust, for `ssl: verify`."),
  connections: z
    .int()
    .min(1)
    .max(64)
    .default(2)
    .describe(
      "Parts of a table that are read at once, each over its own connection. Default 2. More than one needs LOCK TABLES.",
    ),
  connectTimeoutMs: z
    .int()
    .positive()
    .default(10_000)
    .describe("How long a connection may take, milliseconds. Default 10,000."),
  statementTimeoutMs: z
    .int()
    .nonnegative()
    .default(0)
    .describe("How long the server may work on one statement, milliseconds. Default 0: no limit."),
  tinyintAsBoolean: z
    .boolean()
    .default(false)
    .describe(
      "Read tinyint(1), which is what BOOLEAN means here, as boolean; rows with other numbers than 0 and 1 are rejected. Default false: int.",
    ),
});

export type MysqlOptions = z.output<typeof mysqlOptions>;

export default defineSource({
  name: "mysql",
  title: "MySQL and MariaDB",
  summary:
    "Tables, views and queries of MySQL 8 and MariaDB, from one consistent moment, in parallel ranges of the primary key.",
  options: mysqlOptions,
  needs: [
    "a user with SELECT on what is read",
    "LOCK TABLES on the database, to read one table over several connections (held for milliseconds; without it: one connection)",
    "InnoDB or another engine with transactions, for a consistent moment; tables of other engines are read by one statement",
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
    {
      title: "A shop, read incrementally",
      yaml: `connections:
  shop: { source: mysql, url: "\${env:SHOP_URL}" }
flows:
  orders:
    from: { connection: shop, stream: orders, cursor: updated_at }
    mode: merge
    key: [id]
`,
    },
    {
      title: "A query, over an encrypted connection",
      yaml: `connections:
  warehouse:
    source: mysql
    host: db.example.org
    database: warehouse
    user: reader
    password: "\${env:WAREHOUSE_PASSWORD}"
    ca: ./rds-ca.pem
flows:
  daily_sales:
    from:
      connection: warehouse
      query: select day, sum(amount) as amount from sales group by day
    mode: replace
`,
    },
  ],
  load: async () => import("./driver.ts"),
});
