import * as z from "zod";
import { checkConnection, connectionShape } from "../../protocols/postgres/options.ts";

export const options = z
  .strictObject({
    ...connectionShape,
    user: connectionShape.user.describe("Role that reads; it needs no more than SELECT. Default `postgres`."),
    schemas: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe("Schemas that `discover` lists and `check` looks at. Default: all but the system's."),
    connections: z
      .int()
      .min(1)
      .max(64)
      .default(2)
      .describe("Connections that read at the same time, default 2; one more holds the snapshot meanwhile."),
  })
  .check(checkConnection);

export type Options = z.output<typeof options>;
