import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { chownSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { MillraceError } from "../../src/core/index.ts";
import { findProgram, freePort, requireProgram } from "./install.ts";

const execute = promisify(execFile);

/** A PostgreSQL server of our own: fresh data folder, free port on 127.0.0.1, one database `shop` and its user `reader`. */
export interface Postgres extends AsyncDisposable {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  /** `postgres://user:password@host:port/database`. */
  url: string;
  /** The same for the superuser. */
  adminUrl: string;
  /** Folder of the Unix socket. */
  socketFolder: string;
  /** A certificate authority for `ssl: verify-full`; undefined where `openssl` is missing, and then there is no TLS. */
  ca: string | undefined;
  /** The log of the server so far. */
  log(): Promise<string>;
  /** Runs statements as superuser in the database `shop`; the rows of the last one, every value as text. */
  query(sql: string, parameters?: readonly unknown[]): Promise<Record<string, string | null>[]>;
  /** The server, then its backends: process ids. */
  processes(): number[];
  /** SIGKILL to the server and all its backends, as a power cut would. */
  kill(): Promise<void>;
  /** Starts again on the same data and port. */
  start(): Promise<void>;
  /** Stops at once (connections are closed by the server), then starts again. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface PostgresOptions {
  /** Further settings: `max_connections=20`. */
  settings?: readonly string[];
  /** Lines of `pg_hba.conf` that come first. */
  access?: readonly string[];
  encoding?: string;
}

const [user, password, database] = ["reader", "p0stgres-canary-secret", "shop"];
const adminPassword = "p0stgres-admin-secret";

/**
 * Starts a PostgreSQL server. As root it runs under the account `postgres` (or `nobody`): the server refuses root.
 * Throws `unreachable` when the server can neither be found nor installed.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  const initdb = await requireProgram({
    service: "PostgreSQL",
    name: "initdb",
    packages: ["postgresql"],
    folders: ["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin"],
  });
  const daemon = join(dirname(initdb), "postgres");
  const folder = await mkdtemp(join(tmpdir(), "millrace-postgres-"));
  const data = join(folder, "data");
  const logFile = join(folder, "log");
  const passwordFile = join(folder, "password");
  const account = serverAccount();
  const command = { cwd: folder, ...account, env: { ...process.env, LC_ALL: "C.UTF-8", TZ: "UTC" } };
  writeFileSync(passwordFile, adminPassword);
  const give = (path: string): void => {
    if (account.uid !== undefined) chownSync(path, account.uid, account.gid ?? -1);
  };
  for (const path of [folder, passwordFile]) give(path);
  const encoding = options.encoding ?? "UTF8";
  const locale = encoding === "UTF8" ? "C.UTF-8" : "C";
  await execute(
    initdb,
    ["-D", data, "-U", "postgres", "-A", "scram-sha-256", "-E", encoding, `--locale=${locale}`, "--no-sync"].concat(
      `--pwfile=${passwordFile}`,
    ),
    command,
  );
  const ca = makeCertificate(folder);
  if (ca !== undefined) for (const name of ["server.key", "server.crt"]) give(join(folder, name));
  const access = join(data, "pg_hba.conf");
  writeFileSync(access, [...(options.access ?? []), readFileSync(access, "utf8")].join("\n"));
  const port = await freePort();
  let child: ChildProcess | undefined;
  let admin: pg.Client | undefined;

  const connect = async (name: string): Promise<pg.Client> => {
    const client = new pg.Client({
      host: "127.0.0.1",
      port,
      user: "postgres",
      password: adminPassword,
      database: name,
      ssl: false,
      application_name: "test-admin",
      types: { getTypeParser: () => (value: unknown) => value },
    });
    client.on("error", () => undefined);
    await client.connect();
    return client;
  };
  const query: Postgres["query"] = async (sql, parameters) => {
    admin ??= await connect(database);
    const results: unknown = await admin.query(sql, parameters === undefined ? undefined : [...parameters]);
    const last = (Array.isArray(results) ? results.at(-1) : results) as pg.QueryResult<Record<string, string | null>>;
    return last.rows;
  };

  const start = async (): Promise<void> => {
    const settings = [
      `port=${port}`,
      "listen_addresses=127.0.0.1",
      `unix_socket_directories=${folder}`,
      "fsync=off",
      "full_page_writes=off",
      "wal_level=logical",
      "max_connections=60",
      "shared_buffers=64MB",
      "log_statement=none",
      ...(ca === undefined
        ? []
        : ["ssl=on", `ssl_cert_file=${join(folder, "server.crt")}`, `ssl_key_file=${join(folder, "server.key")}`]),
      ...(options.settings ?? []),
    ];
    const started = spawn(daemon, ["-D", data, ...settings.flatMap((setting) => ["-c", setting])], {
      ...command,
      stdio: ["ignore", "pipe", "pipe"],
    });
    child = started;
    for (const stream of [started.stdout, started.stderr]) {
      stream.on("data", (text: Buffer) => writeFileSync(logFile, text, { flag: "a" }));
    }
    for (let attempt = 0; ; attempt++) {
      try {
        const client = await connect("postgres");
        await client.end();
        return;
      } catch (cause) {
        if (started.exitCode !== null || started.signalCode !== null || attempt > 600) {
          const text = await readFile(logFile, "utf8").catch(() => "");
          throw new MillraceError("unreachable", `PostgreSQL does not start: ${text.slice(-2000)}`, { cause });
        }
        await sleep(25);
      }
    }
  };

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    admin?.connection.stream.destroy();
    admin = undefined;
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const exited = new Promise((resolve) => running.once("exit", resolve));
    // Stopped first, so that it starts no backend that is not in the list.
    if (signal === "SIGKILL") running.kill("SIGSTOP");
    const backends = signal === "SIGKILL" ? childrenOf(running.pid!) : [];
    running.kill(signal);
    for (const backend of backends) killQuietly(backend);
    await exited;
    // A backend that is not gone yet holds the shared memory, and the next start would be refused.
    for (let attempt = 0; backends.some(isAlive) && attempt < 400; attempt++) await sleep(25);
  };
  const emergency = (): void => {
    if (child?.pid === undefined) return;
    const backends = childrenOf(child.pid);
    child.kill("SIGKILL");
    for (const backend of backends) killQuietly(backend);
  };
  process.once("exit", emergency);
  const stop = async (): Promise<void> => {
    await end("SIGQUIT");
    process.off("exit", emergency);
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  };

  try {
    await start();
    const first = await connect("postgres");
    await first.query(`CREATE DATABASE ${database}`);
    await first.query(`CREATE ROLE ${user} LOGIN PASSWORD '${password}'`);
    await first.query(`GRANT ALL ON DATABASE ${database} TO ${user}`);
    await first.end();
    await query(`GRANT USAGE ON SCHEMA public TO ${user}`);
    await query(`ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO ${user}`);
  } catch (error) {
    await stop();
    throw error;
  }
  const urlOf = (name: string, secret: string): string => `postgres://${name}:${secret}@127.0.0.1:${port}/${database}`;
  return {
    host: "127.0.0.1",
    port,
    user,
    password,
    database,
    url: urlOf(user, password),
    adminUrl: urlOf("postgres", adminPassword),
    socketFolder: folder,
    ca,
    log: () => readFile(logFile, "utf8"),
    query,
    processes: () => (child?.pid === undefined ? [] : [child.pid, ...childrenOf(child.pid)]),
    kill: () => end("SIGKILL"),
    start,
    restart: async () => {
      await end("SIGQUIT");
      await start();
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** The account the server runs under: our own, unless that is root. */
function serverAccount(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  for (const name of ["postgres", "nobody"]) {
    try {
      const [uid, gid] = ["-u", "-g"].map((flag) => Number(execFileSync("id", [flag, name], { stdio: "pipe" })));
      return { uid: uid!, gid: gid! };
    } catch {
      // There is no such account here.
    }
  }
  throw new MillraceError("unreachable", "PostgreSQL does not run as root, and there is no other account to run it as");
}

/** A certificate for 127.0.0.1 that is its own authority; undefined without `openssl`. */
function makeCertificate(folder: string): string | undefined {
  const openssl = findProgram({ name: "openssl" });
  if (openssl === undefined) return undefined;
  const [key, certificate] = [join(folder, "server.key"), join(folder, "server.crt")];
  const name = ["-subj", "/CN=millrace-test", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-nodes"];
  execFileSync(openssl, ["req", "-x509", ...kind, ...name, "-keyout", key, "-out", certificate], { stdio: "pipe" });
  return certificate;
}

/** Backends leave the process group of the server, so that a kill of the group would spare them. */
function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}
