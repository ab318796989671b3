import { isMillraceError, messageOf, MillraceError, systemCode, type ErrorPlace } from "../../core/index.ts";

/** What errors say of the connection: never the password. */
export interface Target {
  /** The name of the connection in the configuration. */
  connection: string;
  host: string;
  port: number;
  user: string;
  database: string | undefined;
}

type Described = {
  code: ConstructorParameters<typeof MillraceError>[0];
  message: string;
  hint?: string;
  temporary?: boolean;
};

/** The number of the server's error, when it is one. https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html */
function serverCode(error: unknown): number | undefined {
  const errno = typeof error === "object" && error !== null ? (error as { errno?: unknown }).errno : undefined;
  return typeof errno === "number" && errno > 0 ? errno : undefined;
}

/** Turns what mysql2, the network or the server threw into one `MillraceError`; those that are one already gain a place. */
export function translate(error: unknown, target: Target, where: ErrorPlace = {}): MillraceError {
  const place: ErrorPlace = { connection: target.connection, source: "mysql", ...where };
  if (isMillraceError(error)) return error.at(place);
  const number = serverCode(error);
  const described =
    (number === undefined ? undefined : describeServer(number, messageOf(error), target)) ??
    describeNetwork(error, target);
  return new MillraceError(described.code, described.message, {
    where: place,
    cause: error,
    temporary: described.temporary ?? false,
    ...(described.hint === undefined ? {} : { hint: described.hint }),
  });
}

function describeNetwork(error: unknown, target: Target): Described {
  const address = `\`${target.host}:${target.port}\``;
  const code = systemCode(error);
  const message = messageOf(error);
  switch (code) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return {
        code: "unreachable",
        message: `the host \`${target.host}\` is not known`,
        hint: "check `host` (or the host in `url`) of the connection",
        temporary: code === "EAI_AGAIN",
      };
    case "ECONNREFUSED":
      return {
        code: "unreachable",
        message: `nothing listens on ${address}`,
        hint: "start the server, or check `host` and `port` of the connection",
        temporary: true,
      };
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return {
        code: "unreachable",
        message: `${address} does not answer`,
        hint: "check `host`, `port` and the firewall, or raise `connectTimeoutMs`",
        temporary: true,
      };
    case "HANDSHAKE_NO_SSL_SUPPORT":
      return {
        code: "config",
        message: `the server at ${address} does not speak TLS`,
        hint: "set `ssl: false`, or turn TLS on at the server",
      };
    case "HANDSHAKE_SSL_ERROR":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "ERR_TLS_CERT_ALTNAME_INVALID":
    case "CERT_HAS_EXPIRED":
      return {
        code: "authentication",
        message: `the certificate of ${address} is not trusted: ${message}`,
        hint: "set `ca` to the file with the certificate of the authority that signed it",
      };
    case "PROTOCOL_CONNECTION_LOST":
    case "ECONNRESET":
    case "EPIPE":
      return {
        code: "unreachable",
        message: `the connection to ${address} was lost`,
        hint: "see the server's error log; the run goes on where it was when it is started again",
        temporary: true,
      };
    default:
      if (/connection (is in closed state|lost)|closed state/i.test(message)) {
        return { code: "unreachable", message: `the connection to ${address} was lost`, temporary: true };
      }
      return { code: "internal", message };
  }
}

function describeServer(number: number, message: string, target: Target): Described | undefined {
  const who = `\`${target.user}\``;
  switch (number) {
    case 1045:
    case 1698:
    case 1862:
      return {
        code: "authentication",
        message: `the server at \`${target.host}:${target.port}\` does not accept the password of user ${who}`,
        hint: "check `user` and `password` (or those in `url`), and from which hosts the user may connect",
      };
    case 1044:
    case 1142:
    case 1143:
    case 1227:
    case 1370:
      return {
        code: "permission",
        message: `user ${who} may not do this: ${message}`,
        hint: `GRANT SELECT ON ${target.database === undefined ? "<database>" : `\`${target.database}\``}.* TO '${target.user}'@'%';`,
      };
    case 1356:
      return {
        code: "permission",
        message: `a view cannot be read: ${message}`,
        hint: "its definer may lack a privilege, or a table under it is gone: SHOW CREATE VIEW …",
      };
    case 1049:
      return {
        code: "not-found",
        message: `there is no database \`${target.database ?? ""}\``,
        hint: "check `database` (or the path of `url`); SHOW DATABASES; lists those that exist",
      };
    case 1146:
    case 1051:
      return { code: "not-found", message, hint: "`millrace discover` lists the tables that exist" };
    case 1054:
      return { code: "not-found", message, hint: "`millrace discover` lists the columns that exist" };
    case 1064:
    case 1060:
    case 1305:
    case 1111:
    case 1222:
    case 1248:
    case 1052:
    case 1241:
      return {
        code: "config",
        message: `the server does not accept the query: ${message}`,
        hint: "try it in `mysql` first",
      };
    case 1040:
    case 1203:
    case 1226:
      return {
        code: "limit",
        message: `the server takes no more connections: ${message}`,
        hint: "lower `connections`, or raise `max_connections` at the server",
        temporary: true,
      };
    case 1205:
      return { code: "timeout", message, hint: "another transaction holds a lock: SHOW PROCESSLIST;", temporary: true };
    case 1969:
    case 3024:
      return { code: "timeout", message, hint: "raise `statementTimeoutMs`", temporary: true };
    case 1213:
    case 1412:
      return { code: "conflict", message, hint: "the table was changed while it was read: run again", temporary: true };
    case 1021:
    case 1114:
      return { code: "full", message: `the server's disk is full: ${message}`, temporary: true };
    case 1053:
    case 1077:
    case 1152:
    case 1158:
    case 1159:
    case 1160:
    case 1161:
    case 1317:
    case 1927:
    case 4031:
      return {
        code: "unreachable",
        message: `the server ended the work: ${message}`,
        hint: "see the server's error log; the run goes on where it was when it is started again",
        temporary: true,
      };
    case 1792:
      return { code: "permission", message: `a source may only read: ${message}`, hint: "use a SELECT" };
    default:
      return { code: "internal", message: `the server answered error ${number}: ${message}` };
  }
}
