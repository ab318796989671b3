import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { resolve } from "node:path";
import { rootCertificates } from "node:tls";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import type { ConnectionOptions } from "@platformatic/kafka";
import { messageOf, MillraceError, registerSecret, safeFetch, type SourceContext } from "../../core/index.ts";
import { account, type Keys } from "../../protocols/aws/account.ts";
import { mskToken } from "./msk.ts";
import type { KafkaOptions } from "./options.ts";

type Sasl = NonNullable<ConnectionOptions["sasl"]>;
type OauthOptions = Extract<NonNullable<KafkaOptions["sasl"]>, { mechanism: "oauthbearer" }>;

/** How to connect to a broker by its host. Throws `config` for files that cannot be read and options that do not fit together. */
export async function connectionSettings(
  options: KafkaOptions,
  context: Pick<SourceContext, "connection" | "folder">,
): Promise<(host: string) => ConnectionOptions> {
  const { sasl, tls } = options;
  const files = typeof tls === "object" ? tls : {};
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new MillraceError("config", "`tls.cert` and `tls.key` belong together", {
      where: { connection: context.connection },
    });
  }
  const read = (name: "ca" | "cert" | "key"): Promise<string | undefined> =>
    fileOf(files[name], `tls.${name}`, context);
  const [ca, cert, key] = await Promise.all([read("ca"), read("cert"), read("key")]);
  if (files.passphrase !== undefined) registerSecret(files.passphrase);
  const secure = {
    ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }),
    ...(cert === undefined || key === undefined ? {} : { cert, key }),
    ...(files.passphrase === undefined ? {} : { passphrase: files.passphrase }),
  };
  const identity = sasl === undefined ? undefined : await saslOf(sasl, context);
  // MSK with IAM has no listener without TLS.
  const isSecure = tls !== false || sasl?.mechanism === "aws-msk-iam";
  return (host) => ({
    connectTimeout: options.connect_timeout_ms,
    // The deadline of each call is ours.
    requestTimeout: 2 * options.request_timeout_ms,
    ...(isSecure ? { tls: secure, ...(isIP(host) === 0 ? { tlsServerName: host } : {}) } : {}),
    ...(identity === undefined ? {} : { sasl: identity }),
  });
}

/** Text of a file that an option names, from the folder of the configuration. */
export async function fileOf(
  file: string | undefined,
  option: string,
  { connection, folder }: Pick<SourceContext, "connection" | "folder">,
): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(resolve(folder, file), "utf8");
  } catch (cause) {
    throw new MillraceError("config", `the file \`${file}\` of \`${option}\` cannot be read: ${messageOf(cause)}`, {
      cause,
      where: { connection },
      hint: "the path is taken from the folder of the configuration file",
    });
  }
}

async function saslOf(
  sasl: NonNullable<KafkaOptions["sasl"]>,
  { connection }: Pick<SourceContext, "connection">,
): Promise<Sasl> {
  switch (sasl.mechanism) {
    case "aws-msk-iam": {
      const { region, credentials, role } = sasl;
      const handler = new NodeHttpHandler({ socketTimeout: 30_000 });
      const given = (await account({ region, credentials, role }, handler)).credentials;
      const keysOf =
        typeof given === "function" ? given : given === undefined ? await defaultKeys() : async () => given;
      return { mechanism: "OAUTHBEARER", token: async () => mskToken(await keysOf(), region, new Date()) };
    }
    case "oauthbearer": {
      if ((sasl.token === undefined) === (sasl.token_url === undefined)) {
        throw new MillraceError("config", "`sasl` needs either `token` or `token_url`", { where: { connection } });
      }
      for (const secret of [sasl.token, sasl.client_secret]) if (secret !== undefined) registerSecret(secret);
      const { token = tokenProvider(sasl, connection) } = sasl;
      return { mechanism: "OAUTHBEARER", token, oauthBearerExtensions: sasl.extensions };
    }
    default: {
      registerSecret(sasl.password);
      const { username, password } = sasl;
      const mechanism = sasl.mechanism.toUpperCase() as "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512";
      return { mechanism, username, password };
    }
  }
}

async function defaultKeys(): Promise<() => Promise<Keys>> {
  const { fromNodeProviderChain } = await import("@aws-sdk/credential-providers");
  return fromNodeProviderChain();
}

/** OAuth 2.0 client credentials (RFC 6749, 4.4). A token is asked for again once four fifths of its time have passed. */
function tokenProvider(sasl: OauthOptions, connection: string): () => Promise<string> {
  let known: { token: string; until: number } | undefined;
  return async () => {
    if (known !== undefined && Date.now() < known.until) return known.token;
    const form = new URLSearchParams({ grant_type: "client_credentials", ...(sasl.scope && { scope: sasl.scope }) });
    const basic = [sasl.client_id ?? "", sasl.client_secret ?? ""].map(encodeURIComponent).join(":");
    const response = await safeFetch(sasl.token_url!, {
      method: "POST",
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        authorization: `Basic ${Buffer.from(basic).toString("base64")}`,
      },
      body: form.toString(),
      allowHosts: sasl.allow_hosts,
      deadlineMs: 30_000,
      maximumBytes: 1 << 20,
    });
    await response.expectOk();
    const answer = JSON.parse(await response.text()) as { access_token?: unknown; expires_in?: unknown };
    if (typeof answer.access_token !== "string") {
      throw new MillraceError("authentication", "the answer of `token_url` has no `access_token`", {
        where: { connection },
      });
    }
    registerSecret(answer.access_token);
    known = { token: answer.access_token, until: Date.now() + Number(answer.expires_in ?? 60) * 800 };
    return known.token;
  };
}
