import { connect as connectSocket, isIP, type Socket } from "node:net";
import mysql, { type Connection, type ConnectionOptions } from "mysql2";
import { MillraceError, systemCode, throwIfAborted } from "../../core/index.ts";
import { mysqlError } from "./errors.ts";
import { Session } from "./session.ts";
import type { Settings } from "./settings.ts";

/** Longest that the server waits for a slow reader, seconds; its own minute would cut a run that is held up further down. */
const patienceSeconds = 86_400;

/**
 * Connects, logs in, and sets the session up so that the text of every value is exact and the same whatever the server's
 * defaults are. Throws what is wrong with host, port, encryption, user, password or database.
 */
export async function openSession(settings: Settings, signal?: AbortSignal): Promise<Session> {
  const connection = await connect(settings, signal);
  const session = new Session(connection, settings, (threadId) => killStatement(settings, threadId));
  try {
    const [row] = await session.query("SELECT VERSION() AS version", signal);
    const isMariaDb = /mariadb/i.test(row?.["version"] ?? "");
    const { statementTimeoutMs, lockTimeoutMs } = settings;
    const variables = [
      "time_zone = '+00:00'",
      "sql_select_limit = DEFAULT",
      `net_write_timeout = ${patienceSeconds}`,
      `wait_timeout = ${patienceSeconds}`,
      `lock_wait_timeout = ${Math.ceil(lockTimeoutMs / 1000)}`,
      ...(isMariaDb
        ? ["idle_transaction_timeout = 0", `max_statement_time = ${statementTimeoutMs / 1000}`]
        : ["information_schema_stats_expiry = 0", `max_execution_time = ${statementTimeoutMs}`]),
    ];
    await session.query(`SET SESSION ${variables.join(", ")}`, signal);
    await session.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", signal);
    return session;
  } catch (error) {
    session.destroy();
    throw error;
  }
}

/** Ends what a connection is doing, over another one. */
async function killStatement(settings: Settings, threadId: number): Promise<void> {
  const connection = await connect(settings);
  // The statement may have ended by itself meanwhile, and its connection too.
  await new Promise<void>((done) => connection.query(`KILL QUERY ${threadId}`, () => done()));
  connection.destroy();
}

async function connect(settings: Settings, signal?: AbortSignal): Promise<Connection> {
  throwIfAborted(signal);
  const tls = settings.ssl !== "disable" && !settings.host.startsWith("/");
  try {
    return await login(settings, tls, signal);
  } catch (error) {
    throwIfAborted(signal);
    if (settings.ssl !== "prefer" || systemCode(error) !== "HANDSHAKE_NO_SSL_SUPPORT")
      throw mysqlError(error, settings);
    return login(settings, false, signal).catch((again: unknown) => {
      throwIfAborted(signal);
      throw mysqlError(again, settings);
    });
  }
}

/** What the driver is told of the server and of us. */
export function connectionOptions(settings: Settings, tls: boolean): ConnectionOptions {
  const { host, port, user, password, database } = settings;
  return {
    ...(host.startsWith("/") ? { socketPath: host } : { host, port, stream: () => openSocket(host, port) }),
    user,
    ...(password === undefined ? {} : { password }),
    ...(database === undefined ? {} : { database }),
    ...(tls ? { ssl: tlsOptions(settings) } : {}),
    charset: "utf8mb4",
    connectTimeout: settings.connectTimeoutMs,
    // A server must not be able to ask for our files; our own packets carry no attributes.
    flags: ["-LOCAL_FILES", "-CLIENT_QUERY_ATTRIBUTES", "-IGNORE_SPACE"],
  };
}

async function login(settings: Settings, tls: boolean, signal?: AbortSignal): Promise<Connection> {
  const connection = mysql.createConnection(connectionOptions(settings, tls));
  let stop: (() => void) | undefined;
  try {
    await new Promise<void>((done, fail) => {
      connection.once("connect", () => done());
      connection.once("error", fail);
      stop = () => fail(new MillraceError("aborted", "stopped by the caller", { cause: signal?.reason }));
      signal?.addEventListener("abort", stop, { once: true });
    });
  } catch (error) {
    // What is still under way may fail later; nobody waits for it.
    connection.on("error", () => undefined);
    connection.destroy();
    throw error;
  } finally {
    if (stop !== undefined) signal?.removeEventListener("abort", stop);
  }
  // An error between statements is noticed by the next one; without a listener it would end the process.
  connection.on("error", () => undefined);
  return connection;
}

function openSocket(host: string, port: number): Socket {
  const socket = connectSocket(port, host);
  socket.setNoDelay(true);
  socket.setKeepAlive(true);
  // mysql2 gives TLS no name for an address, and then Node.js compares the certificate with `localhost` unless the socket
  // says otherwise: https://github.com/nodejs/node/blob/v24.x/lib/internal/tls/wrap.js (onConnectSecure).
  if (isIP(host) !== 0) Object.assign(socket, { _host: host });
  return socket;
}

function tlsOptions({ ssl, ca, certificate, key }: Settings): NonNullable<Exclude<ConnectionOptions["ssl"], string>> {
  return {
    rejectUnauthorized: ssl === "verify-ca" || ssl === "verify-full",
    verifyIdentity: ssl === "verify-full",
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { cert: certificate }),
    ...(key === undefined ? {} : { key }),
  };
}
