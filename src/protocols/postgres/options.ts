import * as z from "zod";

/** Options of a connection, the same for whoever reads and whoever writes. */
export const connectionShape = {
  url: z
    .string()
    .min(1)
    .optional()
    .meta({ secret: true })
    .describe(
      "`postgres://user:password@host:port/database`; `sslmode`, `sslrootcert`, `application_name` and `host` (folder of a Unix socket) may follow after `?`.",
    ),
  host: z
    .string()
    .min(1)
    .optional()
    .describe("Name or address of the server, or the folder of its Unix socket. Default `localhost`."),
  port: z.int().min(1).max(65535).optional().describe("Port of the server. Default 5432."),
  database: z.string().min(1).optional().describe("Name of the database. Default: the name of the user."),
  user: z.string().min(1).optional().describe("Role to log in as. Default `postgres`."),
  password: z.string().min(1).optional().meta({ secret: true }).describe("Password of the role."),
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
};

export type ConnectionOptions = z.output<z.ZodObject<typeof connectionShape>>;

/** Options that do not go together. */
export function checkConnection(context: z.core.ParsePayload<ConnectionOptions>): void {
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
