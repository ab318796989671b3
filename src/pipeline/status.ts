import { messageOf, type Lag } from "../core/index.ts";
import type { LakeHandles } from "./lake.ts";
import { datasetOf, flowCursor, openFlowSource, openIfExists, runRequest } from "./plan.ts";

/** How a flow stands. */
export interface FlowStatus {
  flow: string;
  dataset: string;
  /** Its newest version; absent before the first run. */
  version?: number;
  rows?: number;
  /** When that was made, milliseconds since the epoch. */
  committed?: number;
  /** Rows and versions of the last hour, by the clock of the store. */
  lastHour?: { rows: number; versions: number };
  /** What the source holds that no version has. Absent where the source cannot tell. */
  lag?: Lag;
  /** Why the source could not be asked. */
  problem?: string;
}

const hourMs = 3_600_000;

/** Flows of the configuration, each with its newest version and what waits for it. Throws nothing that one source says: it stands in `problem`. */
export async function statusOf(
  lake: LakeHandles,
  { flows, signal }: { flows?: readonly string[]; signal?: AbortSignal } = {},
): Promise<FlowStatus[]> {
  const found: FlowStatus[] = [];
  for (const name of flows ?? Object.keys(lake.config.flows)) {
    const flow = lake.flow(name);
    const dataset = await openIfExists(lake, datasetOf(name, flow));
    const newest = dataset?.current();
    const now = Date.now();
    const recent = (dataset?.versions() ?? []).filter(({ time }) => now - time < hourMs);
    const status: FlowStatus = {
      flow: name,
      dataset: datasetOf(name, flow),
      ...(newest === undefined
        ? {}
        : {
            version: newest.number,
            rows: newest.rows,
            committed: newest.time,
            lastHour: {
              versions: recent.length,
              // Compaction adds no rows: it takes out as many.
              rows: recent.reduce((sum, { summary }) => sum + changeOf(summary), 0),
            },
          }),
    };
    try {
      await using source = await openFlowSource(lake, flow);
      if (source.lag !== undefined) {
        const { position } = flowCursor(dataset, name);
        status.lag = await source.lag(runRequest(lake, name, flow), {
          ...(position === null ? {} : { after: position }),
          ...(signal ? { signal } : {}),
        });
      }
    } catch (error) {
      status.problem = messageOf(error);
    }
    found.push(status);
  }
  return found;
}

function changeOf(summary: Record<string, string>): number {
  const number = (key: string): number => Number(summary[key] ?? 0);
  return summary["operation"] === "replace" ? 0 : number("added-records");
}
