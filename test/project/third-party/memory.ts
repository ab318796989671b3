import { defineSource, MillraceError, sqlName, type Column, type Source } from "millrace";
import * as z from "zod";

/** The streams of a small system that somebody else made: lines of JSON by name. */
export const streams = new Map<string, { id: number; text: string }[]>();

const columns: Column[] = [
  { name: "id", type: "long" },
  { name: "text", type: "string" },
];

function stopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new MillraceError("aborted", "stopped by the caller");
}

async function open(): Promise<Source> {
  const rowsOf = (name: string | undefined): { id: number; text: string }[] => {
    const rows = streams.get(name ?? "");
    if (rows !== undefined) return rows;
    throw new MillraceError("not-found", `there is no stream ${sqlName(name ?? "")}`, { hint: "millrace discover" });
  };
  return {
    async check(signal) {
      stopped(signal);
    },
    async *streams(signal) {
      stopped(signal);
      for (const name of streams.keys()) yield { name, columns, key: ["id"], cursors: ["id"] };
    },
    async plan(request, { after, signal }) {
      stopped(signal);
      if (request.query !== undefined) throw new MillraceError("unsupported", "there is no query language");
      for (const name of request.columns ?? []) {
        if (columns.some((column) => column.name === name)) continue;
        throw new MillraceError("not-found", `there is no column \`${name}\``, { hint: "there is `id`, `text`" });
      }
      const from = Number(after?.["rows"] ?? 0);
      const to = rowsOf(request.stream).length;
      return {
        columns: columns.filter(({ name }) => request.columns?.includes(name) ?? true),
        key: [],
        parts: to > from ? [{ id: `${from}-${to}`, spec: { from, to } }] : [],
        cursor: { rows: to },
      };
    },
    async read(part, request, { signal }) {
      stopped(signal);
      const { from, to } = part.spec as { from: number; to: number };
      const names = request.columns ?? columns.map(({ name }) => name);
      const lines = rowsOf(request.stream).slice(from, to);
      return {
        form: "bytes",
        format: "ndjson",
        columns: columns.filter(({ name }) => names.includes(name)),
        rows: () => lines.length,
        chunks: (async function* () {
          for (let start = 0; start < lines.length; start += 1000) {
            stopped(signal);
            yield Buffer.from(
              lines
                .slice(start, start + 1000)
                .map((line) => `${JSON.stringify(line, names)}\n`)
                .join(""),
            );
          }
        })(),
      };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

export const memory = defineSource({
  name: "memory",
  title: "Memory",
  summary: "Rows that this process holds.",
  options: z.strictObject({}),
  needs: [],
  capabilities: {
    discover: true,
    incremental: true,
    query: false,
    replayable: true,
    snapshot: false,
    deletes: false,
    measure: false,
  },
  examples: [],
  load: async () => ({ open }),
});
