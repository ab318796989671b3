import { tmpdir } from "node:os";
import type { Cursor, EngineView, Plan, ReadRequest, Source } from "../../src/core/index.ts";
import definition from "../../src/sources/mysql/index.ts";
import type { Mariadb } from "../services/mariadb.ts";

/** The source never asks the engine: a table describes itself. */
const noEngine: EngineView = {
  describe: () => Promise.reject(new Error("the engine was asked")),
  query: () => Promise.reject(new Error("the engine was asked")),
};

/** The source as a configuration would open it. */
export async function openMysql(options: Record<string, unknown>): Promise<Source> {
  const driver = await definition.load();
  return driver.open(definition.options.parse(options), { connection: "shop", folder: tmpdir(), engine: noEngine });
}

export function openShop(server: Mariadb, options: Record<string, unknown> = {}): Promise<Source> {
  return openMysql({ url: server.url, ...options });
}

export type Cells = (string | null)[];

export interface ReadResult {
  plan: Plan;
  rows: Cells[];
  /** Rows of each part, by its id. */
  parts: Map<string, Cells[]>;
}

/** Plans and reads every part. */
export async function readAll(source: Source, request: ReadRequest, after?: Cursor): Promise<ReadResult> {
  const plan = await source.plan(request, after === undefined ? {} : { after });
  const parts = new Map<string, Cells[]>();
  for (const part of plan.parts) {
    // Through JSON, as a run keeps it.
    const payload = await source.read(JSON.parse(JSON.stringify(part)), request, {});
    if (payload.form !== "bytes") throw new Error(`the payload has the form ${payload.form}`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of payload.chunks) chunks.push(chunk);
    const rows = parseCsv(Buffer.concat(chunks).toString(), payload.columns.length);
    if (payload.rows?.() !== rows.length)
      throw new Error(`${payload.rows?.()} rows were counted, and ${rows.length} arrived`);
    parts.set(part.id, rows);
  }
  return { plan, rows: [...parts.values()].flat(), parts };
}

/** The same with a source of its own, as every run has it; what it held is let go. */
export async function readOnce(server: Mariadb, request: ReadRequest, after?: Cursor): Promise<ReadResult> {
  await using source = await openShop(server);
  return await readAll(source, request, after);
}

/** CSV by the letter of RFC 4180, where an empty cell without quotes is null. */
export function parseCsv(text: string, columns: number): Cells[] {
  const rows: Cells[] = [];
  let row: Cells = [];
  let position = 0;
  while (position < text.length) {
    if (text[position] === '"') {
      let value = "";
      for (;;) {
        const end = text.indexOf('"', position + 1);
        if (end < 0) throw new Error("a quote is not closed");
        value += text.slice(position + 1, end);
        position = end + 1;
        if (text[position] !== '"') break;
        value += '"';
      }
      row.push(value);
    } else {
      const end = /[,\n]/.exec(text.slice(position))!.index + position;
      row.push(end === position ? null : text.slice(position, end));
      position = end;
    }
    if (text[position] === "\n") {
      if (row.length !== columns) throw new Error(`a row has ${row.length} cells and not ${columns}`);
      rows.push(row);
      row = [];
    } else if (text[position] !== ",") throw new Error(`unexpected text at ${position}`);
    position++;
    // A comma before the end of the line: one more cell, which is null.
    if (text[position - 1] === "," && text[position] === "\n") {
      row.push(null);
      if (row.length !== columns) throw new Error(`a row has ${row.length} cells and not ${columns}`);
      rows.push(row);
      row = [];
      position++;
    }
  }
  return rows;
}

/** What a call throws. */
export async function errorOf(
  action: () => Promise<unknown>,
): Promise<Error & { code?: string; hint?: string; temporary?: boolean }> {
  try {
    await action();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
}

/** Connections that the server sees of the user of the tests, the one that asks aside. */
export async function openConnections(server: Mariadb): Promise<number> {
  const [row] = await server.query(
    `SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE USER = '${server.user}'`,
  );
  return Number(row?.["n"]);
}

/** The order of rows does not matter. */
export function sorted<Row>(rows: readonly Row[]): Row[] {
  return rows.toSorted((left, right) => (JSON.stringify(left) < JSON.stringify(right) ? -1 : 1));
}
