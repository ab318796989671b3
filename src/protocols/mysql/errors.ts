import {
  isMillraceError,
  messageOf,
  MillraceError,
  systemCode,
  type ErrorCode,
  type ErrorPlace,
} from "../../core/index.ts";
import type { Settings } from "./settings.ts";

interface Meaning {
  code: ErrorCode;
  temporary?: boolean;
  hint?: string;
}

const lost: Meaning = {
  code: "unreachable",
  temporary: true,
  hint: "the server was stopped, or somebody ended the connection; run again once it is up",
};
const refused: Meaning = { code: "config" };
const outOfRange: Meaning = {
  code: "value",
  hint: "a value does not fit an expression of the query or view; mend it there",
};
const tooMany: Meaning = {
  code: "limit",
  temporary: true,
  hint: "raise `max_connections` of the server or lower `connections` of this connection",
};

/** By number: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html, https://mariadb.com/kb/en/mariadb-error-codes/ */
const meanings: Record<number, Meaning> = {
  1021: { code: "full", temporary: true, hint: "free space on the server, or read in smaller parts" },
  1114: { code: "full", temporary: true, hint: "free space on the server, or read in smaller parts" },
  1034: { code: "corrupt", hint: "the server finds its own data damaged: CHECK TABLE" },
  1194: { code: "corrupt", hint: "the server finds its own data damaged: REPAIR TABLE" },
  1040: tooMany,
  1203: tooMany,
  1226: tooMany,
  1041: { code: "limit", temporary: true },
  1038: { code: "limit", temporary: true, hint: "raise `sort_buffer_size` of the server" },
  1301: { code: "limit", hint: "raise `max_allowed_packet` of the server" },
  1046: { code: "config", hint: "write `database.table`, or set `database` on the connection" },
  1052: refused,
  1055: refused,
  1056: refused,
  1060: { code: "config", hint: "give the columns of the query different names" },
  1064: refused,
  1066: refused,
  1111: refused,
  1140: refused,
  1149: refused,
  1222: refused,
  1241: refused,
  1248: refused,
  1305: refused,
  1582: refused,
  1049: { code: "not-found", hint: "SHOW DATABASES; lists the databases that the user may see" },
  1051: { code: "not-found", hint: "`millrace discover` lists the tables" },
  1146: { code: "not-found", hint: "`millrace discover` lists the tables" },
  1054: { code: "not-found", hint: "`millrace discover` lists the columns" },
  1356: {
    code: "permission",
    hint: "the view's definer lacks a privilege, or a table under it is gone: SHOW CREATE VIEW",
  },
  1792: { code: "permission", hint: "sessions of Millrace are read-only; the query must not change anything" },
  1205: {
    code: "timeout",
    temporary: true,
    hint: "somebody alters the table: SHOW FULL PROCESSLIST; or raise `lockTimeoutMs`",
  },
  1969: {
    code: "timeout",
    temporary: true,
    hint: "raise `statementTimeoutMs`, or read less at once with a smaller `part_bytes`",
  },
  3024: {
    code: "timeout",
    temporary: true,
    hint: "raise `statementTimeoutMs`, or read less at once with a smaller `part_bytes`",
  },
  1213: { code: "conflict", temporary: true },
  1412: { code: "conflict", temporary: true, hint: "the table was altered while it was read; run again" },
  1264: outOfRange,
  1292: outOfRange,
  1365: outOfRange,
  1366: outOfRange,
  1690: outOfRange,
  1053: lost,
  1077: lost,
  1152: lost,
  1158: lost,
  1159: lost,
  1160: lost,
  1161: lost,
  1317: lost,
  1927: lost,
  4031: lost,
};
const authenticationErrors = new Set([1045, 1251, 1524, 1698, 1820, 1862]);
const permissionErrors = new Set([1044, 1142, 1143, 1227, 1370]);

