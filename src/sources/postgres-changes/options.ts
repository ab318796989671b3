import * as z from "zod";
import { checkConnection, connectionShape } from "../../protocols/postgres/options.ts";

export const options = z
  .strictObject({
    ...connectionShape,
    user: connectionShape.user.describe(
      "Role that reads; it needs SELECT on the tables and the attribute REPLICATION. Default `postgres`.",
    ),
    schemas: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe("Schemas that `discover` lists and `check` looks at. Default: all but the system's."),
    publication: z
      .string()
      .min(1)
      .max(63)
      .optional()
      .describe(
        "Publication that holds the tables, made by their owner. Default: one for each stream, made by Millrace, for which the role must own the table.",
      ),
    connections: z
      .int()
      .min(1)
      .max(64)
      .default(2)
      .describe("Connections that read the first snapshot at the same time, default 2; two more hold it meanwhile."),
    maxBytes: z
      .int()
      .min(1)
      .optional()
      .describe(
        "Most of the server's log that one run reads, bytes; a transaction is never cut. Default: all that is there.",
      ),
  })
  .check(checkConnection);

export type Options = z.output<typeof options>;
