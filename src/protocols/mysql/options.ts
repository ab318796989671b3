import * as z from "zod";

/** Where the server is, as whom to connect, and how patiently. */
export const connectionShape = {
  url: z
    .string()
    .min(1)
    .optional()
    .meta({ secret: true })
    .describe(
      "`mysql://user:password@host:port/database` (or `mariadb://…`); `ssl-mode`, `ssl-ca` and `socket` may follow after `?`.",
    ),
  host: z
    .string()
    .min(1)
    .optional()
    .describe("Name or address of the server, or the path of its Unix socket. Default `localhost`."),
  port: z.int().min(1).max(65535).optional().describe("Port of the server. Default 3306."),
  database: z
    .string()
    .min(1)
    .optional()
    .describe("Database whose tables need no prefix. Default: none; streams are then `database.table`."),
  user: z.string().min(1).optional().describe("User that reads; it needs no more than SELECT. Default `root`."),
  password: z.string().min(1).optional().meta({ secret: true }).describe("Password of the user."),
  ssl: z
    .enum(["disable", "prefer", "require", "verify-ca", "verify-full"])
    .optional()
    .describe(
      "Encryption: `prefer` takes what the server offers, `require` insists, `verify-ca` and `verify-full` also check the certificate. Default `prefer`.",
    ),
  ca: z
    .string()
    .min(1)
    .optional()
    .describe("File with the certificate authorities that are trusted, PEM. Default: those of Node.js."),
  certificate: z.string().min(1).optional().describe("File with the client's certificate, PEM; goes with `key`."),
  key: z.string().min(1).optional().describe("File with the client's private key, PEM; goes with `certificate`."),
  connections: z
    .int()
    .min(1)
    .max(64)
    .default(2)
    .describe("Connections that read at the same time, default 2; more than one needs LOCK TABLES, for an instant."),
  connectTimeoutMs: z
    .int()
    .min(1)
    .default(15_000)
    .describe("Longest time to connect and log in, milliseconds. Default 15,000."),
  statementTimeoutMs: z
    .int()
    .min(0)
    .default(0)
    .describe("The server ends a statement that takes longer, milliseconds. Default 0: no limit of ours."),
  lockTimeoutMs: z
    .int()
    .min(1)
    .default(30_000)
    .describe("Longest wait for a table that somebody is altering, milliseconds. Default 30,000."),
  readTimeoutMs: z
    .int()
    .min(1)
    .default(600_000)
    .describe("Longest silence of the server before the connection counts as lost, milliseconds. Default 600,000."),
  tinyintAsBoolean: z
    .boolean()
    .default(false)
    .describe(
      "Reads `tinyint(1)`, which is what BOOLEAN means here, as boolean; rows with another number than 0 and 1 are rejected. Default false: int, which loses nothing.",
    ),
};

/** What must fit together. */
export function checkConnection(context: z.core.ParsePayload<z.output<z.ZodObject<typeof connectionShape>>>): void {
  const { url, certificate, key } = context.value;
  const issue = (path: string, message: string): void => {
    context.issues.push({ code: "custom", path: [path], message, input: context.value });
  };
  for (const name of ["host", "port", "database", "user", "password"] as const) {
    if (url !== undefined && context.value[name] !== undefined) {
      issue(name, `\`${name}\` is part of \`url\` already; give one of the two`);
    }
  }
  if ((certificate === undefined) !== (key === undefined)) {
    issue(certificate === undefined ? "certificate" : "key", "`certificate` and `key` go together");
  }
}

export const options = z.strictObject(connectionShape).check(checkConnection);

export type Options = z.output<typeof options>;
