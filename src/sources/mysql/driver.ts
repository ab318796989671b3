import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import mysql, { type Connection, type ConnectionOptions } from "mysql2";
import { MillraceError, registerSecret, type Source, type SourceContext } from "../../core/index.ts";
import { listStreams } from "./discover.ts";
import { translate, type Target } from "./errors.ts";
import type { MysqlOptions } from "./index.ts";
import { measureRelation } from "./measure.ts";
import { planParts, resolveRelation, suggestedParts, type Relation } from "./plan.ts";
import { readPart } from "./read.ts";
import { Session } from "./session.ts";
import { Snapshot, snapshotGone } from "./snapshot.ts";

/** What of a plan stays in this process: without it its parts cannot be read. */
interface Held {
  snapshot: Snapshot;
  relation: Relation;
}

/** A source over MySQL's text protocol. Nothing is connected before the first call. */
export async function open(options: MysqlOptions, context: SourceContext): Promise<Source> {
  const server = await serverOf(options, context);
  const mapping = { booleans: options.tinyintAsBoolean };
  const plans = new Map<string, Held>();
  const connect = (): Promise<Session> => openSession(server, options);
  const place = { connection: context.connection, source: "mysql" };

  async function withSession<T>(action: (session: Session) => Promise<T>): Promise<T> {
    const session = await connect();
    try {
      return await action(session);
    } catch (error) {
      throw translate(error, server.target);
    } finally {
      await session.close();
    }
  }

  return {
    async check(signal) {
      await withSession((session) => session.query("SELECT 1", signal));
    },

    async *streams(signal) {
      const session = await connect();
      try {
        yield* listStreams(session, server.target.database, mapping, signal);
      } finally {
        await session.close();
      }
    },

    async plan(request, { after, signal }) {
      const relation = await withSession((session) => resolveRelation(session, request, mapping, signal));
      const parts = suggestedParts(relation, request);
      const readers = Math.min(options.connections, parts);
      const snapshot = await Snapshot.take(connect, readers, relation.table?.name, signal);
      try {
        const session = await snapshot.acquire(signal);
        const plan = await planParts(session, snapshot.id, relation, request, parts, after, signal);
        snapshot.release(session);
        if (plan.parts.length === 0) await snapshot[Symbol.asyncDispose]();
        else plans.set(snapshot.id, { snapshot, relation });
        return plan;
      } catch (error) {
        await snapshot[Symbol.asyncDispose]();
        throw translate(error, server.target, request.stream === undefined ? {} : { stream: request.stream });
      }
    },

    async read(part, request, { signal }) {
      const id = String(part.spec["snapshot"]);
      const where = { ...place, part: part.id, ...(request.stream === undefined ? {} : { stream: request.stream }) };
      const held = plans.get(id);
      if (held === undefined || held.snapshot.readers === 0) throw snapshotGone(id).at(where);
      return readPart(held.snapshot, held.relation, part, signal);
    },

    async measure(request, { upTo, columns, signal }) {
      return withSession(async (session) => {
        const relation = await resolveRelation(session, request, mapping, signal);
        return measureRelation(session, relation, request, {
          columns,
          ...(upTo === undefined ? {} : { upTo }),
          ...(signal === undefined ? {} : { signal }),
        });
      });
    },

    async [Symbol.asyncDispose]() {
      const held = [...plans.values()];
      plans.clear();
      await Promise.all(held.map(({ snapshot }) => snapshot[Symbol.asyncDispose]()));
    },
  };
}

interface Server {
  target: Target;
  connection: ConnectionOptions;
}

