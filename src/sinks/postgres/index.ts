import { defineSink } from "../../core/index.ts";
import { options } from "./options.ts";

export default defineSink({
  name: "postgres",
  title: "PostgreSQL",
  summary: "A table for each published dataset, swapped or merged in one transaction with a record of its version.",
  options,
  needs: [
    "a PostgreSQL server, version 12 or newer",
    "a role with CONNECT on the database, and USAGE and CREATE on the schema",
  ],
  capabilities: { lookup: true, merge: true, atomic: true },
  examples: [
    {
      title: "Published after every run of a flow",
      yaml: [
        "connections:",
        '  online: { sink: postgres, url: "${env:ONLINE_URL}", schema: features }',
        "flows:",
        "  customers:",
        "    from: { path: customers/*.csv }",
        "    publish:",
        "      - { connection: online, key: [customer_id] }",
        "",
      ].join("\n"),
    },
    {
      title: "By parts, with a checked certificate",
      yaml: [
        "connections:",
        "  online:",
        "    sink: postgres",
        "    host: db.example.com",
        "    database: online",
        "    user: millrace",
        '    password: "${env:ONLINE_PASSWORD}"',
        "    ssl: verify-full",
        "    ca: ./online-ca.pem",
        "",
      ].join("\n"),
    },
  ],
  load: async () => import("./driver.ts"),
});
