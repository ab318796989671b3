import { MillraceError, throwIfAborted } from "../../core/index.ts";
import { CopyOut } from "./copy-out.ts";
import { postgresError } from "./errors.ts";
import type { Session } from "./session.ts";
import type { Settings } from "./settings.ts";

export interface CopyRead {
  settings: Settings;
  session: Session;
  select: string;
  signal: AbortSignal | undefined;
  /** Called once the server has confirmed the end, with its own count. */
  onRows: (rows: number) => void;
}

/**
 * The rows of a SELECT as CSV without header: null is an empty cell, the empty string `""`.
 * When it is left before the end, for whatever reason, the server is told to stop and the connection is closed.
 */
export async function* copyCsv({ settings, session, select, signal, onRows }: CopyRead): AsyncGenerator<Uint8Array> {
  throwIfAborted(signal);
  const copy = new CopyOut(`COPY (${select}) TO STDOUT (FORMAT csv)`);
  const stop = (): void => copy.fail(new MillraceError("aborted", "stopped by the caller", { cause: signal?.reason }));
  signal?.addEventListener("abort", stop, { once: true });
  let complete = false;
  try {
    submit(session, copy);
    for (;;) {
      const silence = setTimeout(() => copy.fail(tooQuiet(settings)), settings.readTimeoutMs);
      let chunk: Buffer | undefined;
      try {
        chunk = await copy.next();
      } finally {
        clearTimeout(silence);
      }
      if (chunk === undefined) break;
      yield chunk;
    }
    complete = true;
    onRows(copy.rows!);
  } catch (error) {
    throw postgresError(error, settings);
  } finally {
    signal?.removeEventListener("abort", stop);
    if (!complete) {
      copy.fail(new MillraceError("aborted", "the rest is not wanted"));
      await session.cancel();
    }
  }
}

/** `pg` takes anything with these methods for a query and gives it back; its typings do not know that. */
function submit(session: Session, copy: CopyOut): void {
  (session.client as unknown as { query(query: CopyOut): CopyOut }).query(copy);
}

function tooQuiet(settings: Settings): MillraceError {
  return new MillraceError("timeout", `the server has sent nothing for ${settings.readTimeoutMs / 1000} s`, {
    temporary: true,
    hint: "look into `pg_stat_activity` for what it waits for, or raise `readTimeoutMs`",
  });
}