/** Options as the driver takes them. Throws `config` when `url` and single options contradict each other. */
async function serverOf(options: MysqlOptions, context: SourceContext): Promise<Server> {
  const where = { connection: context.connection, source: "mysql" };
  if (options.password !== undefined) registerSecret(options.password);
  let address = options;
  if (options.url !== undefined) {
    const twice = (["host", "port", "user", "password", "database"] as const).filter(
      (name) => options[name] !== undefined,
    );
    if (twice.length > 0) {
      throw new MillraceError("config", `both \`url\` and \`${twice.join("`, `")}\` are set`, {
        where,
        hint: "put all of it into `url`, or leave `url` out",
      });
    }
    address = { ...options, ...parseUrl(options.url, where) };
  }
  const target: Target = {
    connection: context.connection,
    host: address.host ?? "localhost",
    port: address.port ?? 3306,
    user: address.user ?? "",
    database: address.database,
  };
  const ssl = options.ssl ?? (options.ca === undefined ? "off" : "verify");
  const authorities =
    options.ca === undefined ? undefined : await readAuthorities(resolve(context.folder, options.ca), where);
  return {
    target,
    connection: {
      host: target.host,
      port: target.port,
      user: target.user,
      ...(address.password === undefined ? {} : { password: address.password }),
      ...(target.database === undefined ? {} : { database: target.database }),
      ...(ssl === "off"
        ? {}
        : {
            ssl: {
              rejectUnauthorized: ssl === "verify",
              verifyIdentity: ssl === "verify",
              ...(authorities ? { ca: authorities } : {}),
            },
          }),
    },
  };
}

function parseUrl(text: string, where: { connection: string }): Partial<MysqlOptions> {
  registerSecret(text);
  const url = URL.parse(text);
  if (url === null || url.hostname === "") {
    throw new MillraceError("config", "`url` cannot be read as an address", {
      where,
      hint: "mysql://user:password@host:port/database; write special characters in the password as %xx",
    });
  }
  const decode = (part: string): string => decodeURIComponent(part);
  const database = decode(url.pathname.slice(1));
  if (url.password !== "") registerSecret(decode(url.password));
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    ...(url.port === "" ? {} : { port: Number(url.port) }),
    ...(url.username === "" ? {} : { user: decode(url.username) }),
    ...(url.password === "" ? {} : { password: decode(url.password) }),
    ...(database === "" ? {} : { database }),
  };
}

async function readAuthorities(path: string, where: { connection: string }): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new MillraceError("config", `the file of \`ca\`, \`${path}\`, cannot be read`, {
      where,
      cause,
      hint: "give the path of a PEM file, relative to the folder of the configuration",
    });
  }
}

/** Longest that the server waits for a slow reader, seconds; its own default of one minute would cut a run with backpressure. */
const patienceSeconds = 86_400;

async function openSession(server: Server, options: MysqlOptions): Promise<Session> {
  const connection = await connectTo(server, options);
  const session = new Session(connection, server.target, (threadId) => killStatement(server, options, threadId));
  try {
    const [row] = await session.query("SELECT VERSION() AS version");
    const isMariaDb = /mariadb/i.test(row?.["version"] ?? "");
    const timeout = options.statementTimeoutMs;
    await session.query(
      `SET SESSION time_zone = '+00:00', net_write_timeout = ${patienceSeconds}, wait_timeout = ${patienceSeconds}, ` +
        `sql_select_limit = DEFAULT, ` +
        (isMariaDb
          ? `idle_transaction_timeout = 0, max_statement_time = ${timeout / 1000}`
          : `information_schema_stats_expiry = 0, max_execution_time = ${timeout}`),
    );
    await session.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY");
    return session;
  } catch (error) {
    session.destroy();
    throw error;
  }
}

async function killStatement(server: Server, options: MysqlOptions, threadId: number): Promise<void> {
  const connection = await connectTo(server, options);
  try {
    // The statement may have ended by itself meanwhile, or the connection.
    await new Promise<void>((done) => connection.query(`KILL QUERY ${threadId}`, () => done()));
  } finally {
    connection.destroy();
  }
}

async function connectTo(server: Server, options: MysqlOptions): Promise<Connection> {
  const connection = mysql.createConnection({
    ...server.connection,
    charset: "utf8mb4",
    connectTimeout: options.connectTimeoutMs,
    dateStrings: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
    // A server must not be able to ask for our files; our own packets carry no attributes.
    flags: ["-LOCAL_FILES", "-CLIENT_QUERY_ATTRIBUTES", "-IGNORE_SPACE"],
  });
  try {
    await new Promise<void>((done, fail) => {
      connection.once("connect", () => done());
      connection.once("error", fail);
    });
  } catch (error) {
    connection.destroy();
    throw translate(error, server.target);
  }
  // An error between statements is noticed by the next one; without a listener it would end the process.
  connection.on("error", () => undefined);
  return connection;
}
