import {
  isMillraceError,
  messageOf,
  MillraceError,
  systemCode,
  type ErrorCode,
  type ErrorPlace,
} from "../../core/index.ts";
import type { Settings } from "./settings.ts";

/** What the driver puts on an error that the server sent. */
interface ServerError {
  code: string;
  message: string;
  severity: string;
  hint?: string;
  position?: string;
}

interface Meaning {
  code: ErrorCode;
  temporary?: boolean;
  hint?: string;
}

/** By SQLSTATE, or by its first two characters: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const meanings: Record<string, Meaning> = {
  "08": { code: "unreachable", temporary: true },
  "0A": { code: "unsupported" },
  "22": { code: "value", hint: "a value does not fit an expression of the query or view; mend it there" },
  "28": { code: "authentication" },
  "3D": { code: "not-found", hint: "`psql -l` lists the databases of the server" },
  "40": {
    code: "conflict",
    temporary: true,
    hint: "on a standby set `hot_standby_feedback = on`, or read from the primary",
  },
  "42": { code: "config" },
  "42501": { code: "permission" },
  "42703": { code: "not-found", hint: "`millrace discover` lists the columns" },
  "42P01": { code: "not-found", hint: "`millrace discover` lists the tables" },
  "3F000": { code: "not-found", hint: "`millrace discover` lists the schemas" },
  "25006": { code: "permission", hint: "sessions of Millrace are read-only; the query must not change anything" },
  "53": { code: "limit", temporary: true },
  "53100": { code: "full", temporary: true, hint: "free space on the server, or read in smaller parts" },
  "53300": {
    code: "limit",
    temporary: true,
    hint: "raise `max_connections` of the server or lower `connections` of this connection",
  },
  "54": { code: "limit" },
  "55P03": {
    code: "timeout",
    temporary: true,
    hint: "somebody alters the table: see `pg_locks` and `pg_blocking_pids()`; or raise `lockTimeoutMs`",
  },
  "57": { code: "unreachable", temporary: true, hint: "the server was stopped or restarted; run again once it is up" },
  "57014": { code: "aborted" },
  "25P03": { code: "unreachable", temporary: true, hint: "lift `idle_in_transaction_session_timeout` for this role" },
  "58": { code: "unreachable", temporary: true },
  XX001: { code: "corrupt", hint: "the server finds its own data damaged; see its log" },
  XX002: { code: "corrupt", hint: "an index of the server is damaged: `REINDEX` it" },
};

/** What is meant where we write. */
const writeMeanings: Record<string, Meaning> = {
  "22": { code: "value", hint: "leave the column out or change it with the `transform` of the flow" },
  "23502": { code: "value", hint: "a column of the key is null in some row; name another --key" },
  "23505": { code: "value", hint: "two rows have the same key; name the columns that tell rows apart with --key" },
  "21000": { code: "value", hint: "two rows have the same key; name the columns that tell rows apart with --key" },
  "23503": { code: "conflict", hint: "a foreign key of another table refers to rows that would go" },
  "25006": { code: "config", hint: "the server is a standby or read-only: connect to the primary" },
  "2BP01": { code: "conflict", hint: "drop what depends on it, or publish to another --target" },
  "42501": { code: "permission", hint: "the role needs USAGE and CREATE on the schema, and must own its tables" },
  "42703": { code: "not-found" },
  "42P01": { code: "not-found" },
  "53100": { code: "full", temporary: true, hint: "free space on the server; what was there before stays" },
  "54000": { code: "limit", hint: "keys of PostgreSQL have at most some 2700 bytes; name another --key" },
  "55P03": {
    code: "timeout",
    temporary: true,
    hint: "somebody uses the table, or publishes to it: see `pg_locks` and `pg_blocking_pids()`; or raise `lockTimeoutMs`",
  },
};

/** Of the network and of TLS, by the code that Node.js puts on the error. */
const networkMeanings: Record<string, Meaning> = {
  ECONNREFUSED: { code: "unreachable", temporary: true, hint: "is the server running, and are host and port right?" },
  ENOTFOUND: { code: "unreachable", hint: "the name of the host is not known; check `host`" },
  EAI_AGAIN: { code: "unreachable", temporary: true, hint: "the name of the host cannot be looked up now" },
  ENOENT: { code: "unreachable", hint: "there is no socket in that folder; check `host` and `port`" },
};
const certificateErrors =
  /^(ERR_TLS_CERT_ALTNAME_INVALID|(DEPTH_ZERO_)?SELF_SIGNED_CERT.*|UNABLE_TO_.*|CERT_.*|ERR_SSL_.*|HOSTNAME_MISMATCH)$/;

