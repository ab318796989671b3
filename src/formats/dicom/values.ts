import { hexOf, isPrivate, keywordOf } from "./dictionary.ts";
import type { DataSet, Element, Elements } from "./read.ts";
import { decodeText } from "./text.ts";

/** What an element holds, as JSON has it; numbers are numbers, `bytes` stands for what is not shown. */
export type Value = string | number | null | Tags | { bytes: number };
export type Tags = { [name: string]: Value | Value[] };

/** Longer values stay in the file: they are data, not facts. */
const maximumValues = 4_096;
const maximumText = 65_536;

/** Text in the character set of the data set; the others are ASCII. */
const localized = new Set(["SH", "LO", "UC", "ST", "LT", "UT", "PN"]);
/** Text of one value: a backslash is one. */
const whole = new Set(["ST", "LT", "UT", "UR"]);

const widths: Record<string, number> = { US: 2, SS: 2, UL: 4, SL: 4, FL: 4, FD: 8, AT: 4, SV: 8, UV: 8 };

/** The name of an element: its keyword, or its tag as `(gggg,eeee)`. */
export function nameOf(tag: number): string {
  const hex = hexOf(tag);
  return keywordOf(tag) ?? `(${hex.slice(0, 4)},${hex.slice(4)})`;
}

/** The character sets of a data set or an item. */
export function charsetsOf(data: DataSet, elements: Elements, outer: readonly string[] = []): readonly string[] {
  const element = elements.get(0x00080005);
  if (element === undefined) return outer;
  return data.bytes
    .toString("latin1", element.start, element.end)
    .split("\\")
    .map((each) => each.replace(/[\0 ]+$/, "").trim());
}

/** The text of an element as it is, padding removed. */
export function rawText(data: DataSet, element: Element, charsets: readonly string[]): string {
  const bytes = data.bytes.subarray(element.start, element.end);
  const text = localized.has(element.vr) ? decodeText(bytes, charsets) : bytes.toString("latin1");
  const cut = text.replace(/[\0 ]+$/, "");
  return whole.has(element.vr) ? cut : cut.trimStart();
}

/** The values of an element that is no sequence; undefined when it holds data instead of facts. */
export function valuesOf(
  data: DataSet,
  element: Element,
  charsets: readonly string[],
): (string | number | null)[] | undefined {
  const { vr, start, end } = element;
  const width = widths[vr];
  if (width !== undefined) return numbersOf(data.bytes, element, width);
  if (vr.startsWith("O") || vr === "UN" || vr === "SQ" || !/^[A-Z]{2}$/.test(vr)) return undefined;
  if (end - start > maximumText) return undefined;
  const text = rawText(data, element, charsets);
  if (text === "") return [];
  const parts = whole.has(vr) ? [text] : text.split("\\").map((each) => each.trim());
  // Groups of a name that are empty at its end are left out or not, as the writer likes.
  if (vr === "PN") return parts.map((part) => part.replace(/=+$/, ""));
  if (vr !== "DS" && vr !== "IS") return parts.map((part) => (part === "" ? null : part));
  return parts.map((part) => {
    const number = Number(part);
    return part === "" ? null : Number.isFinite(number) ? number : part;
  });
}

function numbersOf(bytes: Buffer, { vr, start, end, little }: Element, width: number): (string | number)[] | undefined {
  const count = Math.floor((end - start) / width);
  if (count > maximumValues) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, count * width);
  return Array.from({ length: count }, (_, index) => {
    const at = index * width;
    switch (vr) {
      case "US":
        return view.getUint16(at, little);
      case "SS":
        return view.getInt16(at, little);
      case "UL":
        return view.getUint32(at, little);
      case "SL":
        return view.getInt32(at, little);
      case "FL":
        return finite(view.getFloat32(at, little));
      case "FD":
        return finite(view.getFloat64(at, little));
      case "SV":
        return String(view.getBigInt64(at, little));
      case "UV":
        return String(view.getBigUint64(at, little));
      default:
        return hexOf(view.getUint16(at, little) * 0x10000 + view.getUint16(at + 2, little));
    }
  });
}

/** JSON has no other numbers. */
const finite = (value: number): number | string => (Number.isFinite(value) ? value : String(value));

/** Says what is shown of an element that is no sequence (`read` gives its values), or of a sequence; undefined for nothing. */
export interface Policy {
  value(element: Element, read: () => Value | Value[]): Value | Value[] | undefined;
  keepsItems(element: Element): boolean;
}

/** Shows everything; private elements only on request. */
export const plainPolicy = (withPrivate: boolean): Policy => ({
  value: ({ tag }, read) => (isPrivate(tag) && !withPrivate ? undefined : read()),
  keepsItems: ({ tag }) => withPrivate || !isPrivate(tag),
});

/**
 * The elements by name: one value as it is, several as an array, none as null, a sequence as an array of objects, data as
 * `{"bytes": length}`.
 */
export function tagsOf(data: DataSet, elements: Elements, policy: Policy, outer: readonly string[] = []): Tags {
  const charsets = charsetsOf(data, elements, outer);
  const tags: Tags = {};
  for (const element of elements.values()) {
    // Lengths of groups are about the file, not about what it says.
    if ((element.tag & 0xffff) === 0) continue;
    if (element.items !== undefined) {
      if (!policy.keepsItems(element)) continue;
      tags[nameOf(element.tag)] = element.items.map((item) => tagsOf(data, item, policy, charsets));
      continue;
    }
    const value = policy.value(element, () => valueOf(data, element, charsets));
    if (value !== undefined) tags[nameOf(element.tag)] = value;
  }
  return tags;
}

function valueOf(data: DataSet, element: Element, charsets: readonly string[]): Value | Value[] {
  const values = valuesOf(data, element, charsets);
  if (values === undefined) return { bytes: element.end - element.start };
  if (values.length === 0) return null;
  return values.length === 1 ? values[0]! : values;
}
