import { messageOf } from "../core/index.ts";
import { ageSeconds } from "./answer.ts";
import type { Lookup } from "./lookup.ts";
import type { Transformer } from "./transform.ts";

/** A lookup that is served, and when it was last seen to be the newest. */
export interface Live {
  lookup: Lookup;
  /** Milliseconds since the epoch. */
  checked: number;
  /** Why it could not be looked whether there is a newer version, or not be taken in. */
  problem?: string;
  /** The transform of its dataset, as of the version of the index; opened when it is first asked for. */
  transformer?: { of: number | undefined; opened: Promise<Transformer> };
}

export interface RefreshReport {
  name: string;
  /** The version that answers now. */
  version: number | undefined;
  problem?: string;
}

/** Takes in newer versions of all, one after the other, so that one at a time needs memory twice. Never throws. */
export async function refreshAll(
  lives: ReadonlyMap<string, Live>,
  report: ((report: RefreshReport) => void) | undefined,
  signal: AbortSignal,
): Promise<void> {
  for (const [name, live] of lives) {
    if (signal.aborted) return;
    try {
      const changed = await live.lookup.refresh(signal);
      live.checked = Date.now();
      const recovered = live.problem !== undefined;
      delete live.problem;
      if (changed || recovered) report?.({ name, version: live.lookup.index?.version });
    } catch (error) {
      const problem = messageOf(error);
      // Told once, not each time it is tried.
      if (live.problem !== problem) report?.({ name, version: live.lookup.index?.version, problem });
      live.problem = problem;
    }
  }
}

/** What `/v1/health` says of one lookup. */
export function healthOf({ lookup, checked, problem }: Live, now: number): Record<string, unknown> {
  const { index } = lookup;
  return {
    ...(index === undefined
      ? { published_copy: true }
      : {
          dataset: index.dataset,
          version: index.version,
          published: new Date(index.published).toISOString(),
          age_seconds: ageSeconds(index.published, now),
          rows: index.rows,
        }),
    checked: new Date(checked).toISOString(),
    ...(problem === undefined ? {} : { problem }),
  };
}

/** What `/v1/lookup/<name>` says when no key is asked for. */
export function describe(live: Live, now: number): Record<string, unknown> {
  const { index } = live.lookup;
  return {
    lookup: live.lookup.name,
    ...healthOf(live, now),
    key: live.lookup.key ?? null,
    ...(index === undefined
      ? {}
      : {
          columns: index.columns.map(({ name, type }) => ({ name, type })),
          record: {
            fixed_bytes: index.layout.fixedBytes,
            slots: index.layout.columns.map(({ column, type, slot }) => ({ name: column.name, type, ...slot })),
          },
        }),
  };
}
