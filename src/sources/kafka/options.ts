import * as z from "zod";
import { accountShape } from "../../protocols/aws/options.ts";
import { messageShape } from "../messages/index.ts";

const user = {
  username: z.string().min(1).describe("User."),
  password: z.string().min(1).meta({ secret: true }).describe("Password."),
};

const sasl = z.discriminatedUnion("mechanism", [
  z.strictObject({
    mechanism: z.enum(["plain", "scram-sha-256", "scram-sha-512"]).describe("How the password is shown to the broker."),
    ...user,
  }),
  z.strictObject({
    mechanism: z.literal("oauthbearer").describe("A token of an identity provider."),
    token: z
      .string()
      .min(1)
      .meta({ secret: true })
      .optional()
      .describe("The token. Default: asked for at `token_url`."),
    token_url: z
      .url({ protocol: /^https?$/ })
      .optional()
      .describe("Token endpoint of the provider (OAuth 2.0 client credentials)."),
    client_id: z.string().min(1).optional().describe("Client id for `token_url`."),
    client_secret: z.string().min(1).meta({ secret: true }).optional().describe("Client secret for `token_url`."),
    scope: z.string().min(1).optional().describe("Scope that is asked for at `token_url`."),
    allow_hosts: z
      .array(z.string())
      .default([])
      .describe("Hosts that are not public and may be asked for tokens: `login.corp.example`, `10.0.0.5:8443`."),
    extensions: z.record(z.string(), z.string()).default({}).describe("SASL extensions, such as `logicalCluster`."),
  }),
  z.strictObject({
    mechanism: z.literal("aws-msk-iam").describe("Amazon MSK with IAM."),
    region: z.string().min(1).describe("Region of the cluster."),
    ...accountShape,
  }),
]);

const tls = z.strictObject({
  ca: z
    .string()
    .min(1)
    .optional()
    .describe("File with the certificate authorities that are trusted, PEM. Default: those of Node.js."),
  cert: z.string().min(1).optional().describe("File with the client's certificate, PEM."),
  key: z.string().min(1).optional().describe("File with the client's private key, PEM."),
  passphrase: z.string().min(1).meta({ secret: true }).optional().describe("Passphrase of the private key."),
});

const offset = z.union([z.int().min(0), z.string().regex(/^\d+$/)]);

/** What may differ from stream to stream: in the connection, or in the `options` of a flow. */
export const streamShape = {
  from: z
    .union([
      z.enum(["earliest", "latest"]),
      z.iso.datetime({ offset: true }),
      z.record(z.string(), z.record(z.string().regex(/^\d+$/), offset)),
    ])
    .default("earliest")
    .describe(
      "Where the first run begins: `earliest`, `latest`, a time (`2026-11-24T00:00:00Z`: the first record at or after it), or offsets by topic and partition (`{ orders: { 0: 1200 } }`; others at the earliest). Default `earliest`.",
    ),
  isolation: z
    .enum(["read_committed", "read_uncommitted"])
    .default("read_committed")
    .describe("Whether records of open and aborted transactions are left out. Default `read_committed`."),
  on_gap: z
    .enum(["fail", "continue"])
    .default("fail")
    .describe(
      "When records were removed before they were read (retention, a topic that was made anew): `fail`, or `continue` with what is there, which is told in the rejected records. Default `fail`.",
    ),
  max_records: z.int().min(1).optional().describe("Most records of one version. Default: all that are there."),
  max_bytes: z
    .int()
    .min(1)
    .optional()
    .describe("About so many bytes of one version, by a sample of the records. Default: all that are there."),
  group: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Consumer group whose offsets follow the committed versions, for tools that show the lag. They are never read. Default: none.",
    ),
  key: z
    .enum(["text", "base64"])
    .default("text")
    .describe("How `_key` holds the key: as UTF-8 text, or as base64. Default `text`."),
  ...messageShape,
};

export const options = z.strictObject({
  brokers: z
    .array(z.string().regex(/^(\[[^\]]+\]|[^\s:]+):\d+$/))
    .min(1)
    .describe("`host:port` of some brokers; the others are found."),
  tls: z.union([z.boolean(), tls]).default(false).describe("Encrypt, and check the certificate. Default false."),
  sasl: sasl.optional().describe("Who we are. Default: nobody, or the certificate of `tls`."),
  client_id: z.string().min(1).default("millrace").describe("Name in the logs and quotas of the brokers."),
  registry: z
    .strictObject({
      url: z.url({ protocol: /^https?$/ }).describe("Address of the schema registry (Confluent's API)."),
      username: z.string().min(1).optional().describe("User, or API key."),
      password: z.string().min(1).meta({ secret: true }).optional().describe("Password, or secret of the API key."),
      token: z.string().min(1).meta({ secret: true }).optional().describe("Bearer token, instead of a user."),
      allow_hosts: z
        .array(z.string())
        .default([])
        .describe("Hosts that are not public and may be asked: `registry.corp.example`, `10.0.0.5:8081`."),
      ca: z.string().min(1).optional().describe("File with the certificate authorities that are trusted, PEM."),
    })
    .optional()
    .describe("Where the schemas of `avro`, `protobuf` and `json` values are, by the id that each value begins with."),
  connect_timeout_ms: z.int().min(1).default(10_000).describe("Longest time to connect, milliseconds. Default 10,000."),
  request_timeout_ms: z
    .int()
    .min(1)
    .default(30_000)
    .describe("Longest wait for an answer before the connection counts as lost, milliseconds. Default 30,000."),
  ...streamShape,
});

export type KafkaOptions = z.output<typeof options>;

const streamOptions = z.strictObject(streamShape);
export type StreamOptions = z.output<typeof streamOptions>;

/** The options of a stream: those of the flow before those of the connection. Gives the issues of what does not fit. */
export function streamOptionsOf(
  connection: KafkaOptions,
  own: Record<string, unknown> | undefined,
): ReturnType<typeof streamOptions.safeParse> {
  const base = Object.fromEntries(
    Object.keys(streamShape).map((name) => [name, connection[name as keyof KafkaOptions]]),
  );
  return streamOptions.safeParse({ ...base, ...own });
}
