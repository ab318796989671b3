import * as z from "zod";
import { checkConnection, connectionShape } from "../../protocols/mysql/options.ts";

export const options = z
  .strictObject({
    ...connectionShape,
    user: connectionShape.user.describe(
      "User that reads; it needs SELECT, LOCK TABLES, REPLICATION SLAVE and REPLICATION CLIENT (MariaDB: BINLOG MONITOR). Default `root`.",
    ),
    serverId: z
      .int()
      .min(1)
      .max(4_294_967_295)
      .optional()
      .describe(
        "Number by which the server knows a reader of its log; no two readers and no server of the topology may have the same. Default: made of connection, flow and folder.",
      ),
    maxBytes: z
      .int()
      .min(1)
      .optional()
      .describe(
        "About how much of the server's log one run reads, bytes; it ends with a file of the log. Default: all that is there.",
      ),
  })
  .check(checkConnection);

export type Options = z.output<typeof options>;
