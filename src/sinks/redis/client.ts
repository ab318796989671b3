import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Cluster, Redis, type RedisOptions } from "ioredis";
import { isMillraceError, messageOf, MillraceError, systemCode, type SinkContext } from "../../core/index.ts";
import type { Options } from "./options.ts";

export type Client = Redis | Cluster;

/** How a server is reached, made once. */
export interface Connector {
  /** A client that is connected. One that has lost its connection is replaced by the next call. */
  client(): Promise<Client>;
  close(): Promise<void>;
}

/** Commands that are given in one turn of the event loop go out together, by node in a cluster. */
export async function connector(options: Options, { folder }: SinkContext): Promise<Connector> {
  const ca = options.ca === undefined ? undefined : await readAuthorities(resolve(folder, options.ca));
  const url = options.url === undefined ? undefined : parseUrl(options.url);
  const isEncrypted = options.tls ?? url?.protocol === "rediss:";
  const settings: RedisOptions = {
    lazyConnect: true,
    enableAutoPipelining: true,
    enableReadyCheck: true,
    // A connection that is lost is told of; what is tried again is decided above.
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: true,
    connectTimeout: options.connectTimeoutMs,
    socketTimeout: options.commandTimeoutMs,
    connectionName: "millrace",
    ...named("username", options.username ?? decoded(url?.username)),
    ...named("password", options.password ?? decoded(url?.password)),
    db: options.database ?? Number(url?.pathname.slice(1) || 0),
    ...(isEncrypted ? { tls: ca === undefined ? {} : { ca } } : {}),
  };
  const make = (): Client => {
    if (options.nodes === undefined) {
      const host =
        options.host ?? (url === undefined ? undefined : url.hostname.replace(/^\[|\]$/g, "")) ?? "localhost";
      return new Redis({ ...settings, host, port: options.port ?? Number(url?.port || 6379) });
    }
    const nodes = options.nodes.map((node) => {
      const [host, port] = node.split(":") as [string, string];
      return { host, port: Number(port) };
    });
    return new Cluster(nodes, {
      lazyConnect: true,
      enableAutoPipelining: true,
      clusterRetryStrategy: () => null,
      slotsRefreshTimeout: options.connectTimeoutMs,
      redisOptions: settings,
    });
  };
  let open: Promise<Client> | undefined;
  let disposed = false;
  const connect = async (): Promise<Client> => {
    const made = make();
    let last: unknown;
    // Whoever sends a command is told of it; without a listener Node would end the process.
    made.on("error", (error: unknown) => (last = error));
    made.on("node error", (error: unknown) => (last = error));
    made.once("end", () => (open = undefined));
    made.once("close", () => (open = undefined));
    try {
      await made.connect();
      // The library goes on in the first database when there is no such one.
      if (made instanceof Redis && settings.db !== 0) await made.select(settings.db ?? 0);
      return made;
    } catch (error) {
      made.disconnect();
      throw last instanceof Error && messageOf(error) === "Connection is closed." ? last : error;
    }
  };
  return {
    client() {
      if (disposed) throw new MillraceError("usage", "the sink is closed already");
      if (open === undefined) {
        open = connect();
        open.catch(() => (open = undefined));
      }
      return open;
    },
    async close() {
      disposed = true;
      const client = await open?.catch(() => undefined);
      open = undefined;
      if (client === undefined) return;
      const ended = new Promise<void>((done) => client.once("end", () => done()));
      if (client.status === "end") return;
      client.disconnect();
      await ended;
    },
  };
}

const named = (name: string, value: string | undefined): Record<string, string> =>
  value === undefined || value === "" ? {} : { [name]: value };
const decoded = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : decodeURIComponent(text);

function parseUrl(text: string): URL {
  try {
    return new URL(text);
  } catch {
    throw new MillraceError("config", "`url` is no URL", { hint: "write `redis://user:password@host:6379/0`" });
  }
}

async function readAuthorities(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new MillraceError("config", `the file of \`ca\` cannot be read: ${systemCode(cause)}`, {
      cause,
      hint: "name a PEM file with the certificate of the authority",
    });
  }
}

/** Runs `work`, its errors in Millrace's codes. */
export async function translated<Result>(connection: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw isMillraceError(error) ? error.at({ connection }) : redisError(error).at({ connection });
  }
}

function redisError(error: unknown): MillraceError {
  // A cluster says that no node answers, and keeps why.
  const inner = (error as { lastNodeError?: unknown }).lastNodeError;
  if (inner instanceof Error) return redisError(inner);
  const message = messageOf(error);
  const name = /^([A-Z]+)\b/.exec(message)?.[1] ?? "";
  const fail = (code: MillraceError["code"], hint: string, temporary = false): MillraceError =>
    new MillraceError(code, message, { cause: error, hint, temporary });
  if (name === "WRONGPASS" || name === "NOAUTH" || /invalid (username-)?password|AUTH/.test(message)) {
    return fail("authentication", "look at `username` and `password`");
  }
  if (name === "NOPERM") return fail("permission", "grant `~millrace:* +@read +@write +@connection +eval` to the user");
  if (name === "OOM") return fail("full", "raise `maxmemory` of the server, or publish fewer rows", true);
  if (["LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "MISCONF"].includes(name)) {
    return fail("unreachable", "run again, once the server has recovered", true);
  }
  if (name === "CROSSSLOT" || name === "MOVED" || name === "ASK") {
    return fail("config", "the server is one of a cluster: name it in `nodes` instead of `host`");
  }
  if (/out of range|DB index/.test(message)) return fail("config", "look at `database`");
  if (error instanceof Error && error.name === "ReplyError") return fail("internal", "this is a defect of Millrace");
  const code = systemCode(error) ?? "";
  if (/CERT|SELF_SIGNED|UNABLE_TO_|^ERR_TLS|ALTNAME/.test(code)) {
    return new MillraceError("unreachable", `the certificate of the server is not accepted: ${message}`, {
      cause: error,
      hint: "point `ca` to the PEM file of the authority that signed it",
    });
  }
  return new MillraceError("unreachable", `the server cannot be reached: ${code || message}`, {
    cause: error,
    temporary: true,
    hint: "look at host, port and `tls`, and at the network of this machine",
  });
}
