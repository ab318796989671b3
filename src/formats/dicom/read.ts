import { inflateRawSync } from "node:zlib";
import { MillraceError } from "../../core/index.ts";
import { representationOf } from "./dictionary.ts";

/** An element as it lies in the file. */
export interface Element {
  tag: number;
  /** Value representation: two letters. */
  vr: string;
  /** Where the value lies in `DataSet.bytes`. */
  start: number;
  end: number;
  little: boolean;
  /** Of a sequence. */
  items?: Elements[];
  /** Of encapsulated pixel data: the value of each item; the first is the basic offset table. */
  fragments?: { start: number; end: number }[];
}

/** In the order of the file. */
export type Elements = Map<number, Element>;

export interface DataSet {
  bytes: Buffer;
  elements: Elements;
  /** UID of the transfer syntax. */
  syntax: string;
  /** What was wrong with the file though it could be read that far; null for a sound one. */
  problem: string | null;
}

const implicitLittle = "1.2.840.10008.1.2";
const explicitLittle = "1.2.840.10008.1.2.1";
const deflated = "1.2.840.10008.1.2.1.99";
const explicitBig = "1.2.840.10008.1.2.2";

/** Items in items; the standard knows no limit, and real files have about ten. */
const maximumDepth = 64;
const maximumElements = 2_000_000;
const maximumInflated = 512 * 1024 ** 2;
const undefinedLength = 0xffffffff;

const itemTag = 0xfffee000;
const itemEnd = 0xfffee00d;
const sequenceEnd = 0xfffee0dd;
const pixelDataTag = 0x7fe00010;
const pixelRepresentationTag = 0x00280103;
/** Class, modality and study: a data set that has no header is known by them. */
const usual = [0x00080016, 0x00080060, 0x0020000d];

/** Representations whose length has 32 bits (PS3.5, table 7.1-1). */
const long = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]);

/** Reads a file of PS3.10, or a bare data set. Throws `parse` for what is none, and `limit` for what unpacks to too much. */
export function readDicom(file: Buffer): DataSet {
  const hasPreamble = file.length >= 132 && file.toString("latin1", 128, 132) === "DICM";
  const start = hasPreamble ? 132 : 0;
  if (file.length < start + 8) throw new MillraceError("parse", "it is no DICOM file");
  const elements: Elements = new Map();
  let at = start;
  let syntax: string | undefined;
  if (hasPreamble || file.readUInt16LE(start) === 2) {
    const meta = new Reader(file, true, true, (tag) => tag >>> 16 !== 2);
    at = meta.read(elements, start, file.length, 0);
    const given = elements.get(0x00020010);
    if (given !== undefined) syntax = textOf(file, given);
    if (meta.problem !== null) return { bytes: file, elements, syntax: syntax ?? "", problem: meta.problem };
  }
  syntax ??= guessSyntax(file, at);
  if (syntax === undefined) {
    if (elements.size === 0) throw new MillraceError("parse", "it is no DICOM file");
    return { bytes: file, elements, syntax: "", problem: "it ends after its header" };
  }
  let bytes = file;
  if (syntax === deflated) {
    bytes = inflate(file.subarray(at));
    // Values of the header lie in other bytes: it is read from a copy in front.
    bytes = Buffer.concat([file.subarray(0, at), bytes]);
  }
  const reader = new Reader(bytes, syntax !== explicitBig, syntax !== implicitLittle);
  reader.read(elements, at, bytes.length, 0);
  if (!hasPreamble && !usual.some((tag) => elements.has(tag))) throw new MillraceError("parse", "it is no DICOM file");
  return { bytes, elements, syntax, problem: reader.problem };
}

const textOf = (bytes: Buffer, { start, end }: Element): string =>
  bytes.toString("latin1", start, end).replace(/[\0 ]+$/, "");

function inflate(bytes: Buffer): Buffer {
  try {
    return inflateRawSync(bytes, {
      maxOutputLength: Math.min(maximumInflated, Math.max(2 ** 20, bytes.length * 1000)),
    });
  } catch (cause) {
    const tooMuch = (cause as { code?: string }).code === "ERR_BUFFER_TOO_LARGE";
    throw new MillraceError(
      tooMuch ? "limit" : "parse",
      tooMuch ? "it unpacks to too much" : "its deflated data is damaged",
      {
        cause,
      },
    );
  }
}

/** How a data set without a header is written, by its first element; undefined when it cannot be one. */
function guessSyntax(bytes: Buffer, at: number): string | undefined {
  if (at + 8 > bytes.length) return undefined;
  const group = bytes.readUInt16LE(at);
  const isBig = group > 0xff && (group & 0xff) === 0;
  if (!isBig && group > 0x0100) return undefined;
  const explicit = /^[A-Z]{2}$/.test(bytes.toString("latin1", at + 4, at + 6));
  if (isBig) return explicit ? explicitBig : undefined;
  return explicit ? explicitLittle : implicitLittle;
}

class Reader {
  problem: string | null = null;
  readonly #bytes: Buffer;
  readonly #little: boolean;
  readonly #explicit: boolean;
  readonly #stop: ((tag: number) => boolean) | undefined;
  #count = 0;
  #signed = false;

  constructor(bytes: Buffer, little: boolean, explicit: boolean, stop?: (tag: number) => boolean) {
    this.#bytes = bytes;
    this.#little = little;
    this.#explicit = explicit;
    this.#stop = stop;
  }

