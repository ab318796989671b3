import pg from "pg";
import { MillraceError, throwIfAborted, type ErrorPlace } from "../../core/index.ts";
import { cancelStatement, tlsOptions } from "./cancel.ts";
import { postgresError } from "./errors.ts";
import type { Settings } from "./settings.ts";

export type Row = Record<string, string | null>;

export interface Field {
  name: string;
  type: number;
  modifier: number;
}

/** One connection, set up so that the text of every value is exact and the same whatever the server's defaults are. */
export interface Session extends AsyncDisposable {
  readonly client: pg.Client;
  /** False once the connection is lost or ended. */
  readonly alive: boolean;
  /** Small results; every value as the server's text. */
  query(sql: string, parameters?: readonly unknown[], signal?: AbortSignal): Promise<Row[]>;
  /** The columns of a statement, as the server describes them. */
  describe(sql: string): Promise<Field[]>;
  /** Asks the server to end what it is doing for this connection, which is then closed. */
  cancel(): Promise<void>;
}

/** How every session is set up. Settings that a server does not know are left out. */
function sessionSettings(settings: Settings): [string, string][] {
  const result: [string, string][] = [
    ["client_encoding", "UTF8"],
    ["timezone", "UTC"],
    ["datestyle", "ISO, YMD"],
    ["intervalstyle", "iso_8601"],
    ["bytea_output", "hex"],
    ["extra_float_digits", "3"],
    ["standard_conforming_strings", "on"],
    ["default_transaction_read_only", settings.purpose === "read" ? "on" : "off"],
    ["idle_in_transaction_session_timeout", "0"],
    ["idle_session_timeout", "0"],
    ["transaction_timeout", "0"],
    ["lock_timeout", String(settings.lockTimeoutMs)],
    // Compiling a statement takes longer than it saves when a part has a hundred columns and no expressions.
    ["jit", "off"],
  ];
  if (settings.statementTimeoutMs > 0) result.push(["statement_timeout", String(settings.statementTimeoutMs)]);
  return result;
}

const asText = { getTypeParser: () => (value: string | null) => value } as unknown as pg.CustomTypesConfig;

/**
 * Connects and logs in. Throws what is wrong with host, port, encryption, user, password or database. With `replication` the session takes
 * the commands of logical replication, too, and statements without parameters only.
 */
export async function openSession(
  settings: Settings,
  signal?: AbortSignal,
  { replication = false }: { replication?: boolean } = {},
): Promise<Session> {
  throwIfAborted(signal);
  let tls = settings.ssl !== "disable" && !settings.host.startsWith("/");
  let client: pg.Client;
  try {
    client = await login(settings, tls, replication, signal);
  } catch (error) {
    if (settings.ssl !== "prefer" || !tls || !String((error as Error).message).includes("does not support SSL")) {
      throwIfAborted(signal);
      throw postgresError(error, settings);
    }
    tls = false;
    client = await login(settings, tls, replication, signal).catch((again: unknown) => {
      throw postgresError(again, settings);
    });
  }
  let alive = true;
  let cancelling: Promise<void> | undefined;
  client.on("end", () => (alive = false));
  client.on("error", () => (alive = false));

  const run = async <Result>(query: pg.QueryConfig, signal?: AbortSignal): Promise<Result> => {
    throwIfAborted(signal);
    if (!alive) throw postgresError(new Error("Connection terminated"), settings);
    const stop = (): void => void session.cancel();
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return (await client.query({ ...query, query_timeout: settings.readTimeoutMs } as pg.QueryConfig)) as Result;
    } catch (error) {
      throwIfAborted(signal);
      // The statement still runs, so the connection is of no more use.
      if ((error as Error).message === "Query read timeout") await session.cancel();
      throw postgresError(error, settings);
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  };
  const session: Session = {
    client,
    get alive() {
      return alive;
    },
    async query(sql, parameters = [], signal) {
      const result = await run<pg.QueryResult<Row>>({ text: sql, values: [...parameters], types: asText }, signal);
      return result.rows;
    },
    async describe(sql) {
      // The extended protocol takes one statement only, so that nothing can follow the one that is described.
      const query = { text: sql, queryMode: "extended", rowMode: "array", types: asText };
      const result = await run<pg.QueryArrayResult>(query as pg.QueryConfig);
      return result.fields.map((field) => ({
        name: field.name,
        type: field.dataTypeID,
        modifier: field.dataTypeModifier,
      }));
    },
    cancel() {
      alive = false;
      cancelling ??= cancelStatement(settings, client, tls);
      return cancelling;
    },
    async [Symbol.asyncDispose]() {
      if (!alive) {
        // A server that has not heard of it would go on.
        await cancelling;
        client.connection.stream.destroy();
        return;
      }
      alive = false;
      const closed = new Promise<void>((resolve) => client.once("end", () => resolve()));
      // A peer that does not answer must not hold up the end.
      const impatient = setTimeout(() => client.connection.stream.destroy(), 1_000);
      client.end().catch(() => undefined);
      await closed;
      clearTimeout(impatient);
    },
  };
  try {
    // As text: a connection for replication takes no parameters.
    const wanted = sessionSettings(settings).map(([name, setting]) => `('${name}', '${setting}')`);
    await session.query(
      `SELECT set_config(known.name, wanted.setting, false) FROM (VALUES ${wanted.join(", ")}) AS wanted(name, setting)
       JOIN pg_catalog.pg_settings AS known ON lower(known.name) = wanted.name`,
      [],
      signal,
    );
    return session;
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
}

async function login(settings: Settings, tls: boolean, replication: boolean, signal?: AbortSignal): Promise<pg.Client> {
  const client = new pg.Client({
    host: settings.host,
    port: settings.port,
    database: settings.database,
    user: settings.user,
    // A function, because nothing at all would make `pg` look for a password in the environment and in files.
    password: () => {
      if (settings.password !== undefined) return settings.password;
      throw new MillraceError(
        "authentication",
        `the server asks \`${settings.user}\` for a password, and none is set`,
        {
          hint: "set `password`, for instance to `${env:SHOP_PASSWORD}`",
        },
      );
    },
    ssl: tls ? tlsOptions(settings) : false,
    application_name: settings.applicationName,
    connectionTimeoutMillis: settings.connectTimeoutMs,
    keepAlive: true,
    ...(replication ? { replication: "database" } : {}),
  } as pg.ClientConfig);
  client.on("error", () => undefined);
  const stop = (): void => void client.connection.stream.destroy(new Error("Connection terminated"));
  signal?.addEventListener("abort", stop, { once: true });
  try {
    await client.connect();
    return client;
  } catch (error) {
    client.connection.stream.destroy();
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** Adds stream and column to whatever a piece of work throws. */
export async function placed<Result>(
  settings: Settings,
  where: ErrorPlace,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw postgresError(error, settings, where);
  }
}

/** Several statements, of which the one that runs ends at the server when the signal fires. */
export async function stoppable<Result>(
  session: Session,
  signal: AbortSignal | undefined,
  work: () => Promise<Result>,
): Promise<Result> {
  throwIfAborted(signal);
  const stop = (): void => void session.cancel();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    return await work();
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}
