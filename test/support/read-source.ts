import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Cursor, Plan, RejectedRecord, Source, SourceDefinition } from "../../src/core/index.ts";
import { openEngine } from "../../src/engine/index.ts";

export type Row = Record<string, unknown>;

/** What a source gave after a position. */
export interface Read {
  rows: Row[];
  rejected: RejectedRecord[];
  plan: Plan;
  cursor: Cursor;
}

/** Sources without a lake around them: their lines as they go to the engine. */
export interface SourceReader extends AsyncDisposable {
  open(options?: Row): Promise<Source>;
  /** What is new after a position, by a source of its own unless there is one. */
  readOn(stream: string, after?: Cursor, options?: Row, own?: Source): Promise<Read>;
  /** The parts of a plan. */
  rowsOf(source: Source, stream: string, plan: Plan): Promise<Pick<Read, "rows" | "rejected">>;
}

/** `options`: those that each source has. */
export async function openReader(definition: SourceDefinition, options: () => Row): Promise<SourceReader> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-source-"));
  const engine = await openEngine({ spillFolder: join(folder, "spill"), allowed: [folder], memoryLimit: "400MB" });
  const reader: SourceReader = {
    async open(more = {}) {
      const { source: _source, ...own } = options();
      const context = { connection: "aws", folder, engine, scratch: join(folder, crypto.randomUUID()) };
      return (await definition.load()).open(definition.options.parse({ ...own, ...more }), context);
    },
    async rowsOf(source, stream, plan) {
      const [rows, rejected]: [Row[], RejectedRecord[]] = [[], []];
      for (const part of plan.parts) {
        const payload = await source.read(JSON.parse(JSON.stringify(part)), { stream }, {});
        if (payload.form !== "bytes") throw new Error("bytes are expected");
        for await (const chunk of payload.chunks) {
          const lines = Buffer.from(chunk).toString().trimEnd().split("\n");
          rows.push(...lines.map((line) => JSON.parse(line) as Row));
        }
        rejected.push(...payload.rejected!());
      }
      return { rows, rejected };
    },
    async readOn(stream, after, more = {}, own) {
      const source = own ?? (await reader.open(more));
      try {
        const plan = await source.plan(
          { stream },
          after === undefined ? {} : { after: JSON.parse(JSON.stringify(after)) as Cursor },
        );
        return { ...(await reader.rowsOf(source, stream, plan)), plan, cursor: plan.cursor! };
      } finally {
        if (own === undefined) await source[Symbol.asyncDispose]();
      }
    },
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return reader;
}
