import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { MillraceError } from "../core/index.ts";

/**
 * The right to write to an inbox, held by one process. It is a lock of the operating system on a file, by way of SQLite, and goes with the
 * process however that ends. Undefined: another process has it, for longer than `waitMs`. A reader has it for a moment while it removes rows, so
 * that who wants to write waits a little.
 */
export function takeLock(folder: string, waitMs = 0): { release(): void } | undefined {
  const database = new DatabaseSync(join(folder, "writer.lock"), { timeout: waitMs });
  try {
    database.exec("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE");
    return { release: () => database.close() };
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode === 5) return undefined;
    throw error;
  }
}

export function lockedByOther(folder: string): MillraceError {
  return new MillraceError("conflict", `another process writes to the inbox \`${folder}\``, {
    hint: "an inbox has one receiver: stop the other `millrace collect` or `millrace run --watch`",
  });
}