/** Whatever `pg`, the server or the network threw, as one error that says what failed, on what, and what mends it. */
export function postgresError(error: unknown, settings: Settings, where: ErrorPlace = {}): MillraceError {
  const kind = settings.source === undefined ? {} : { source: settings.source };
  const place = { connection: settings.connection, ...kind, ...where };
  if (isMillraceError(error)) return error.at(place);
  const make = (message: string, { code, temporary, hint }: Meaning): MillraceError =>
    new MillraceError(code, message, {
      where: place,
      cause: error,
      ...(temporary === undefined ? {} : { temporary }),
      ...(hint === undefined ? {} : { hint }),
    });
  const address = addressOf(settings);
  if (isServerError(error)) return fromServer(error, settings, make);

  const system = systemCode(error);
  const text = messageOf(error);
  if (system !== undefined && certificateErrors.test(system)) {
    const hint = "give the authority that signed it with `ca`, or set `ssl: require` to encrypt without checking";
    return make(`the certificate of ${address} is not accepted: ${text}`, { code: "authentication", hint });
  }
  if (text === "timeout expired" || text === "Query read timeout") {
    const hint = "check the network and its firewalls, or raise `connectTimeoutMs` or `readTimeoutMs`";
    return make(`${address} does not answer in time`, { code: "timeout", temporary: true, hint });
  }
  if (text.includes("does not support SSL")) {
    return make(`${address} does not offer encryption`, {
      code: "config",
      hint: "set `ssl: disable` or `ssl: prefer`",
    });
  }
  const meaning = system === undefined ? undefined : networkMeanings[system];
  if (meaning !== undefined) return make(`${address} cannot be reached (${system})`, meaning);
  const lost = /terminated|not queryable|Connection|socket|closed/i.test(text);
  if (lost || (system !== undefined && /^(E[A-Z]+|ERR_STREAM_.*)$/.test(system))) {
    const reason = system === undefined ? "" : ` (${system})`;
    return make(`the connection to ${address} was lost${reason}`, { code: "unreachable", temporary: true });
  }
  return make(`working with ${address} failed: ${text}`, { code: "internal" });
}

function isServerError(error: unknown): error is ServerError {
  return typeof error === "object" && error !== null && "severity" in error && systemCode(error)?.length === 5;
}

type Make = (message: string, meaning: Meaning) => MillraceError;

function fromServer(error: ServerError, settings: Settings, make: Make): MillraceError {
  const { message } = error;
  const { user, database } = settings;
  if (error.code === "28000" && /no encryption|SSL off/.test(message)) {
    const hint = "set `ssl: require`";
    return make(`the server takes \`${user}\` only over an encrypted connection`, { code: "config", hint });
  }
  if (error.code === "28000" && message.includes("pg_hba.conf")) {
    const hint = "the administrator adds a line for it to `pg_hba.conf`";
    return make(`the server lets \`${user}\` not into \`${database}\` from here`, { code: "permission", hint });
  }
  if (error.code.startsWith("28")) {
    const hint = `check \`user\` and \`password\` (or \`url\`); try \`psql -h ${settings.host} -p ${settings.port} -U ${user} ${database}\``;
    return make(`the server does not accept the password of \`${user}\`: ${message}`, { code: "authentication", hint });
  }
  if (error.code === "57014" && message.includes("statement timeout")) {
    const hint = "raise `statementTimeoutMs`, or read less at once with a smaller `part_bytes`";
    return make("the server ended the statement at its time limit", { code: "timeout", temporary: true, hint });
  }
  const writing = settings.purpose === "write" ? writeMeanings : {};
  const meaning = writing[error.code] ??
    writing[error.code.slice(0, 2)] ??
    meanings[error.code] ??
    meanings[error.code.slice(0, 2)] ?? { code: "internal" };
  const hint = meaning.hint ?? error.hint;
  return make(`PostgreSQL says: ${message} (${error.code})`, { ...meaning, ...(hint === undefined ? {} : { hint }) });
}

export function addressOf(settings: Settings): string {
  return `\`${settings.host}:${settings.port}\``;
}
