import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createReadStream, rmSync } from "node:fs";
import { chmod, mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import mysql, { type Connection, type RowDataPacket } from "mysql2/promise";
import { MillraceError } from "../../src/core/index.ts";
import { freePort, requireProgram } from "./install.ts";

/** A MariaDB server of our own: fresh data folder, free port on 127.0.0.1. */
export interface Mariadb extends AsyncDisposable {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
  /** `mysql://user:password@host:port/database`. */
  url: string;
  /** The Unix socket, for the command-line client (user root, no password). */
  socket: string;
  /** Runs one statement as root; rows as objects, big numbers and times as text. */
  query(sql: string): Promise<RowDataPacket[]>;
  /** Runs statements in order as root. */
  run(...statements: string[]): Promise<void>;
  /** The server: its process id. */
  processes(): number[];
  /** SIGKILL, as a power cut would. */
  kill(): Promise<void>;
  /** Starts again on the same data and port. */
  start(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

const program = {
  service: "MariaDB",
  packages: ["mariadb-server"],
  folders: ["/usr/sbin", "/usr/libexec", "/opt/homebrew/bin"],
};

/**
 * Starts MariaDB 10.11 or newer with one database `shop` and one user `reader` that may do everything in it.
 * Throws `unreachable` when the server can neither be found nor installed.
 */
export async function startMariadb(settings: readonly string[] = []): Promise<Mariadb> {
  const daemon = await requireProgram({ ...program, name: "mariadbd" });
  const install = await requireProgram({ ...program, name: "mariadb-install-db" });
  const folder = await mkdtemp(join(tmpdir(), "millrace-mariadb-"));
  const isRoot = process.getuid?.() === 0;
  const account = isRoot ? ["--user=mysql"] : [];
  if (isRoot) {
    await chmod(folder, 0o755);
    execFileSync("chown", ["mysql", folder]);
  }
  const data = join(folder, "data");
  const socket = join(folder, "server.sock");
  const log = join(folder, "error.log");
  execFileSync(
    install,
    [
      "--no-defaults",
      ...account,
      `--datadir=${data}`,
      // Two that start at once must not take each other's temporary tables away.
      `--tmpdir=${folder}`,
      "--skip-test-db",
      "--auth-root-authentication-method=normal",
      "--skip-name-resolve",
    ],
    { stdio: "pipe" },
  );
  const port = await freePort();
  let child: ChildProcess | undefined;
  let admin: Connection | undefined;

  const query = async (sql: string): Promise<RowDataPacket[]> => {
    if (admin === undefined) {
      const options = { socketPath: socket, user: "root", charset: "utf8mb4", dateStrings: true } as const;
      admin = await mysql.createConnection({ ...options, supportBigNumbers: true, bigNumberStrings: true });
      admin.on("error", () => (admin = undefined));
      await admin.query("SET time_zone = '+00:00', lock_wait_timeout = 20");
      await admin.query("CREATE DATABASE IF NOT EXISTS shop CHARACTER SET utf8mb4");
      await admin.query("USE shop");
    }
    const [rows] = await admin.query<RowDataPacket[]>({
      sql,
      // For LOAD DATA LOCAL INFILE.
      infileStreamFactory: (path) => createReadStream(path),
    });
    return rows;
  };

  const start = async (): Promise<void> => {
    const started = spawn(
      daemon,
      [
        "--no-defaults",
        ...account,
        `--datadir=${data}`,
        `--tmpdir=${folder}`,
        `--socket=${socket}`,
        `--port=${port}`,
        `--pid-file=${join(folder, "server.pid")}`,
        `--log-error=${log}`,
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--innodb-buffer-pool-size=64M",
        "--innodb-flush-log-at-trx-commit=0",
        "--max-allowed-packet=256M",
        ...settings,
      ],
      { stdio: "ignore" },
    );
    child = started;
    for (let attempt = 0; ; attempt++) {
      try {
        await query("SELECT 1");
        return;
      } catch (cause) {
        admin = undefined;
        if (started.exitCode !== null || attempt > 600) {
          const text = await readFile(log, "utf8").catch(() => "");
          throw new MillraceError("unreachable", `MariaDB does not start: ${text.slice(-2000)}`, { cause });
        }
        await sleep(50);
      }
    }
  };

  const end = async (signal: NodeJS.Signals): Promise<void> => {
    admin?.destroy();
    admin = undefined;
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const exited = new Promise((resolve) => running.once("exit", resolve));
    running.kill(signal);
    await exited;
  };
  const emergency = (): void => void child?.kill("SIGKILL");
  process.once("exit", emergency);
  const stop = async (): Promise<void> => {
    await end("SIGKILL");
    process.off("exit", emergency);
    rmSync(folder, { recursive: true, force: true });
  };

  const [user, password, database] = ["reader", "m1ll-race-secret", "shop"];
  try {
    await start();
    await query(`CREATE USER '${user}'@'%' IDENTIFIED BY '${password}'`);
    await query(`GRANT ALL ON ${database}.* TO '${user}'@'%'`);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    host: "127.0.0.1",
    port,
    user,
    password,
    database,
    url: `mysql://${user}:${password}@127.0.0.1:${port}/${database}`,
    socket,
    query,
    run: async (...statements) => {
      for (const statement of statements) await query(statement);
    },
    processes: () => (child?.pid === undefined ? [] : [child.pid]),
    kill: () => end("SIGKILL"),
    start,
    restart: async () => {
      await end("SIGTERM");
      await start();
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
