import type { DuckDBConnection } from "@duckdb/node-api";
import { sqlString, throwIfAborted, type Column, type Sql } from "../core/index.ts";
import { streamBatches } from "./batches.ts";
import { castSelect, columnsOf, copyToParquet } from "./copy.ts";
import type { Engine, EngineOptions } from "./engine.ts";
import { engineError } from "./errors.ts";
import { exportStream } from "./export-stream.ts";
import { land } from "./land.ts";
import { openSession, type Session } from "./session.ts";
import { emptyRelation } from "./types.ts";
import { toLossless } from "./values.ts";
import { streamVectors } from "./vectors.ts";

export type { Engine, EngineOptions, Landed, LandRequest } from "./engine.ts";
export { canonicalText, columnChecksum } from "./checksum.ts";
export { fileSha256 } from "./copy.ts";
export { recordNumber, recordProblem, typedRecords } from "./records.ts";
export { typeSql } from "./types.ts";
export { isPresent, type Vector, type VectorBatch } from "./vectors.ts";
export { emptyRelation };

/** A FROM item over Parquet files that all have the same columns. */
export function stagedRelation(paths: readonly string[], columns: readonly Column[]): Sql {
  return paths.length === 0 ? emptyRelation(columns) : `read_parquet([${paths.map(sqlString).join(", ")}])`;
}

/** Opens DuckDB in memory, locked down to `allowed` and the spill folder. Throws `MillraceError`. */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const session = await openSession(options);
  return {
    describe: (relation) => session.use((connection) => columnsOf(connection, `SELECT * FROM ${relation}`)),
    columnsOf: (select) => session.use((connection) => columnsOf(connection, select)),
    run: (sql, signal) =>
      session.use(async (connection) => {
        await connection.run(sql);
      }, signal),
    query: (sql, signal) =>
      session.use(async (connection) => {
        const reader = await connection.runAndReadAll(sql);
        const names = reader.deduplicatedColumnNames();
        return reader
          .getRows()
          .map((row) => Object.fromEntries(row.map((value, index) => [names[index]!, toLossless(value)])));
      }, signal),
    async *stream(select, signal, { flatLists = false } = {}) {
      yield* pulled(session, signal, async function* (connection) {
        const columns = await columnsOf(connection, select);
        for await (const batch of streamBatches(connection, select, flatLists)) yield { columns, batch };
      });
    },
    vectors: (select, signal) => pulled(session, signal, (connection) => streamVectors(connection, select)),
    land: (request) => land(session, request),
    write: (select, request) =>
      session.use(
        async (connection) => copyToParquet(connection, await castSelect(connection, select, request.columns), request),
        request.signal,
      ),
    export: (select, file, copy, signal) =>
      session.use(async (connection) => {
        const reader = await connection.runAndReadAll(`COPY (${select}) TO ${sqlString(file)} (${copy})`);
        return Number(reader.getRows()[0]![0]);
      }, signal),
    exportStream: (select, copy, signal) => exportStream(session, select, copy, signal),
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

/** What `generate` gives, with a connection of its own for as long as somebody pulls. */
async function* pulled<Item>(
  session: Session,
  signal: AbortSignal | undefined,
  generate: (connection: DuckDBConnection) => AsyncIterable<Item>,
): AsyncGenerator<Item> {
  // A generator may be left at any point, so the connection is held by hand.
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const given = Promise.withResolvers<DuckDBConnection>();
  const using = session.use(async (connection) => {
    given.resolve(connection);
    await held;
  }, signal);
  using.catch((error: unknown) => given.reject(error));
  try {
    for await (const item of generate(await given.promise)) {
      throwIfAborted(signal);
      yield item;
    }
  } catch (error) {
    throwIfAborted(signal);
    throw engineError(error);
  } finally {
    release();
  }
}
