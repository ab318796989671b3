import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";
import { mkdir, realpath, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { MillraceError, sqlString, throwIfAborted } from "../core/index.ts";
import type { EngineOptions } from "./engine.ts";
import { engineError } from "./errors.ts";

/** A DuckDB that nothing outside its folders can be reached from, and the connections to it. */
export interface Session extends AsyncDisposable {
  readonly spillFolder: string;
  /** Runs `action` with a connection that nobody else uses meanwhile; an abort interrupts it. */
  use<T>(action: (connection: DuckDBConnection) => Promise<T>, signal?: AbortSignal): Promise<T>;
}

export async function openSession(options: EngineOptions): Promise<Session> {
  await mkdir(options.spillFolder, { recursive: true });
  const spillFolder = await realpath(options.spillFolder);
  const instance = await DuckDBInstance.create(":memory:", {
    memory_limit: options.memoryLimit ?? "500MB",
    temp_directory: spillFolder,
    preserve_insertion_order: "false",
    autoinstall_known_extensions: "false",
    autoload_known_extensions: "false",
    allow_community_extensions: "false",
    ...(options.threads === undefined ? {} : { threads: String(options.threads) }),
  });
  const idle: DuckDBConnection[] = [];
  const all: DuckDBConnection[] = [];
  let closed = false;

  const first = await instance.connect();
  all.push(first);
  idle.push(first);
  await lockDown(first, [spillFolder, ...options.allowed]);

  const take = async (): Promise<DuckDBConnection> => {
    const free = idle.pop();
    if (free) return free;
    const connection = await instance.connect();
    all.push(connection);
    return connection;
  };

  return {
    spillFolder,
    async use(action, signal) {
      throwIfAborted(signal);
      if (closed) throw new MillraceError("aborted", "the engine is closed");
      const connection = await take();
      const interrupt = (): void => connection.interrupt();
      signal?.addEventListener("abort", interrupt);
      try {
        return await action(connection);
      } catch (error) {
        throwIfAborted(signal);
        throw engineError(error);
      } finally {
        signal?.removeEventListener("abort", interrupt);
        idle.push(connection);
      }
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      for (const connection of all) connection.closeSync();
      instance.closeSync();
      await rm(spillFolder, { recursive: true, force: true });
    },
  };
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
