import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { MillraceError, registerSecret, suggestion } from "../../core/index.ts";
import type { ConnectionOptions } from "./options.ts";

export type SslMode = NonNullable<ConnectionOptions["ssl"]>;

/** Where and as whom to connect: `url` and the single options brought together. */
export interface Settings {
  connection: string;
  host: string;
  port: number;
  database: string;
  user: string;
  password: string | undefined;
  ssl: SslMode;
  ca: string | undefined;
  certificate: string | undefined;
  key: string | undefined;
  applicationName: string;
  /** `read`: sessions are read-only. */
  purpose: "read" | "write";
  /** The kind of source, for messages; undefined where we write. */
  source: string | undefined;
  connectTimeoutMs: number;
  statementTimeoutMs: number;
  lockTimeoutMs: number;
  readTimeoutMs: number;
}

const sslModes: readonly string[] = ["disable", "prefer", "require", "verify-ca", "verify-full"];
const urlParameters = ["sslmode", "sslrootcert", "application_name", "host"];

/** Reads the files of certificates, and nothing else. Throws `config`; what it throws never holds the URL. */
export async function settingsOf(
  options: ConnectionOptions,
  context: { connection: string; folder: string },
  purpose: Settings["purpose"],
  source = "postgres",
): Promise<Settings> {
  const url = options.url === undefined ? undefined : parseUrl(options.url);
  const password = url?.password ?? options.password;
  if (options.url !== undefined) registerSecret(options.url);
  if (password !== undefined) registerSecret(password);
  const user = url?.user ?? options.user ?? "postgres";
  const [ca, certificate, key] = await Promise.all([
    readPem(options.ca ?? url?.ca, "ca", context.folder),
    readPem(options.certificate, "certificate", context.folder),
    readPem(options.key, "key", context.folder),
  ]);
  return {
    connection: context.connection,
    host: url?.host ?? options.host ?? "localhost",
    port: url?.port ?? options.port ?? 5432,
    database: url?.database ?? options.database ?? user,
    user,
    password,
    ssl: options.ssl ?? url?.ssl ?? "prefer",
    ca,
    certificate,
    key,
    applicationName: url?.applicationName ?? "millrace",
    purpose,
    source: purpose === "read" ? source : undefined,
    connectTimeoutMs: options.connectTimeoutMs,
    statementTimeoutMs: options.statementTimeoutMs,
    lockTimeoutMs: options.lockTimeoutMs,
    readTimeoutMs: options.readTimeoutMs,
  };
}

interface UrlSettings {
  host?: string;
  port?: number;
  database?: string;
  user?: string;
  password?: string;
  ssl?: SslMode;
  ca?: string;
  applicationName?: string;
}

/** https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS */
function parseUrl(text: string): UrlSettings {
  const hint = "write `postgres://user:password@host:port/database`, special characters of the password as %XX";
  let url: URL;
  const decoded = (part: string): string | undefined => (part === "" ? undefined : decodeURIComponent(part));
  const settings: UrlSettings = {};
  try {
    url = new URL(text);
    Object.assign(settings, {
      host: decoded(url.hostname.replace(/^\[(.*)\]$/, "$1")),
      port: url.port === "" ? undefined : Number(url.port),
      database: decoded(url.pathname.slice(1)),
      user: decoded(url.username),
      password: decoded(url.password),
    });
  } catch {
    throw new MillraceError("config", "`url` cannot be read as a URL", { hint });
  }
  if (url.protocol !== "postgres:" && url.protocol !== "postgresql:") {
    throw new MillraceError("config", `\`url\` begins with \`${url.protocol}\` and not with \`postgres:\``, { hint });
  }
  if (settings.host?.includes(",")) {
    throw new MillraceError("config", "`url` names several hosts", { hint: "name the one to connect to" });
  }
  for (const [name, value] of url.searchParams) {
    if (name === "sslmode") {
      const mode = value === "allow" ? "prefer" : value;
      if (!sslModes.includes(mode)) {
        throw new MillraceError("config", `\`sslmode=${value}\` in \`url\` is not a mode`, {
          hint: suggestion(value, sslModes),
        });
      }
      settings.ssl = mode as SslMode;
    } else if (name === "sslrootcert") settings.ca = value;
    else if (name === "application_name") settings.applicationName = value;
    else if (name === "host") settings.host = value;
    else {
      throw new MillraceError("config", `\`${name}\` in \`url\` is not a parameter that is known here`, {
        hint: suggestion(name, urlParameters),
      });
    }
  }
  return settings;
}

async function readPem(path: string | undefined, option: string, folder: string): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(resolve(folder, path), "utf8");
  } catch (cause) {
    throw new MillraceError("config", `the file \`${path}\` of \`${option}\` cannot be read`, {
      cause,
      hint: "the path is taken from the folder of the configuration file",
    });
  }
}
