import type { DuckDBConnection } from "@duckdb/node-api";
import { rm } from "node:fs/promises";
import { MillraceError, type RejectedRecord, type Sql, type StagedFile } from "../core/index.ts";
import { landAssets } from "./assets.ts";
import { appendBatches } from "./batches.ts";
import { scanOfPipe, tolerantTable } from "./bytes.ts";
import { castSelect, columnsOf, copyToParquet } from "./copy.ts";
import type { Landed, LandRequest } from "./engine.ts";
import { engineError, isDataError } from "./errors.ts";
import { countLines } from "./lines.ts";
import { readThroughPipe } from "./pipe.ts";
import type { Session } from "./session.ts";

const rowsOf = (files: readonly StagedFile[]): number => files.reduce((sum, file) => sum + file.rows, 0);

/** Payload → Parquet. See `Engine.land`. */
export async function land(session: Session, request: LandRequest): Promise<Landed> {
  switch (request.payload.form) {
    case "files":
      return landFiles(session, request);
    case "bytes":
      return landBytes(session, request);
    case "columns":
      return landColumns(session, request);
    case "assets":
      return landAssets(request, (columns, batches) =>
        landColumns(session, { ...request, payload: { form: "columns", columns, batches } }),
      );
  }
}

/** The output SELECT over an input relation, cast to the target columns. */
async function outputOf(connection: DuckDBConnection, request: LandRequest, input: Sql): Promise<Sql> {
  return castSelect(connection, request.select?.(input) ?? `SELECT * FROM ${input}`, request.columns);
}

async function landFiles(session: Session, request: LandRequest): Promise<Landed> {
  const { payload } = request;
  if (payload.form !== "files") throw new TypeError("landFiles takes files");
  const { verify } = payload;
  if (verify === undefined) return readFiles(session, request);
  return beside(verify, request.signal, async (signal) => readFiles(session, { ...request, signal }));
}

async function readFiles(session: Session, request: LandRequest): Promise<Landed> {
  const { payload, format, signal } = request;
  if (payload.form !== "files") throw new TypeError("readFiles takes files");
  const native = format?.native;
  if (native === undefined) {
    throw new MillraceError("internal", `the format \`${payload.format}\` has no reader in the engine`, {
      where: { file: payload.files[0]?.name ?? "" },
    });
  }
  const bytes = payload.files.reduce((sum, file) => sum + file.size, 0);
  const place = payload.files.length === 1 ? { file: payload.files[0]!.name } : {};
  return session.use(async (connection) => {
    const stop = watchProgress(connection, request, bytes);
    try {
      const scan = native.scan(payload.files, payload.columns);
      const strict = await attempt(async () => {
        const files = await copyToParquet(connection, await outputOf(connection, request, scan), request);
        const written = rowsOf(files);
        const read = request.select === undefined || request.rowwise ? written : await count(connection, scan);
        return { files, read, written, filtered: read - written, rejected: [], bytes };
      });
      if (strict.value !== undefined) return strict.value;
      if (native.tolerant === undefined || !isDataError(strict.error))
        throw nameFile(
          engineError(strict.error),
          payload.files.map((file) => file.name),
        );
      const columns = payload.columns ?? (await columnsOf(connection, `SELECT * FROM ${scan}`));
      const tolerant = native.tolerant(payload.files, columns);
      try {
        for (const statement of tolerant.prepare ?? []) await connection.run(statement);
        const files = await copyToParquet(connection, await outputOf(connection, request, tolerant.good), request);
        const written = rowsOf(files);
        const good = request.select === undefined || request.rowwise ? written : await count(connection, tolerant.good);
        const rejected = await recordsOf(connection, tolerant.rejected);
        return { files, read: good + rejected.length, written, filtered: good - written, rejected, bytes };
      } catch (error) {
        throw nameFile(
          engineError(error),
          payload.files.map((file) => file.name),
        );
      } finally {
        for (const statement of tolerant.cleanup ?? []) await connection.run(statement).catch(() => undefined);
      }
    } catch (error) {
      throw engineError(error).at(place);
    } finally {
      stop();
    }
  }, signal);
}

/** Reads while `verify` looks at the same files. What it finds ends the reading, and goes before what the reading says. */
async function beside(
  verify: (signal: AbortSignal) => Promise<void>,
  outer: AbortSignal | undefined,
  read: (signal: AbortSignal) => Promise<Landed>,
): Promise<Landed> {
  const stop = new AbortController();
  const signal = outer === undefined ? stop.signal : AbortSignal.any([stop.signal, outer]);
  let found: { error: unknown } | undefined;
  const verifying = verify(signal).catch((error: unknown) => {
    // Of what was stopped an error says nothing.
    if (!signal.aborted) found = { error };
    stop.abort();
  });
  try {
    const landed = await read(signal);
    await verifying;
    if (found === undefined) return landed;
    for (const file of landed.files) await rm(file.path, { force: true });
    throw found.error;
  } catch (error) {
    stop.abort();
    await verifying;
    throw found === undefined ? error : found.error;
  }
}

/** DuckDB names the path it opened; people know the file by the name in its source. */
function nameFile(error: MillraceError, names: readonly string[]): MillraceError {
  return names.length === 1 ? error.at({ file: names[0]! }) : error;
}

