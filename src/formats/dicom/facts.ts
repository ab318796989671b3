import type { Tags, Value } from "./values.ts";
import { nameOfSyntax } from "./syntaxes.ts";

/** What the columns say, from the elements by name. Of several values, the first is meant. */
export class Facts {
  readonly #tags: Tags;

  constructor(tags: Tags) {
    this.#tags = tags;
  }

  #first(name: string): Value {
    const value = this.#tags[name];
    return Array.isArray(value) ? (value[0] ?? null) : (value ?? null);
  }
  text(name: string): string | null {
    const value = this.#first(name);
    return typeof value === "string" ? value : typeof value === "number" ? String(value) : null;
  }
  number(name: string): number | null {
    const value = this.#first(name);
    return typeof value === "number" ? value : null;
  }
  integer(name: string): number | null {
    const value = this.number(name);
    return value !== null && Number.isSafeInteger(value) ? value : null;
  }
  numbers(name: string, length: number): number[] | null {
    const value = this.#tags[name];
    const numbers = Array.isArray(value) ? value.filter((each) => typeof each === "number") : [];
    return numbers.length === length ? numbers : null;
  }
  date(name: string): string | null {
    const match = /^(\d{4})\.?(\d{2})\.?(\d{2})$/.exec(this.text(name) ?? "");
    if (match === null) return null;
    const text = `${match[1]}-${match[2]}-${match[3]}`;
    const date = new Date(`${text}T00:00:00Z`);
    return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text) && text > "0001" ? text : null;
  }

  /** The facts of one frame: those of its functional group (PS3.3, C.7.6.16) before those that all frames share, and those of the file. */
  ofFrame(frame: number): Facts {
    const shared = itemOf(this.#tags, "SharedFunctionalGroupsSequence", 0);
    const own = itemOf(this.#tags, "PerFrameFunctionalGroupsSequence", frame);
    if (shared === undefined && own === undefined) return this;
    return new Facts({ ...this.#tags, ...flat(shared), ...flat(own) });
  }
}

const isTags = (value: Value | Value[] | undefined): value is Tags =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function itemOf(tags: Tags, name: string, index: number): Tags | undefined {
  const items = tags[name];
  const item = Array.isArray(items) ? items[index] : undefined;
  return isTags(item) ? item : undefined;
}

/** Groups that are about the geometry and the values of a frame. */
const groups = [
  "PixelMeasuresSequence",
  "PlanePositionSequence",
  "PlaneOrientationSequence",
  "PixelValueTransformationSequence",
  "FrameVOILUTSequence",
];

function flat(item: Tags | undefined): Tags {
  if (item === undefined) return {};
  return Object.assign({}, ...groups.map((name) => itemOf(item, name, 0) ?? {})) as Tags;
}

/** Kinds of images that often have text in their pixels. */
const written = new Set(["US", "OT", "XC", "ES", "DOC", "SC", "IVUS", "ECG", "XA", "RF", "OP"]);

/** Whether names may be written into the pixels. */
export function burnedIn(facts: Facts): "declared" | "suspected" | "unlikely" | "none" {
  const declared = facts.text("BurnedInAnnotation")?.toUpperCase();
  if (declared === "YES") return "declared";
  if (declared === "NO") return "none";
  // Screenshots and scanned films are secondary captures.
  const isCapture = (facts.text("SOPClassUID") ?? "").startsWith("1.2.840.10008.5.1.4.1.1.7");
  return isCapture || written.has(facts.text("Modality") ?? "OT") ? "suspected" : "unlikely";
}

export const spacingOf = (facts: Facts): number[] | null =>
  facts.numbers("PixelSpacing", 2) ??
  facts.numbers("ImagerPixelSpacing", 2) ??
  facts.numbers("NominalScannedPixelSpacing", 2);

/** The columns up to `deidentified`, but for what the pixels say. */
export function factColumns(facts: Facts, syntax: string, pixels: readonly unknown[]): unknown[] {
  const lossy = facts.text("LossyImageCompression");
  return [
    facts.text("SOPClassUID"),
    facts.text("SOPInstanceUID"),
    facts.text("SeriesInstanceUID"),
    facts.text("StudyInstanceUID"),
    facts.text("PatientID"),
    facts.text("Modality"),
    facts.text("BodyPartExamined"),
    facts.text("Manufacturer"),
    facts.integer("SeriesNumber"),
    facts.integer("InstanceNumber"),
    facts.date("StudyDate"),
    ...pixels,
    spacingOf(facts),
    facts.number("SliceThickness"),
    facts.numbers("ImagePositionPatient", 3),
    facts.numbers("ImageOrientationPatient", 6),
    facts.number("RescaleSlope"),
    facts.number("RescaleIntercept"),
    facts.number("WindowCenter"),
    facts.number("WindowWidth"),
    syntax === "" ? null : nameOfSyntax(syntax),
    lossy === "01" ? true : lossy === "00" ? false : null,
  ];
}
