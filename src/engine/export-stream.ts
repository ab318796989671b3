import type { DuckDBConnection } from "@duckdb/node-api";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, constants, openSync } from "node:fs";
import { rm } from "node:fs/promises";
import { Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { sqlString, throwIfAborted, type Sql } from "../core/index.ts";
import { engineError } from "./errors.ts";
import { takeTurn } from "./pipe.ts";
import type { Session } from "./session.ts";

const run = promisify(execFile);

/**
 * The rows of a SELECT as the bytes of a file, through a named pipe: nothing is kept on disk, and whoever takes them slowly slows
 * the engine down. `copy` holds the options of COPY … TO. Leaving the iteration ends the query.
 */
export async function* exportStream(
  session: Session,
  select: Sql,
  copy: Sql,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  throwIfAborted(signal);
  const path = join(session.spillFolder, `pipe-${randomBytes(6).toString("hex")}`);
  await run("mkfifo", ["-m", "600", path]);
  const reader = new Socket({
    fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
    readable: true,
    writable: false,
  });
  // Errors reach the iteration; this keeps one that comes after it from ending the process.
  reader.on("error", () => undefined);
  // The pipe has a writer until the query is over, so that its end is the end of the query and of nothing else.
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  let failure: { error: unknown } | undefined;
  const query = takeTurn(() =>
    session.use(async (connection: DuckDBConnection) => {
      await connection.run(`COPY (${select}) TO ${sqlString(path)} (${copy}, USE_TMP_FILE false)`);
    }, signal),
  )
    .catch((error: unknown) => {
      failure = { error };
    })
    .finally(() => closeSync(writer));
  try {
    for await (const chunk of reader) yield chunk as Uint8Array;
    await query;
    if (failure) throw failure.error;
  } catch (error) {
    throwIfAborted(signal);
    throw failure === undefined ? engineError(error) : engineError(failure.error);
  } finally {
    reader.destroy();
    await query;
    await rm(path, { force: true });
  }
}