/** Of the network and of TLS, by the code that Node.js puts on the error. */
const networkMeanings: Record<string, Meaning> = {
  ECONNREFUSED: { code: "unreachable", temporary: true, hint: "is the server running, and are host and port right?" },
  ENOTFOUND: { code: "unreachable", hint: "the name of the host is not known; check `host`" },
  EAI_AGAIN: { code: "unreachable", temporary: true, hint: "the name of the host cannot be looked up now" },
  ENOENT: { code: "unreachable", hint: "there is no such socket; check `host`" },
};
const certificateErrors =
  /^(ERR_TLS_CERT_ALTNAME_INVALID|(DEPTH_ZERO_)?SELF_SIGNED_CERT.*|UNABLE_TO_.*|CERT_.*|ERR_SSL_.*|HOSTNAME_MISMATCH)$/;

/** Whatever mysql2, the server or the network threw, as one error that says what failed, on what, and what mends it. */
export function mysqlError(error: unknown, settings: Settings, where: ErrorPlace = {}): MillraceError {
  const place = { connection: settings.connection, source: "mysql", ...where };
  if (isMillraceError(error)) return error.at(place);
  const make = (message: string, { code, temporary, hint }: Meaning): MillraceError =>
    new MillraceError(code, message, {
      where: place,
      cause: error,
      ...(temporary === undefined ? {} : { temporary }),
      ...(hint === undefined ? {} : { hint }),
    });
  const address = addressOf(settings);
  const text = messageOf(error);
  const number = serverNumber(error);
  if (number !== undefined) return fromServer(number, text, settings, make);

  const system = systemCode(error);
  // mysql2 gives every failed handshake of TLS one code; what went wrong is in its cause or in the text.
  if (system !== undefined && (certificateErrors.test(system) || system === "HANDSHAKE_SSL_ERROR")) {
    const hint = "give the authority that signed it with `ca`, or set `ssl: require` to encrypt without checking";
    return make(`the certificate of ${address} is not accepted: ${text}`, { code: "authentication", hint });
  }
  if (system === "HANDSHAKE_NO_SSL_SUPPORT") {
    return make(`${address} does not offer encryption`, {
      code: "config",
      hint: "set `ssl: disable` or `ssl: prefer`",
    });
  }
  if (system === "ETIMEDOUT") {
    const hint = "check the network and its firewalls, or raise `connectTimeoutMs`";
    return make(`${address} does not answer in time`, { code: "timeout", temporary: true, hint });
  }
  const meaning = system === undefined ? undefined : networkMeanings[system];
  if (meaning !== undefined) return make(`${address} cannot be reached (${system})`, meaning);
  if (/closed state|connection lost/i.test(text) || (system !== undefined && /^(E[A-Z]+|PROTOCOL_.*)$/.test(system))) {
    const reason = system === undefined ? "" : ` (${system})`;
    return make(`the connection to ${address} was lost${reason}`, { code: "unreachable", temporary: true });
  }
  return make(`reading from ${address} failed: ${text}`, { code: "internal" });
}

/** The number of the server's error, when it is one. */
function serverNumber(error: unknown): number | undefined {
  const number = typeof error === "object" && error !== null ? (error as { errno?: unknown }).errno : undefined;
  return typeof number === "number" && number >= 1000 ? number : undefined;
}

type Make = (message: string, meaning: Meaning) => MillraceError;

function fromServer(number: number, message: string, settings: Settings, make: Make): MillraceError {
  const { user, database } = settings;
  if (authenticationErrors.has(number)) {
    const hint = `check \`user\` and \`password\` (or \`url\`), and from which hosts the user may connect: SELECT user, host FROM mysql.user;`;
    return make(`the server does not accept the password of \`${user}\`: ${message}`, { code: "authentication", hint });
  }
  if (permissionErrors.has(number)) {
    const hint = `GRANT SELECT ON ${database === undefined ? "<database>" : `\`${database}\``}.* TO '${user}'@'%';`;
    return make(`MySQL says: ${message} (${number})`, { code: "permission", hint });
  }
  return make(`MySQL says: ${message} (${number})`, meanings[number] ?? { code: "internal" });
}

export function addressOf(settings: Settings): string {
  return settings.host.startsWith("/") ? `\`${settings.host}\`` : `\`${settings.host}:${settings.port}\``;
}
