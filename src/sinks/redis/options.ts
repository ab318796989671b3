import * as z from "zod";

export const options = z
  .strictObject({
    url: z
      .string()
      .regex(/^rediss?:\/\//)
      .optional()
      .meta({ secret: true })
      .describe("`redis://user:password@host:port/database`, with TLS `rediss://…`."),
    host: z.string().min(1).optional().describe("Name or address of the server. Default `localhost`."),
    port: z.int().min(1).max(65535).optional().describe("Port of the server. Default 6379."),
    nodes: z
      .array(z.string().regex(/^[^\s:]+:\d+$/))
      .min(1)
      .optional()
      .describe("`host:port` of some nodes of a cluster; the others are found. Instead of `url` and `host`."),
    username: z.string().min(1).optional().describe("User of the server's access control. Default: the default user."),
    password: z.string().min(1).optional().meta({ secret: true }).describe("Password of the user."),
    database: z.int().min(0).optional().describe("Number of the database; a cluster has 0 only. Default 0."),
    tls: z.boolean().optional().describe("Encrypt, and check the certificate. Default false, with `rediss://` true."),
    ca: z
      .string()
      .min(1)
      .optional()
      .describe("File with the certificate authorities that are trusted, PEM. Default: those of Node.js."),
    prefix: z.string().default("millrace:").describe("Before the names of all keys. Default `millrace:`."),
    keep_s: z
      .int()
      .min(1)
      .default(300)
      .describe("How long the version before stays for readers that are in the middle of it, seconds. Default 300."),
    connectTimeoutMs: z.int().min(1).default(10_000).describe("Longest time to connect, milliseconds. Default 10,000."),
    commandTimeoutMs: z
      .int()
      .min(1)
      .default(60_000)
      .describe("Longest wait for an answer before the connection counts as lost, milliseconds. Default 60,000."),
  })
  .refine((given) => [given.url, given.host, given.nodes].filter((each) => each !== undefined).length <= 1, {
    message: "`url`, `host` and `nodes` exclude each other",
  });

export type Options = z.output<typeof options>;