async function attempt<T>(action: () => Promise<T>): Promise<{ value?: T; error?: unknown }> {
  try {
    return { value: await action() };
  } catch (error) {
    return { error: engineError(error) };
  }
}

async function count(connection: DuckDBConnection, relation: Sql): Promise<number> {
  const reader = await connection.runAndReadAll(`SELECT count(*) FROM ${relation}`);
  return Number(reader.getRows()[0]![0]);
}

async function recordsOf(connection: DuckDBConnection, relation: Sql): Promise<RejectedRecord[]> {
  const reader = await connection.runAndReadAll(`SELECT reason, origin, record FROM ${relation}`);
  return reader.getRows().map(([reason, origin, record]) => ({
    reason: String(reason ?? "the record cannot be read"),
    origin: String(origin ?? ""),
    record: String(record ?? ""),
  }));
}

async function landBytes(session: Session, request: LandRequest): Promise<Landed> {
  const { payload, signal } = request;
  if (payload.form !== "bytes") throw new TypeError("landBytes takes bytes");
  const counted = payload.format === "ndjson" ? countLines(payload.chunks) : undefined;
  const chunks = counted?.chunks ?? payload.chunks;
  // What a source sets aside it does not send.
  const sent = (): number | undefined =>
    payload.rows?.() ?? (counted && counted.lines() + (payload.rejected?.() ?? []).length);
  return session.use(async (connection) => {
    const onBytes = throttle((bytes: number) => request.onProgress?.({ rows: 0, bytes }));
    const asideOf = (): RejectedRecord[] => payload.rejected?.() ?? [];
    if (request.tolerant) {
      const { result: table, bytes } = await readThroughPipe(
        session.spillFolder,
        chunks,
        (path) => tolerantTable(connection, payload, path),
        { onBytes, ...(signal ? { signal } : {}) },
      );
      try {
        const files = await copyToParquet(connection, await outputOf(connection, request, table.good), request);
        const written = rowsOf(files);
        const good = await count(connection, table.good);
        const rejected = [...(await recordsOf(connection, table.rejected)), ...asideOf()];
        return { files, read: good + rejected.length, written, filtered: good - written, rejected, bytes };
      } finally {
        await connection.run(table.drop);
      }
    }
    let files: StagedFile[] = [];
    try {
      const { bytes } = await readThroughPipe(
        session.spillFolder,
        chunks,
        async (path) => {
          files = await copyToParquet(
            connection,
            await outputOf(connection, request, scanOfPipe(payload, path)),
            request,
          );
        },
        { onBytes, ...(signal ? { signal } : {}) },
      );
      return { files, bytes, ...account(sent(), request, rowsOf(files), asideOf()) };
    } catch (error) {
      // A stream that was cut can look complete to the query.
      for (const file of files) await rm(file.path, { force: true });
      throw error;
    }
  }, signal);
}

/** What was read must be what was written, set aside and filtered; a source that counts is held to its count. */
function account(
  counted: number | undefined,
  request: LandRequest,
  written: number,
  rejected: RejectedRecord[],
): Pick<Landed, "read" | "written" | "filtered" | "rejected"> {
  const rowwise = request.select === undefined || request.rowwise === true;
  if (counted === undefined && !rowwise) {
    throw new MillraceError("internal", "a transform over this stream needs a source that counts its records", {
      hint: "land it without `transform` first",
    });
  }
  const read = counted ?? written + rejected.length;
  if (rowwise && read !== written + rejected.length) {
    throw new MillraceError(
      "corrupt",
      `the source sent ${read} records, but ${written} arrived and ${rejected.length} were set aside`,
    );
  }
  return { read, written, filtered: read - written - rejected.length, rejected };
}

async function landColumns(session: Session, request: LandRequest): Promise<Landed> {
  const { payload, signal } = request;
  if (payload.form !== "columns") throw new TypeError("landColumns takes columns");
  return session.use(async (connection) => {
    const { table, rows } = await appendBatches(connection, payload.columns, payload.batches, (done) =>
      request.onProgress?.({ rows: done, bytes: 0 }),
    );
    try {
      const typed = await castSelect(connection, `SELECT * FROM ${table}`, payload.columns);
      const files = await copyToParquet(connection, await outputOf(connection, request, `(${typed})`), request);
      const written = rowsOf(files);
      return { files, read: rows, written, filtered: rows - written, rejected: [], bytes: 0 };
    } finally {
      await connection.run(`DROP TABLE ${table}`);
    }
  }, signal);
}

/** At most five calls a second. */
function throttle(action: (value: number) => void): (value: number) => void {
  let last = 0;
  return (value) => {
    const now = performance.now();
    if (now - last < 200) return;
    last = now;
    action(value);
  };
}

/** DuckDB knows how much of its files it has read. */
function watchProgress(connection: DuckDBConnection, request: LandRequest, bytes: number): () => void {
  if (!request.onProgress) return () => undefined;
  const timer = setInterval(() => {
    const { percentage } = connection.progress;
    if (percentage > 0) request.onProgress!({ rows: 0, bytes: Math.round((bytes * percentage) / 100) });
  }, 200);
  timer.unref();
  return () => clearInterval(timer);
}
