import { forEachLimited, type Column, type Part } from "../../core/index.ts";
import {
  countOf,
  instanceOf,
  searchInstances,
  searchStudies,
  seriesOf,
  studyOf,
  type Chosen,
  type Searching,
} from "./chosen.ts";
import type { Attribute, Level } from "./attributes.ts";
import type { Position } from "./position.ts";
import { textOf } from "./rows.ts";

/** Instances of one series that are to be read. */
export interface Group {
  study: string;
  series: string;
  instances: string[];
  /** They are all that the server has of the series. */
  whole: boolean;
}

export interface PartSpec {
  stream: Level | "scans";
  columns: Column[];
  chosen: Chosen;
  /** The studies whose series are read. */
  studies?: string[];
  groups?: Group[];
}

/** Studies that are looked into at once. */
const looks = 4;
/** Instances of a part of their table, and studies of a part of the table of series. */
export const rowsOfPart = 5_000;
const studiesOfPart = 1_000;

/** What of the service was not read yet, by study and series in the order of the server; marks it in the position. */
export async function newGroups(
  searching: Searching,
  position: Position,
  changedBy: Attribute | undefined,
  signal: AbortSignal | undefined,
): Promise<Group[]> {
  const studies = new Map<string, number | undefined>();
  for await (const match of searchStudies(searching, false, signal)) {
    // What is listed twice is counted by none of the two.
    const uid = studyOf(match);
    studies.set(uid, studies.has(uid) ? undefined : countOf(match));
  }
  const found: Map<string, Group & { total: number }>[] = [];
  await forEachLimited([...studies], looks, async ([study, expected], index) => {
    const groups = new Map<string, Group & { total: number }>();
    found[index] = groups;
    for await (const match of searchInstances(searching, study, expected, signal)) {
      const [series, instance] = [seriesOf(match), instanceOf(match)];
      const group = groups.get(series) ?? { study, series, instances: [], whole: false, total: 0 };
      groups.set(series, group);
      group.total++;
      const mark = changedBy === undefined ? [] : [textOf(match, changedBy.tag) ?? ""];
      if (position.add(study, series, instance, ...mark)) group.instances.push(instance);
    }
  });
  const hasFilter = searching.chosen.inside.length > 0;
  return found.flatMap((groups) =>
    [...groups.values()]
      .filter(({ instances }) => instances.length > 0)
      .map(({ total, ...group }) => ({ ...group, whole: !hasFilter && group.instances.length === total })),
  );
}

/** Groups together until they have about `most` instances. */
export function partsOfGroups(
  groups: readonly Group[],
  most: number,
  spec: Omit<PartSpec, "groups">,
): Omit<Part, "id">[] {
  const parts: Omit<Part, "id">[] = [];
  let taken: Group[] = [];
  let rows = 0;
  const close = (): void => {
    if (taken.length === 0) return;
    const full: PartSpec = { ...spec, groups: taken };
    parts.push({ spec: full as unknown as Part["spec"], ...(spec.stream === "instances" ? { rows } : {}) });
    taken = [];
    rows = 0;
  };
  for (const group of groups) {
    if (rows + group.instances.length > most) close();
    taken.push(group);
    rows += group.instances.length;
  }
  close();
  return parts;
}

/** Parts of a table that is read whole: of studies one, whose pages are read as they come; of series by their studies. */
export async function tableParts(
  searching: Searching,
  spec: PartSpec,
  signal: AbortSignal | undefined,
): Promise<Omit<Part, "id">[]> {
  const part = (more: Partial<PartSpec>): Omit<Part, "id"> => ({
    spec: { ...spec, ...more } as unknown as Part["spec"],
  });
  if (spec.stream === "studies") return [part({})];
  const studies = new Set<string>();
  for await (const match of searchStudies(searching, false, signal)) studies.add(studyOf(match));
  const all = [...studies];
  return Array.from({ length: Math.ceil(all.length / studiesOfPart) }, (_, index) =>
    part({ studies: all.slice(index * studiesOfPart, (index + 1) * studiesOfPart) }),
  );
}
