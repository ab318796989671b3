import type { Ledger } from "./ledger.ts";
import { oracleLake, type OracleLake } from "./oracle-lake.ts";

/** A server of SQL with a table of a ledger's records, behind a port that may be a proxy's. */
export interface TableServer {
  source: "postgres" | "mysql";
  run(sql: string): Promise<unknown>;
  connection: Record<string, unknown>;
}

export async function createTable(server: TableServer): Promise<void> {
  const text = server.source === "mysql" ? "varchar(40)" : "text";
  await server.run(
    `CREATE TABLE events (id bigint PRIMARY KEY, revision int NOT NULL, payload ${text} NOT NULL, price decimal(10,2) NOT NULL, seq bigint NOT NULL)`,
  );
}

/** A lake whose flow takes what is new in the table by the column `seq`. */
export function oracleTable(folder: string, mode: "append" | "merge", server: TableServer, ledger: Ledger): OracleLake {
  const from = { connection: "server", stream: "events", cursor: "seq", part_bytes: 20_000 };
  const connections = { server: { source: server.source, ...server.connection } };
  return oracleLake(folder, mode, from, { connections }, ledger);
}

/** Writes records into the table, each with the next number of `seq`; touched ones are updated. */
export async function offerRows(
  server: TableServer,
  ledger: Ledger,
  count: number,
  touched: readonly number[] = [],
): Promise<void> {
  const first = ledger.next;
  const rows = ledger.offer(count, touched);
  const value = ({ id, revision, payload, price }: (typeof rows)[number]): string =>
    `(${id}, ${revision}, '${payload}', ${price}, ${ledger.nextSequence()})`;
  for (const { id, revision, payload } of rows.filter((row) => row.id < first)) {
    await server.run(
      `UPDATE events SET revision = ${revision}, payload = '${payload}', seq = ${ledger.nextSequence()} WHERE id = ${id}`,
    );
  }
  const fresh = rows.filter((row) => row.id >= first);
  for (let from = 0; from < fresh.length; from += 1000) {
    await server.run(
      `INSERT INTO events VALUES ${fresh
        .slice(from, from + 1000)
        .map(value)
        .join(", ")}`,
    );
  }
}
