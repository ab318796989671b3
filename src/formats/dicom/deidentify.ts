import { createHmac } from "node:crypto";
import { isPrivate, keywordOf, tagOf } from "./dictionary.ts";
import { ruleOf, type Rule } from "./profile.ts";
import type { DataSet, Element, Elements } from "./read.ts";
import { charsetsOf, rawText, type Policy, type Tags, type Value } from "./values.ts";

export interface Deidentification {
  key: string;
  dates?: "remove" | "shift" | "keep" | undefined;
  clean_descriptors?: boolean | undefined;
  retain_patient?: boolean | undefined;
  retain_device?: boolean | undefined;
  retain_institution?: boolean | undefined;
  retain_uids?: boolean | undefined;
}

const patientName = tagOf("PatientName");
const patientId = tagOf("PatientID");
const studyUid = tagOf("StudyInstanceUID");
const birthDate = tagOf("PatientBirthDate");

/** Identifiers that are given another value instead of none, so that what belongs together stays together. */
const renamed: ReadonlyMap<number, string> = new Map([
  [patientName, "patient"],
  [patientId, "patient"],
  [tagOf("AccessionNumber"), "accession"],
  [tagOf("StudyID"), "study"],
]);

const dated = new Set(["DA", "DT", "TM"]);
const words = new Set(["LO", "SH", "UC", "LT", "ST", "UT"]);
/** Text at length, that anybody may have written anything into. */
const free = new Set(["LT", "ST", "UT", "UC", "UR"]);

/**
 * The Basic Application Level Confidentiality Profile (PS3.15, annex E) over what is shown of one file. Besides what its table names,
 * names of persons, dates, UIDs and free text are treated by how they are represented, and elements that nobody knows are removed.
 */
export class Deidentifier implements Policy {
  readonly #options: Deidentification;
  readonly #data: DataSet;
  readonly #identifiers: readonly RegExp[];
  readonly #patient: string;
  /** Days that dates are moved into the past by. */
  readonly #shift: number;

  constructor(data: DataSet, options: Deidentification) {
    this.#options = options;
    this.#data = data;
    this.#identifiers = this.#collect();
    const text = (tag: number): string => {
      const element = data.elements.get(tag);
      return element === undefined ? "" : rawText(data, element, charsetsOf(data, data.elements)).trim();
    };
    this.#patient = text(patientId) || text(patientName) || text(studyUid);
    this.#shift = 1 + (this.#hash("shift", this.#patient).readUInt32BE(0) % 3650);
  }

  #hash(kind: string, value: string): Buffer {
    return createHmac("sha256", this.#options.key).update(`${kind}:${value}`).digest();
  }

  /** A name that is made from the key and from what it stands for. */
  pseudonym(kind: string, value: string): string {
    return this.#hash(kind, value).toString("hex").slice(0, 16).toUpperCase();
  }

  /** A UUID as PS3.5, B.2 has it, made from the key and the UID that it replaces. */
  uid(value: string): string {
    const bytes = this.#hash("uid", value).subarray(0, 16);
    // RFC 9562: version 8, its variant.
    bytes[6] = (bytes[6]! & 0x0f) | 0x80;
    bytes[8] = (bytes[8]! & 0x3f) | 0x80;
    return `2.25.${BigInt(`0x${bytes.toString("hex")}`)}`;
  }

