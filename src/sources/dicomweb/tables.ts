import { isMillraceError, throwIfAborted, type Payload } from "../../core/index.ts";
import type { Match, Shown } from "./attributes.ts";
import {
  instanceOf,
  searchInstances,
  searchSeries,
  searchStudies,
  seriesOf,
  studyOf,
  type Searching,
} from "./chosen.ts";
import type { Group, PartSpec } from "./plan.ts";
import { MatchRows } from "./rows.ts";

/** As much text as is worth sending. */
const chunkCharacters = 256 * 1024;

/** The rows of a part of `studies`, `series` or `instances`, as the server gives them now. */
export function tablePayload(
  searching: Searching,
  spec: PartSpec,
  all: readonly Shown[],
  signal: AbortSignal | undefined,
): Payload {
  const names = new Set(spec.columns.map(({ name }) => name));
  const shown = all.filter(({ column }) => names.has(column.name));
  const rows = new MatchRows(shown);
  async function* lines(): AsyncGenerator<string, void, undefined> {
    throwIfAborted(signal);
    switch (spec.stream) {
      case "studies":
        for await (const match of searchStudies(searching, true, signal))
          yield rows.line(match, `study ${studyOf(match)}`);
        return;
      case "series":
        for (const study of spec.studies ?? []) {
          for await (const match of searchSeries(searching, study, signal)) {
            yield rows.line(withStudy(match, study), `series ${seriesOf(match)}`);
          }
        }
        return;
      default:
        for (const [study, groups] of Map.groupBy(spec.groups ?? [], (group) => group.study)) {
          yield* ofStudy(study, groups);
        }
    }
  }
  async function* ofStudy(study: string, groups: readonly Group[]): AsyncGenerator<string, void, undefined> {
    const missing = new Map(groups.map(({ series, instances }) => [series, new Set(instances)]));
    let left = groups.reduce((sum, { instances }) => sum + instances.length, 0);
    for await (const match of searchInstances(searching, study, undefined, signal)) {
      const [series, instance] = [seriesOf(match), instanceOf(match)];
      if (!missing.get(series)?.delete(instance)) continue;
      yield rows.line(withStudy(match, study), `instance ${instance}`);
      if (--left === 0) return;
    }
    for (const [series, instances] of missing) {
      for (const instance of instances) {
        rows.reject("it was removed from the server after it was listed", `instance ${instance}`, { study, series });
      }
    }
  }
  return {
    form: "bytes",
    format: "ndjson",
    columns: [...spec.columns],
    chunks: encoded(lines(), spec.stream),
    rows: () => rows.rows,
    rejected: () => rows.rejected,
  };
}

/** What a search below a study is of need not be said again by the server. */
function withStudy(match: Match, study: string): Match {
  return Object.hasOwn(match, "0020000D") ? match : { ...match, "0020000D": { vr: "UI", Value: [study] } };
}

async function* encoded(lines: AsyncIterable<string>, stream: string): AsyncGenerator<Uint8Array, void, undefined> {
  let text = "";
  try {
    for await (const line of lines) {
      text += line;
      if (text.length < chunkCharacters) continue;
      yield Buffer.from(text);
      text = "";
    }
  } catch (error) {
    throw isMillraceError(error) ? error.at({ stream }) : error;
  }
  if (text !== "") yield Buffer.from(text);
}
