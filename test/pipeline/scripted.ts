import * as z from "zod";
import {
  defineSource,
  type Column,
  type Cursor,
  type Part,
  type Payload,
  type Plan,
  type Registry,
} from "../../src/core/index.ts";
import { registry as real } from "../../src/registry.ts";

/** A source whose parts are lines of CSV; a test may change it between runs and look at what was read. */
export interface Script {
  columns: Column[];
  /** Lines by part. */
  parts: Record<string, string[]>;
  /** Where the stream stands; a plan after it is empty. */
  cursor?: Cursor;
  /** What the plan says of deletions. */
  marks?: Pick<Plan, "deleted" | "order" | "emptied" | "warnings">;
  reads: string[];
  /** Called once per read, before any line. */
  onRead?: (part: Part, signal: AbortSignal | undefined) => void | Promise<void>;
  /** Called after the first line of a part. */
  during?: (part: Part, signal: AbortSignal | undefined) => void | Promise<void>;
  onPlan?: () => void;
}

export function registryOf(script: Script): Registry {
  const definition = defineSource({
    name: "scripted",
    title: "Scripted",
    summary: "For tests.",
    options: z.strictObject({}),
    needs: [],
    capabilities: {
      discover: false,
      incremental: true,
      query: false,
      replayable: true,
      snapshot: false,
      deletes: false,
      measure: false,
    },
    examples: [],
    load: async () => ({
      open: async () => ({
        check: async () => undefined,
        async *streams() {
          yield { name: "s", columns: script.columns, key: [], cursors: [] };
        },
        async plan(_request, { after }) {
          script.onPlan?.();
          const cursor = script.cursor ?? { at: "end" };
          const isNew = JSON.stringify(after) !== JSON.stringify(cursor);
          const parts = isNew ? Object.keys(script.parts).map((id) => ({ id, spec: {} })) : [];
          return { columns: script.columns, key: [], parts, cursor, ...script.marks };
        },
        async read(part, _request, { signal }): Promise<Payload> {
          script.reads.push(part.id);
          await script.onRead?.(part, signal);
          const lines = script.parts[part.id]!;
          return {
            form: "bytes",
            format: "csv",
            columns: script.columns,
            rows: () => lines.length,
            chunks: (async function* () {
              for (const [index, line] of lines.entries()) {
                yield Buffer.from(`${line}\n`);
                if (index === 0) await script.during?.(part, signal);
              }
            })(),
          };
        },
        [Symbol.asyncDispose]: async () => undefined,
      }),
    }),
  });
  const entry = { title: "Scripted", summary: "For tests.", load: async () => definition as never };
  return { ...real, sources: { ...real.sources, scripted: entry } };
}

/** What `place.open` takes for flows with `from: { connection: "s", stream: "s" }`. */
export const scripted = (script: Script): { connections: unknown; registry: Registry } => ({
  connections: { s: { source: "scripted" } },
  registry: registryOf(script),
});
