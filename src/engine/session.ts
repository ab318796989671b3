import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";
import "./lossless-text.ts";
import { mkdir, realpath, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { MillraceError, personalDataFunctions, sqlString, throwIfAborted } from "../core/index.ts";
import type { EngineOptions } from "./engine.ts";
import { engineError, isFatal } from "./errors.ts";

/** A DuckDB that nothing outside its folders can be reached from, and the connections to it. */
export interface Session extends AsyncDisposable {
  readonly spillFolder: string;
  /** Runs `action` with a connection that nobody else uses meanwhile; an abort interrupts it. */
  use<T>(action: (connection: DuckDBConnection) => Promise<T>, signal?: AbortSignal): Promise<T>;
}

/** A DuckDB and its connections: those that are idle, and all. */
interface Database {
  instance: DuckDBInstance;
  idle: DuckDBConnection[];
  all: DuckDBConnection[];
}

export async function openSession(options: EngineOptions): Promise<Session> {
  await mkdir(options.spillFolder, { recursive: true });
  const spillFolder = await realpath(options.spillFolder);
  let closed = false;
  const opened: Database[] = [];
  const open = async (): Promise<Database> => {
    const database = await openDatabase(options, spillFolder);
    opened.push(database);
    return database;
  };
  let current = open();
  await current;

  return {
    spillFolder,
    async use(action, signal) {
      throwIfAborted(signal);
      if (closed) throw new MillraceError("aborted", "the engine is closed");
      const mine = current;
      const database = await mine;
      const connection = database.idle.pop() ?? (await connect(database));
      // Again and again: what comes between two statements of the action, or before the first, is lost.
      let interrupting: NodeJS.Timeout | undefined;
      const interrupt = (): void => {
        connection.interrupt();
        interrupting ??= setInterval(interrupt, 50);
      };
      signal?.addEventListener("abort", interrupt);
      try {
        throwIfAborted(signal);
        return await action(connection);
      } catch (error) {
        throwIfAborted(signal);
        // After an error of its own the engine refuses everything. Whoever comes next gets a new one.
        if (isFatal(error) && current === mine) current = open();
        throw engineError(error);
      } finally {
        signal?.removeEventListener("abort", interrupt);
        clearInterval(interrupting);
        database.idle.push(connection);
      }
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      await current.catch(() => undefined);
      for (const { all, instance } of opened) {
        for (const connection of all) connection.closeSync();
        instance.closeSync();
      }
      await rm(spillFolder, { recursive: true, force: true });
    },
  };
}

async function openDatabase(options: EngineOptions, spillFolder: string): Promise<Database> {
  const instance = await DuckDBInstance.create(":memory:", {
    memory_limit: options.memoryLimit ?? "500MB",
    temp_directory: spillFolder,
    preserve_insertion_order: options.keepOrder === true ? "true" : "false",
    autoinstall_known_extensions: "false",
    autoload_known_extensions: "false",
    allow_community_extensions: "false",
    // Of few rows on one side, by its own guess, the planner would compare every row with every other.
    asof_loop_join_threshold: "0",
    ...(options.threads === undefined ? {} : { threads: String(options.threads) }),
  });
  const database: Database = { instance, idle: [], all: [] };
  const first = await connect(database);
  await first.run(personalDataFunctions().join(";\n"));
  await lockDown(first, [spillFolder, ...options.allowed]);
  database.idle.push(first);
  return database;
}

async function connect(database: Database): Promise<DuckDBConnection> {
  const connection = await database.instance.connect();
  database.all.push(connection);
  return connection;
}

/** Folders and files that SQL may touch, with and without resolved links; then nothing else, and no way back. */
async function lockDown(connection: DuckDBConnection, allowed: readonly string[]): Promise<void> {
  const folders = new Set<string>();
  for (const path of allowed) {
    const absolute = resolve(path);
    folders.add(absolute);
    folders.add(await realpath(absolute).catch(() => absolute));
  }
  const list = `[${[...folders].map(sqlString).join(", ")}]`;
  for (const statement of [
    "SET GLOBAL TimeZone = 'UTC'",
    `SET GLOBAL allowed_directories = ${list}`,
    `SET GLOBAL allowed_paths = ${list}`,
    "SET GLOBAL enable_external_access = false",
    "SET GLOBAL lock_configuration = true",
  ]) {
    await connection.run(statement);
  }
}
