import { MillraceError } from "../../core/index.ts";
import { attributeOf, levelOf, type Attribute, type Level, type Match } from "./attributes.ts";
import { textOf } from "./rows.ts";
import { search, type SearchRequest } from "./search.ts";
import { segment, type Service } from "./service.ts";

export type Query = Readonly<Record<string, string | number | readonly string[]>>;
type Parameters = [string, string][];

/** What of a service is meant: the attributes that studies must have, and those that what is in them must have. */
export interface Chosen {
  studies: Parameters;
  inside: Parameters;
}

const tag = { study: "0020000D", series: "0020000E", instance: "00080018", patient: "00100020", count: "00201208" };

/** Throws `config` for what is no attribute, and for a value that is none. */
export function chosenOf(query: Query): Chosen {
  const chosen: Chosen = { studies: [], inside: [] };
  for (const [name, value] of Object.entries(query)) {
    const attribute = attributeOf(name, "query");
    const texts = (Array.isArray(value) ? value : [value]).map(String);
    if (texts.some((text) => text.trim() === "")) {
      throw new MillraceError("config", `\`query.${name}\` is empty`, {
        hint: "leave it out to read all, or name a value; `*` and `?` stand for any characters",
      });
    }
    const parameters = levelOf(attribute) === "studies" ? chosen.studies : chosen.inside;
    // Several UIDs stand in one list (PS3.4, C.2.2.2.2).
    parameters.push([attribute.name, texts.join(attribute.vr === "UI" ? "," : "\\")]);
  }
  return chosen;
}

/** The UID of a match. Throws `parse` where the server gave none. */
function uidOf(match: Match, at: string, what: string): string {
  const uid = textOf(match, at)?.replace(/[\0 ]+$/, "");
  if (uid !== undefined && uid !== "") return uid;
  throw new MillraceError("parse", `the server lists a match without ${what}`, {
    hint: "the server does not answer as QIDO-RS does (PS3.18, section 10.6)",
  });
}

export const studyOf = (match: Match): string => uidOf(match, tag.study, "StudyInstanceUID");
export const seriesOf = (match: Match): string => uidOf(match, tag.series, "SeriesInstanceUID");
export const instanceOf = (match: Match): string => uidOf(match, tag.instance, "SOPInstanceUID");

const identities: Record<Level, (match: Match) => string> = {
  // Of two patients with a study of the same UID, which must not be, both are shown.
  studies: (match) => `${studyOf(match)} ${textOf(match, tag.patient) ?? ""}`,
  series: (match) => `${seriesOf(match)} ${textOf(match, tag.patient) ?? ""}`,
  instances: (match) => `${seriesOf(match)} ${instanceOf(match)}`,
};

export interface Searching {
  service: Service;
  pageSize: number;
  /** What the answers shall hold besides what they always do. */
  include: readonly Attribute[];
  chosen: Chosen;
}

function request(searching: Searching, level: Level, path: string, parameters: Parameters): SearchRequest {
  const include = searching.include.map(({ tag }): [string, string] => ["includefield", tag]);
  return {
    path,
    parameters: [...parameters, ...include],
    pageSize: searching.pageSize,
    identify: identities[level],
  };
}

/** The studies that are meant. For the table of studies, what is in them is left to the server to compare. */
export function searchStudies(searching: Searching, all: boolean, signal?: AbortSignal) {
  const { studies, inside } = searching.chosen;
  return search(
    searching.service,
    request(searching, "studies", "/studies", all ? [...studies, ...inside] : studies),
    signal,
  );
}

export function searchSeries(searching: Searching, study: string, signal?: AbortSignal) {
  const path = `/studies/${segment(study)}/series`;
  return search(searching.service, request(searching, "series", path, searching.chosen.inside), signal);
}

/** The instances of a study that are meant. `expected`: how many the server said there are in all. */
export function searchInstances(
  searching: Searching,
  study: string,
  expected: number | undefined,
  signal?: AbortSignal,
) {
  const { inside } = searching.chosen;
  const path = `/studies/${segment(study)}/instances`;
  return search(
    searching.service,
    {
      ...request(searching, "instances", path, inside),
      ...(expected === undefined || inside.length > 0 ? {} : { expected }),
    },
    signal,
  );
}

/** How many instances the server says a study has. */
export function countOf(study: Match): number | undefined {
  const count = Number(textOf(study, tag.count) ?? Number.NaN);
  return Number.isSafeInteger(count) && count > 0 ? count : undefined;
}
