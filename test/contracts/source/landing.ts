import { randomUUID } from "node:crypto";
import {
  isMillraceError,
  sqlName,
  type Cursor,
  type Part,
  type Plan,
  type ReadRequest,
  type Source,
} from "../../../src/core/index.ts";
import { assignFieldIds } from "../../../src/dataset/index.ts";
import { stagedRelation } from "../../../src/engine/index.ts";
import { openFormat } from "../../../src/pipeline/modules.ts";
import { registry } from "../../../src/registry.ts";
import type { SourceBench, SourceSubject } from "../source.ts";

export interface ReadRows {
  plan: Plan;
  /** `id|text` of every row, sorted. */
  rows: string[];
}

/** What `id` and `text` are called in the streams of a subject. The kit of formats reads files without one. */
export const columnsOf = (bench: SourceBench): { id: string; text: string } =>
  (bench.subject as SourceSubject | undefined)?.columns ?? { id: "id", text: "text" };

/** What survives in the store between two processes. */
export const kept = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

/** The rows of one part as the engine lands them: strictly, and a second time with the bad records set apart. */
export async function rowsOfPart(
  bench: SourceBench,
  source: Source,
  plan: Plan,
  part: Part,
  request: ReadRequest,
): Promise<string[]> {
  const columns = assignFieldIds(plan.columns);
  const land = async (tolerant: boolean): Promise<string[]> => {
    const payload = await source.read(kept(part), request, {});
    const format = payload.form === "files" ? await openFormat(registry, payload.format, payload.options) : undefined;
    const landed = await bench.engine.land({
      payload,
      ...(format ? { format } : {}),
      columns,
      folder: bench.folder,
      prefix: randomUUID(),
      rowwise: true,
      ...(tolerant ? { tolerant } : {}),
    });
    const { id, text } = columnsOf(bench);
    const list = [id, text].filter((name) => columns.some((column) => column.name === name)).map(sqlName);
    const line = list.length === 0 ? "'a row without id and text'" : `concat_ws('|', ${list.join(", ")})`;
    const relation = stagedRelation(
      landed.files.map(({ path }) => path),
      columns,
    );
    const rows = await bench.engine.query(`SELECT ${line} AS line FROM ${relation}`);
    return rows.map((row) => row["line"] as string).toSorted();
  };
  try {
    return await land(false);
  } catch (error) {
    if (!isMillraceError(error) || error.code !== "parse") throw error;
    return land(true);
  }
}

/** Plans and reads what is new after a position. */
export async function readRows(
  bench: SourceBench,
  source: Source,
  request: ReadRequest,
  after?: Cursor,
): Promise<ReadRows> {
  const plan = await source.plan(request, after === undefined ? {} : { after: kept(after) });
  const rows: string[] = [];
  for (const part of plan.parts) rows.push(...(await rowsOfPart(bench, source, plan, part, request)));
  return { plan, rows: rows.toSorted() };
}
