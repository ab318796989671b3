import * as z from "zod";
import { checkConnection, connectionShape } from "../../protocols/postgres/options.ts";

export const options = z
  .strictObject({
    ...connectionShape,
    user: connectionShape.user.describe(
      "Role that writes; it needs USAGE and CREATE on the schema. Default `postgres`.",
    ),
    schema: z
      .string()
      .min(1)
      .default("public")
      .describe("Schema of the tables and of `millrace_publications`, which says what they hold. Default `public`."),
    connections: z
      .int()
      .min(1)
      .max(64)
      .default(4)
      .describe("Connections that answer lookups at the same time. Default 4."),
  })
  .check(checkConnection);

export type Options = z.output<typeof options>;
