import { mkdirSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { defineSource, type MillraceError, type Column, type Registry, type Source } from "../../src/core/index.ts";
import { openLake, type Flow, type Lake } from "../../src/pipeline/index.ts";
import { flowSchema } from "../../src/pipeline/flow.ts";
import { registry } from "../../src/registry.ts";

/** What the source of a test does next. */
export interface Counter {
  /** Records that there are by now. */
  end: number;
  /** Records of one plan at most. */
  atOnce: number;
  /** Thrown by the next plan, and gone then. */
  failure?: MillraceError;
  /** Wakes who waits. */
  news: () => void;
  opened: number;
  plans: number;
}

export const counter = (): Counter => ({ end: 0, atOnce: Infinity, news: () => undefined, opened: 0, plans: 0 });

const columns: Column[] = [
  { name: "id", type: "long" },
  { name: "text", type: "string" },
];

/** A lake with a source `counter` that gives the numbers below `end`, like a topic with one partition. */
export async function counterLake(folder: string, state: Counter, flow: Partial<Flow> = {}): Promise<Lake> {
  const definition = defineSource({
    name: "counter",
    title: "Counter",
    summary: "Numbers.",
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
    load: async () => ({ open: async () => source(state) }),
  });
  const withCounter: Registry = {
    ...registry,
    sources: { ...registry.sources, counter: { title: "", summary: "", load: async () => definition } },
  };
  mkdirSync(folder, { recursive: true });
  return openLake(
    {
      folder,
      store: { store: "fs", path: join(folder, "lake") },
      connections: { numbers: { kind: "source", type: "counter", options: {} } },
      flows: { events: flowSchema.parse({ from: { connection: "numbers", stream: "all" }, ...flow }) },
    },
    withCounter,
  );
}

function source(state: Counter): Source {
  state.opened++;
  const positionOf = (after: { [key: string]: unknown } | undefined): number => Number(after?.["next"] ?? 0);
  return {
    check: async () => undefined,
    async *streams() {
      yield { name: "all", columns, key: [], cursors: [] };
    },
    async plan(_request, { after }) {
      state.plans++;
      const { failure } = state;
      if (failure !== undefined) {
        delete state.failure;
        throw failure;
      }
      const from = positionOf(after);
      const to = Math.min(state.end, from + state.atOnce);
      const parts = to > from ? [{ id: "numbers", spec: { from, to } }] : [];
      return { columns, key: [], parts, cursor: { next: to }, ...(to < state.end ? { more: true } : {}) };
    },
    async read({ spec }) {
      const { from, to } = spec as { from: number; to: number };
      async function* chunks(): AsyncGenerator<Uint8Array> {
        const lines = Array.from(
          { length: to - from },
          (_, index) => `{"id":${from + index},"text":"record ${from + index}"}\n`,
        );
        yield Buffer.from(lines.join(""));
      }
      return { form: "bytes", format: "ndjson", columns, chunks: chunks(), rows: () => to - from };
    },
    async wait(_request, { after, milliseconds, signal }) {
      if (state.end > positionOf(after)) return true;
      return new Promise((resolve) => {
        const timer = setTimeout(() => resolve(false), milliseconds);
        const end = (isNew: boolean): void => {
          clearTimeout(timer);
          resolve(isNew);
        };
        state.news = () => end(true);
        signal?.addEventListener("abort", () => end(false), { once: true });
      });
    },
    lag: async (_request, { after }) => ({ records: state.end - positionOf(after) }),
    [Symbol.asyncDispose]: async () => undefined,
  };
}
