import type { RejectedRecord } from "../../core/index.ts";
import { keywordOf, hexOf } from "../../formats/dicom/dictionary.ts";
import { typeOfVr, type Match, type Shown } from "./attributes.ts";

/** An attribute in the DICOM JSON model. What servers answer is looked at with tolerance: other members are passed over. */
interface JsonAttribute {
  vr?: unknown;
  Value?: unknown;
}

/** The values of an attribute; none when it is absent or empty. */
export function valuesOf(match: Match, tag: string): unknown[] {
  const attribute = (Object.hasOwn(match, tag) ? match[tag] : undefined) as JsonAttribute | null | undefined;
  const value = attribute?.Value;
  return Array.isArray(value) ? value : [];
}

/** The first value as text, as UIDs and identities are; undefined when there is none. */
export function textOf(match: Match, tag: string): string | undefined {
  const [value] = valuesOf(match, tag);
  return value === undefined || value === null ? undefined : plain(value);
}

/** As DICOM writes it: of names the alphabetic, ideographic and phonetic form. */
function plain(value: unknown): string {
  if (typeof value === "object" && value !== null) {
    const { Alphabetic, Ideographic, Phonetic } = value as Record<string, unknown>;
    const groups = [Alphabetic, Ideographic, Phonetic].map((each) => (typeof each === "string" ? each : ""));
    if (groups.some((each) => each !== "")) return groups.join("=").replace(/=+$/, "");
    return Object.keys(value).length === 0 ? "" : JSON.stringify(value, exact);
  }
  return String(value as string | number | boolean | bigint);
}

const exact = (_key: string, value: unknown): unknown => (typeof value === "bigint" ? String(value) : value);

/** `20240131` → `2024-01-31`; also with dots, as before 1993. */
function dateOf(text: string): string | null {
  const [, year, month, day] = /^(\d{4})\.?(\d\d)\.?(\d\d)$/.exec(text.trim()) ?? [];
  if (year === undefined) return null;
  const date = new Date(`${year}-${month}-${day}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(`${year}-${month}-${day}`)
    ? `${year}-${month}-${day}`
    : null;
}

/** `115747.5` → `11:57:47.5`; minutes and seconds may be left out, and colons are those of old. */
function timeOf(text: string): string | null {
  const [, hour, minute = "00", second = "00", fraction = ""] =
    /^([01]\d|2[0-3]):?(?:([0-5]\d):?(?:([0-5]\d|60)(\.\d{1,6})?)?)?$/.exec(text.trim()) ?? [];
  // A leap second has no time of day of its own.
  return hour === undefined ? null : `${hour}:${minute}:${second === "60" ? "59" : second}${fraction}`;
}

class Misfit extends Error {}

function scalarOf(type: string, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  const text = plain(value);
  switch (type) {
    case "date":
      return dateOf(text);
    case "time":
      return timeOf(text);
    case "long":
    case "double": {
      if (text.trim() === "") return null;
      const number = Number(text);
      if (Number.isFinite(number) && (type === "double" || Number.isSafeInteger(number))) return number;
      throw new Misfit(`\`${text.slice(0, 80)}\` is not a ${type}`);
    }
    default:
      return text.toWellFormed();
  }
}

function cellOf({ column, attribute }: Shown, match: Match): unknown {
  if (attribute === undefined) return JSON.stringify(tagsOf(match));
  const values = valuesOf(match, attribute.tag);
  if (values.length === 0) return null;
  if (typeof column.type === "object" && column.type.type === "list") {
    const element = column.type.element as string;
    return values.map((value) => scalarOf(element, value));
  }
  const type = column.type as string;
  if (values.length === 1) return scalarOf(type, values[0]);
  if (type === "string") return values.map((value) => scalarOf(type, value)).join("\\");
  throw new Misfit(`it has ${values.length} values`);
}

/** All attributes by name; a sequence is an array of such objects. */
function tagsOf(match: Match): Record<string, unknown> {
  const tags: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [tag, attribute] of Object.entries(match)) {
    if (!/^[0-9a-fA-F]{8}$/.test(tag)) continue;
    const { vr } = (attribute ?? {}) as JsonAttribute;
    const values = valuesOf(match, tag).map((value) =>
      vr === "SQ" && typeof value === "object" && value !== null ? tagsOf(value as Match) : shownValue(value, vr),
    );
    const number = Number.parseInt(tag, 16);
    const name = keywordOf(number) ?? `(${hexOf(number).slice(0, 4)},${hexOf(number).slice(4)})`;
    tags[name] = vr === "SQ" ? values : values.length > 1 ? values : (values[0] ?? null);
  }
  return tags;
}

function shownValue(value: unknown, vr: unknown): unknown {
  if (value === null || value === undefined) return null;
  const type = typeof vr === "string" ? typeOfVr(vr) : "string";
  if ((type === "long" || type === "double") && typeof value === "number") return value;
  return plain(value).toWellFormed();
}

/** Matches as lines of JSON with the columns wanted. What does not fit its column is set aside. */
export class MatchRows {
  rows = 0;
  readonly rejected: RejectedRecord[] = [];
  readonly #shown: readonly Shown[];

  constructor(shown: readonly Shown[]) {
    this.#shown = shown;
  }

  reject(reason: string, origin: string, record: unknown): void {
    this.rows++;
    this.rejected.push({ reason, origin, record: JSON.stringify(record, exact) });
  }

  /** One line, or nothing for a match that was rejected. `origin`: what finds it again. */
  line(match: Match, origin: string): string {
    const row: Record<string, unknown> = {};
    for (const each of this.#shown) {
      try {
        row[each.column.name] = cellOf(each, match);
      } catch (error) {
        if (!(error instanceof Misfit)) throw error;
        this.reject(`\`${each.column.name}\`: ${error.message}`, origin, tagsOf(match));
        return "";
      }
    }
    this.rows++;
    return `${JSON.stringify(row)}\n`;
  }
}
