import { isMillraceError, MillraceError, throwIfAborted, type ErrorPlace } from "../../core/index.ts";
import type { Session } from "../../protocols/postgres/session.ts";
import { CsvRows } from "./csv-rows.ts";
import { metaText } from "./log-reader.ts";
import type { Log } from "./log.ts";
import type { ChangeSpec } from "./plan.ts";
import { formatLsn, parseLsn, sortableLsn } from "./position.ts";
import { findSlots } from "./slot.ts";
import type { ChangeTable } from "./table.ts";
import { resolveCells } from "./values.ts";

/** Bytes of CSV that are handed over at once. */
const chunkBytes = 256 * 1024;

export interface ChangesRequest {
  log: Log;
  table: ChangeTable;
  publication: string;
  spec: ChangeSpec;
  where: ErrorPlace;
  signal: AbortSignal | undefined;
  /** Filled in once the chunks have ended. */
  counted: { rows: number };
  withSession: <Result>(work: (session: Session) => Promise<Result>, signal?: AbortSignal) => Promise<Result>;
}

/** The changes of a part as CSV. Memory is bounded by the chunk and the longest row, however long a transaction is. */
export async function* changesOf(request: ChangesRequest): AsyncGenerator<Uint8Array> {
  const { log, table, publication, spec, where, signal, counted, withSession } = request;
  throwIfAborted(signal);
  if (spec.kind === "emptying") {
    counted.rows = 1;
    const nulls = ",".repeat(Math.max(0, table.columns.length - 1));
    yield Buffer.from(nulls + metaText(table, "truncate", sortableLsn(parseLsn(spec.to)), 0, ",", true));
    return;
  }
  const [from, to] = [parseLsn(spec.from), parseLsn(spec.to)];
  const slot = await withSession(async (session) => (await findSlots(session, [spec.slot])).get(spec.slot), signal);
  if (slot === undefined || slot.confirmed > from) {
    throw new MillraceError(
      "conflict",
      `\`${spec.slot}\` does not keep the changes after ${formatLsn(from)} any more`,
      {
        where,
        hint: "the run is planned anew; nothing of the old plan was published",
      },
    );
  }
  const { reader, done } = await log.take(table, publication, from, signal);
  let finished = false;
  const before = reader.rows;
  try {
    const rows = new CsvRows();
    for (;;) {
      const state = await reader.rowsTo(to, rows, chunkBytes, signal);
      if (rows.length > 0) {
        const { open } = rows;
        const texts =
          open.length === 0 ? [] : await withSession((session) => resolveCells(session, table.columns, open), signal);
        yield rows.take(texts);
      }
      if (state === "end") break;
    }
    counted.rows = reader.rows - before;
    finished = true;
    await done();
  } catch (problem) {
    finished = true;
    const error = await done(problem);
    throw isMillraceError(error) ? error.at(where) : error;
  } finally {
    // Left before the end: the rest of the changes is still on its way.
    if (!finished) await done(new MillraceError("aborted", "the rest is not wanted"));
  }
}
