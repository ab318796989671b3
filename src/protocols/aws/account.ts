import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { rootCertificates } from "node:tls";
import type { NodeHttpHandler } from "@smithy/node-http-handler";
import { MillraceError, messageOf, registerSecret } from "../../core/index.ts";
import type { AccountOptions } from "./options.ts";

interface PlaceOptions {
  region?: string | undefined;
  endpoint?: string | undefined;
}

/** Servers of others take any region. */
export function regionOf(options: PlaceOptions): { region?: string } {
  const region = options.region ?? (options.endpoint === undefined ? undefined : "us-east-1");
  return region === undefined ? {} : { region };
}

export interface Keys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

/** Credentials of a client, as options of the SDK; its secrets are in no message afterwards. */
export async function account(
  options: AccountOptions & PlaceOptions,
  requestHandler: NodeHttpHandler,
): Promise<{ credentials?: Keys | (() => Promise<Keys>) }> {
  const keys = options.credentials && {
    accessKeyId: options.credentials.access_key_id,
    secretAccessKey: options.credentials.secret_access_key,
    ...(options.credentials.session_token && { sessionToken: options.credentials.session_token }),
  };
  for (const secret of [keys?.secretAccessKey, keys?.sessionToken]) if (secret) registerSecret(secret);
  if (options.role === undefined) return keys ? { credentials: keys } : {};
  const { arn, external_id: externalId, session, endpoint } = options.role;
  const { fromTemporaryCredentials } = await import("@aws-sdk/credential-providers");
  return {
    credentials: fromTemporaryCredentials({
      params: { RoleArn: arn, RoleSessionName: session, ...(externalId && { ExternalId: externalId }) },
      ...(keys && { masterCredentials: keys }),
      clientConfig: { requestHandler, ...regionOf(options), ...(endpoint && { endpoint }) },
    }),
  };
}

/** The authorities that Node knows, and those of the file. */
export async function authorities(file: string, folder: string, store: string): Promise<string[]> {
  try {
    return [...rootCertificates, await readFile(resolve(folder, file), "utf8")];
  } catch (cause) {
    throw new MillraceError("config", `the file \`${file}\` of \`ca\` cannot be read: ${messageOf(cause)}`, {
      cause,
      hint: "the path is taken from the folder of the configuration file",
      where: { store },
    });
  }
}
