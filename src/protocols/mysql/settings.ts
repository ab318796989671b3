import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { MillraceError, registerSecret, suggestion, type SourceContext } from "../../core/index.ts";
import type { Options } from "./options.ts";

export type SslMode = NonNullable<Options["ssl"]>;

/** Where and as whom to connect: `url` and the single options brought together. */
export interface Settings {
  connection: string;
  /** Name, address, or the path of a Unix socket. */
  host: string;
  port: number;
  database: string | undefined;
  user: string;
  password: string | undefined;
  ssl: SslMode;
  ca: string | undefined;
  certificate: string | undefined;
  key: string | undefined;
  connections: number;
  connectTimeoutMs: number;
  statementTimeoutMs: number;
  lockTimeoutMs: number;
  readTimeoutMs: number;
  tinyintAsBoolean: boolean;
}

/** The client's own words for the modes: https://dev.mysql.com/doc/refman/8.4/en/connecting-using-uri-or-key-value-pairs.html */
const sslModes: Record<string, SslMode> = {
  disabled: "disable",
  preferred: "prefer",
  required: "require",
  verify_ca: "verify-ca",
  verify_identity: "verify-full",
};
const urlParameters = ["ssl-mode", "ssl-ca", "socket"];

/** Reads the files of certificates, and nothing else. Throws `config`; what it throws never holds the URL. */
export async function settingsOf(options: Options, context: SourceContext): Promise<Settings> {
  const url = options.url === undefined ? undefined : parseUrl(options.url);
  const password = url?.password ?? options.password;
  if (options.url !== undefined) registerSecret(options.url);
  if (password !== undefined) registerSecret(password);
  const [ca, certificate, key] = await Promise.all([
    readPem(options.ca ?? url?.ca, "ca", context.folder),
    readPem(options.certificate, "certificate", context.folder),
    readPem(options.key, "key", context.folder),
  ]);
  return {
    connection: context.connection,
    host: url?.host ?? options.host ?? "localhost",
    port: url?.port ?? options.port ?? 3306,
    database: url?.database ?? options.database,
    user: url?.user ?? options.user ?? "root",
    password,
    ssl: options.ssl ?? url?.ssl ?? "prefer",
    ca,
    certificate,
    key,
    connections: options.connections,
    connectTimeoutMs: options.connectTimeoutMs,
    statementTimeoutMs: options.statementTimeoutMs,
    lockTimeoutMs: options.lockTimeoutMs,
    readTimeoutMs: options.readTimeoutMs,
    tinyintAsBoolean: options.tinyintAsBoolean,
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
}

function parseUrl(text: string): UrlSettings {
  const hint = "write `mysql://user:password@host:port/database`, special characters of the password as %XX";
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
  if (url.protocol !== "mysql:" && url.protocol !== "mariadb:") {
    throw new MillraceError("config", `\`url\` begins with \`${url.protocol}\` and not with \`mysql:\``, { hint });
  }
  for (const [name, value] of url.searchParams) {
    if (name === "ssl-mode") {
      const mode = sslModes[value.toLowerCase()];
      if (mode === undefined) {
        throw new MillraceError("config", `\`ssl-mode=${value}\` in \`url\` is not a mode`, {
          hint: suggestion(value, Object.keys(sslModes)),
        });
      }
      settings.ssl = mode;
    } else if (name === "ssl-ca") settings.ca = value;
    else if (name === "socket") settings.host = value;
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