  #u16(at: number): number {
    return this.#little ? this.#bytes.readUInt16LE(at) : this.#bytes.readUInt16BE(at);
  }
  #u32(at: number): number {
    return this.#little ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at);
  }
  #tag(at: number): number {
    return this.#u16(at) * 0x10000 + this.#u16(at + 2);
  }
  #cut(where: string): void {
    this.problem ??= `it ends within ${where}`;
  }

  /** Reads elements up to `end`, or to the delimiter of an item of unknown length. Gives where it stopped. */
  read(elements: Elements, start: number, end: number, depth: number, explicit = this.#explicit): number {
    if (depth > maximumDepth)
      throw new MillraceError("limit", `its sequences are nested more than ${maximumDepth} deep`);
    let at = start;
    while (at < end) {
      if (at + 8 > end) {
        // Files are padded by zeros.
        if (this.#bytes.subarray(at, end).some((byte) => byte !== 0)) this.#cut("the head of an element");
        return end;
      }
      const tag = this.#tag(at);
      if (tag === itemEnd || tag === sequenceEnd) {
        if (depth > 0) return tag === itemEnd ? at + 8 : at;
        // One delimiter too many.
        at += 8;
        continue;
      }
      if (this.#stop?.(tag) === true) return at;
      if (++this.#count > maximumElements)
        throw new MillraceError("limit", `it has more than ${maximumElements} elements`);
      const next = this.#element(elements, tag, at, end, depth, explicit);
      if (next === undefined) return end;
      at = next;
    }
    return at;
  }

  #element(
    elements: Elements,
    tag: number,
    at: number,
    end: number,
    depth: number,
    explicit: boolean,
  ): number | undefined {
    let vr = explicit ? this.#bytes.toString("latin1", at + 4, at + 6) : "";
    let body = at + 8;
    let length: number;
    // Some writers forget what they said of the whole within an element.
    const isExplicit = /^[A-Z]{2}$/.test(vr);
    if (isExplicit && long.has(vr)) {
      if (at + 12 > end) {
        this.#cut("the head of an element");
        return undefined;
      }
      length = this.#u32(at + 8);
      body = at + 12;
    } else if (isExplicit) length = this.#u16(at + 6);
    else {
      length = this.#u32(at + 4);
      vr = representationOf(tag);
      if (length === undefinedLength && tag !== pixelDataTag) vr = "SQ";
    }
    // Who did not know an element may have written it as bytes: implicit and little endian (PS3.5, 6.2.2 note 3).
    const isCopied = isExplicit && vr === "UN" && length !== undefinedLength;
    if (isCopied) vr = representationOf(tag);
    if (vr === "XS") vr = this.#signed ? "SS" : "US";
    const little = this.#little || isCopied;
    const element: Element = { tag, vr, start: body, end: body + length, little };
    if (length === undefinedLength) {
      // Unknown elements of unknown length are sequences of implicit elements (PS3.5, 6.2.2 note 2).
      if (tag === pixelDataTag || vr === "OB" || vr === "OW") element.end = this.#fragments(element, body, end);
      else {
        const within = vr !== "UN" && isExplicit;
        element.vr = "SQ";
        element.end = this.#items(element, body, end, depth, within, true);
      }
    } else if (element.end > end) {
      this.#cut(`element ${tag.toString(16).padStart(8, "0")}`);
      element.end = end;
      if (vr === "SQ") this.#items(element, body, end, depth, isExplicit, false);
    } else if (vr === "SQ") this.#items(element, body, element.end, depth, isExplicit && !isCopied, false);
    elements.set(tag, element);
    if (tag === pixelRepresentationTag && element.end - body >= 2) this.#signed = this.#u16(body) === 1;
    return element.end;
  }

  #items(element: Element, start: number, end: number, depth: number, explicit: boolean, open: boolean): number {
    const items: Elements[] = (element.items = []);
    let at = start;
    while (at + 8 <= end) {
      const tag = this.#tag(at);
      const length = this.#u32(at + 4);
      at += 8;
      if (tag === sequenceEnd) return at;
      if (tag !== itemTag) {
        this.problem ??= "one of its sequences has something that is no item";
        return end;
      }
      if (++this.#count > maximumElements)
        throw new MillraceError("limit", `it has more than ${maximumElements} items`);
      const item: Elements = new Map();
      items.push(item);
      if (length !== undefinedLength && at + length > end) this.#cut("an item");
      const last = length === undefinedLength ? end : Math.min(end, at + length);
      const stopped = this.read(item, at, last, depth + 1, explicit);
      at = length === undefinedLength ? stopped : last;
    }
    if (open) this.#cut("a sequence");
    return end;
  }

  #fragments(element: Element, start: number, end: number): number {
    const fragments: { start: number; end: number }[] = (element.fragments = []);
    let at = start;
    while (at + 8 <= end) {
      const tag = this.#tag(at);
      const length = this.#u32(at + 4);
      at += 8;
      if (tag === sequenceEnd) return at;
      if (tag !== itemTag || length === undefinedLength) {
        this.problem ??= "its pixel data has something that is no item";
        return end;
      }
      if (at + length > end) this.#cut("its pixel data");
      fragments.push({ start: at, end: Math.min(end, at + length) });
      at += length;
      if (++this.#count > maximumElements)
        throw new MillraceError("limit", `it has more than ${maximumElements} items`);
    }
    this.#cut("its pixel data");
    return end;
  }
}