  /** Elements of the header of the file are about who wrote it. */
  #rule(element: Element): Rule | "unknown" | undefined {
    const { tag, vr } = element;
    if (isPrivate(tag) || keywordOf(tag) === undefined) return "unknown";
    const rule = ruleOf(tag);
    if (rule === undefined) return vr === "UN" ? "unknown" : undefined;
    const { retain_patient: patient, retain_device: device, retain_institution: institution } = this.#options;
    const retained =
      (patient === true && rule.options.includes("p")) ||
      (device === true && rule.options.includes("v")) ||
      (institution === true && rule.options.includes("i"));
    if (retained) return { ...rule, action: "K" };
    const cleaned = this.#options.clean_descriptors === true && rule.options.includes("c");
    return cleaned ? { ...rule, action: "C" } : rule;
  }

  keepsItems(element: Element): boolean {
    const rule = this.#rule(element);
    if (rule === undefined) return true;
    // A sequence of references stays, its UIDs replaced.
    return rule !== "unknown" && (rule.action === "K" || rule.action === "C" || rule.action === "U");
  }

  value(element: Element, read: () => Value | Value[]): Value | Value[] | undefined {
    const { tag, vr } = element;
    const rule = this.#rule(element);
    if (rule === "unknown") return undefined;
    const kind = renamed.get(tag);
    if (kind !== undefined) {
      const text = textOf(read());
      return text === "" ? null : this.pseudonym(kind, kind === "patient" ? this.#patient : text);
    }
    if (vr === "UI" && rule?.action !== "X") return this.#each(read(), (text) => this.#replaceUid(text));
    if (dated.has(vr)) return this.#date(element, rule, read);
    if (rule !== undefined && !"KCU".includes(rule.action))
      return rule.action === "Z" || rule.action === "D" ? null : undefined;
    if (vr === "PN" && rule?.action !== "K") return undefined;
    if (!words.has(vr) && vr !== "UR") return read();
    if (rule === undefined && free.has(vr) && this.#options.clean_descriptors !== true) return undefined;
    return this.#each(read(), (text) => this.#clean(text, rule?.action === "C" || free.has(vr)));
  }

  #each(value: Value | Value[], change: (text: string) => string | null): Value | Value[] {
    if (Array.isArray(value)) return value.map((each) => (typeof each === "string" ? change(each) : each));
    return typeof value === "string" ? change(value) : value;
  }

  /** UIDs that the standard itself gives say nothing of anybody. */
  #replaceUid(text: string): string {
    return this.#options.retain_uids === true || text.startsWith("1.2.840.10008.") ? text : this.uid(text);
  }

  #date(element: Element, rule: Rule | undefined, read: () => Value | Value[]): Value | Value[] | undefined {
    const { dates = "remove" } = this.#options;
    const mayStay = rule === undefined || rule.action === "K" || rule.options.includes("d");
    if (dates === "remove" || !mayStay || element.tag === birthDate) return rule?.action === "Z" ? null : undefined;
    if (dates === "keep" || element.vr === "TM") return read();
    return this.#each(read(), (text) => shiftDate(text, this.#shift));
  }

  /** Text without what identifies somebody elsewhere in the file; `thorough` takes out long numbers, dates and addresses too. */
  #clean(text: string, thorough: boolean): string {
    let cleaned = text;
    for (const identifier of this.#identifiers) cleaned = cleaned.replaceAll(identifier, "***");
    if (!thorough) return cleaned;
    return cleaned
      .replaceAll(/\S+@\S+\.\S+/g, "***")
      .replaceAll(/\b\d{1,4}[-./]\d{1,2}[-./]\d{1,4}\b/g, "***")
      .replaceAll(/\d{5,}/g, "***")
      .replaceAll(/\b(dr|prof|mr|mrs|ms)\.? +\p{L}[\p{L}'-]*/giu, "***");
  }

  /** The words of what is removed or renamed, in all of the file. */
  #collect(): RegExp[] {
    const found = new Set<string>();
    const walk = (elements: Elements, outer: readonly string[]): void => {
      const charsets = charsetsOf(this.#data, elements, outer);
      for (const element of elements.values()) {
        if (element.items !== undefined) for (const item of element.items) walk(item, charsets);
        else if (element.vr === "PN") {
          const text = rawText(this.#data, element, charsets);
          for (const word of text.split(/[\\^=\s,]+/)) if (word.length >= 3) found.add(word);
        } else if (names.has(element.tag)) {
          for (const word of rawText(this.#data, element, charsets).split("\\"))
            if (word.trim().length >= 3) found.add(word.trim());
        }
      }
    };
    walk(this.#data.elements, []);
    return [...found]
      .toSorted((left, right) => right.length - left.length)
      .slice(0, 1000)
      .map((word) => new RegExp(`(?<![\\p{L}\\p{N}])${escaped(word)}(?![\\p{L}\\p{N}])`, "giu"));
  }

  /** What PS3.15, E.1.1 wants to be said of a file that was treated. */
  marks(): Tags {
    const { dates = "remove" } = this.#options;
    const stands = { remove: "REMOVED", shift: "MODIFIED", keep: "UNMODIFIED" } as const;
    const options = (
      ["clean_descriptors", "retain_patient", "retain_device", "retain_institution", "retain_uids"] as const
    )
      .filter((name) => this.#options[name] === true)
      .map((name) => name.replace("_", " "));
    const method = ["PS3.15 Basic Application Level Confidentiality Profile", ...options].join("; ");
    return {
      PatientIdentityRemoved: "YES",
      DeidentificationMethod: method,
      LongitudinalTemporalInformationModified: stands[dates],
    };
  }
}

/** Elements whose whole value is an identifier, wherever it is repeated. */
const names: ReadonlySet<number> = new Set(
  [
    "PatientID",
    "OtherPatientIDs",
    "AccessionNumber",
    "IssuerOfPatientID",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "MedicalRecordLocator",
    "MilitaryRank",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "DeviceSerialNumber",
    "RequestedProcedureID",
    "AdmissionID",
    "PatientBirthDate",
  ].map(tagOf),
);

const escaped = (word: string): string => word.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

const textOf = (value: Value | Value[]): string =>
  Array.isArray(value) ? value.map((part) => textOf(part)).join("\\") : typeof value === "string" ? value : "";

/** `YYYYMMDD…` moved into the past by days; null for a date that is less than that. */
function shiftDate(text: string, days: number): string | null {
  const match = /^(\d{4})[.]?(\d{2})[.]?(\d{2})(.*)$/.exec(text);
  if (match === null) return null;
  const [, year, month, day, rest] = match;
  const moved = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day) - days));
  if (Number.isNaN(moved.getTime())) return null;
  return moved.toISOString().slice(0, 10).replaceAll("-", "") + rest!;
}
