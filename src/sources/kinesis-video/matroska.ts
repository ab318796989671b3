import { MillraceError } from "../../core/index.ts";

/*
 * What the service gives is one Matroska file after the other, each with a fragment (RFC 8794, RFC 9559). A file may have one header only, so
 * those of the others are left out where they say the same: their clusters count time from the same begin.
 */

const ids = {
  header: 0x1a45dfa3,
  segment: 0x18538067,
  tracks: 0x1654ae6b,
  track: 0xae,
  trackUid: 0x73c5,
  cluster: 0x1f43b675,
  time: 0xe7,
  tags: 0x1254c367,
  tag: 0x7373,
  simpleTag: 0x67c8,
  name: 0x45a3,
  text: 0x4487,
};

interface Element {
  id: number;
  /** Where its content begins, and ends. */
  start: number;
  end: number;
  /** Where it begins. */
  at: number;
  isUnknown: boolean;
}

const broken = (): MillraceError =>
  new MillraceError("parse", "what came of the stream is no Matroska", { temporary: true });

/** An element of EBML; one of unknown length reaches to the end of what is around it. */
function elementAt(bytes: Buffer, at: number, end: number): Element {
  const first = bytes[at] ?? 0;
  const idLength = Math.clz32(first) - 23;
  if (idLength > 4 || at + idLength >= end) throw broken();
  const id = bytes.readUIntBE(at, idLength);
  const sizeByte = bytes[at + idLength]!;
  const sizeLength = Math.clz32(sizeByte) - 23;
  const start = at + idLength + sizeLength;
  if (sizeLength > 8 || start > end) throw broken();
  let size = sizeByte & (0xff >> sizeLength);
  let isUnknown = size === 0xff >> sizeLength;
  for (let index = 1; index < sizeLength; index++) {
    const byte = bytes[at + idLength + index]!;
    isUnknown &&= byte === 0xff;
    size = size * 256 + byte;
  }
  if (!isUnknown && start + size > end) throw broken();
  return { id, at, start, end: isUnknown ? end : start + size, isUnknown };
}

/** Producers write clusters as they go, without a length: one ends where something begins that is no part of a cluster. */
const ofCluster: ReadonlySet<number> = new Set([0xe7, 0xa3, 0xa0, 0xab, 0xa7, 0xaf, 0xec, 0xbf, 0x5854]);

function* childrenOf(bytes: Buffer, { start, end }: Pick<Element, "start" | "end">): Generator<Element> {
  for (let at = start; at < end;) {
    const element = elementAt(bytes, at, end);
    if (element.id === ids.cluster && element.isUnknown) {
      let to = element.start;
      while (to < end) {
        const inner = elementAt(bytes, to, end);
        if (!ofCluster.has(inner.id)) break;
        to = inner.end;
      }
      element.end = to;
    }
    yield element;
    at = element.end;
  }
}

/** When a cluster begins, in the unit of its file. */
function timeOf(bytes: Buffer, cluster: Element): number {
  for (const { id, start, end } of childrenOf(bytes, cluster)) {
    if (id === ids.time && end - start <= 6) return end === start ? 0 : bytes.readUIntBE(start, end - start);
    if (id === ids.time) return Number(bytes.readBigUInt64BE(end - 8));
  }
  return 0;
}

/** One file of those that came, by the tags that the service puts in. */
interface Piece {
  /** Header of the file, of the segment with an unknown length, and what comes before the clusters. */
  head: Buffer;
  /** What it takes to decode them. */
  tracks: Buffer;
  clusters: Buffer[];
  /** Time of its first cluster. */
  begin: number;
  tags: Map<string, string>;
}

function* piecesOf(bytes: Buffer): Generator<Piece> {
  for (let at = 0; at < bytes.length;) {
    const header = elementAt(bytes, at, bytes.length);
    if (header.id !== ids.header) throw broken();
    const segment = elementAt(bytes, header.end, bytes.length);
    if (segment.id !== ids.segment) throw broken();
    let end = segment.end;
    const piece: Piece = { head: Buffer.alloc(0), tracks: Buffer.alloc(0), clusters: [], begin: 0, tags: new Map() };
    const before: Buffer[] = [bytes.subarray(header.at, header.end), segmentOfUnknownLength];
    for (const element of childrenOf(bytes, segment)) {
      if (element.id === ids.header) {
        // A segment of unknown length ends where the next file begins.
        end = element.at;
        break;
      }
      const whole = bytes.subarray(element.at, element.end);
      if (element.id === ids.cluster) {
        if (piece.clusters.length === 0) piece.begin = timeOf(bytes, element);
        piece.clusters.push(whole);
      }
      if (element.id === ids.tags) for (const [name, text] of tagsOf(bytes, element)) piece.tags.set(name, text);
      else if (piece.clusters.length === 0) before.push(whole);
      if (element.id === ids.tracks) piece.tracks = codingOf(bytes, element);
    }
    yield { ...piece, head: Buffer.concat(before) };
    at = end;
  }
}

/** What decoders need to know of tracks: all but the numbers that some writers draw for each file. */
function codingOf(bytes: Buffer, tracks: Element): Buffer {
  const parts: Buffer[] = [];
  for (const entry of childrenOf(bytes, tracks)) {
    if (entry.id !== ids.track) continue;
    for (const { id, at, end } of childrenOf(bytes, entry))
      if (id !== ids.trackUid) parts.push(bytes.subarray(at, end));
  }
  return Buffer.concat(parts);
}

const segmentOfUnknownLength = Buffer.from("18538067" + "01ffffffffffffff", "hex");

function* tagsOf(bytes: Buffer, tags: Element): Generator<[string, string]> {
  for (const tag of childrenOf(bytes, tags)) {
    if (tag.id !== ids.tag) continue;
    for (const simple of childrenOf(bytes, tag)) {
      if (simple.id !== ids.simpleTag) continue;
      let [name, text] = ["", ""];
      for (const part of childrenOf(bytes, simple)) {
        const value = bytes.toString("utf8", part.start, part.end).replaceAll("\0", "");
        if (part.id === ids.name) name = value;
        if (part.id === ids.text) text = value;
      }
      yield [name, text];
    }
  }
}

export interface Joined {
  /** Files that can be played: one, or more where coding or time begin anew. */
  files: Buffer[];
  /** Numbers of the fragments that are in them, in their order. */
  numbers: string[];
}

/** Fragments as files. Throws `parse` (temporary) for what is cut, and with what the service says went wrong on its way. */
export function joinFragments(bytes: Buffer): Joined {
  const files: Buffer[][] = [];
  const numbers: string[] = [];
  let tracks: Buffer | undefined;
  let begin = 0;
  for (const piece of piecesOf(bytes)) {
    const problem =
      piece.tags.get("AWS_KINESISVIDEO_EXCEPTION_MESSAGE") ?? piece.tags.get("AWS_KINESISVIDEO_ERROR_CODE");
    if (problem !== undefined) {
      throw new MillraceError("parse", `Kinesis Video broke off: ${problem}`, { temporary: true });
    }
    const number = piece.tags.get("AWS_KINESISVIDEO_FRAGMENT_NUMBER");
    if (number !== undefined) numbers.push(number);
    if (piece.clusters.length === 0) continue;
    // Time may count from the begin of each fragment.
    if (tracks === undefined || !piece.tracks.equals(tracks) || piece.begin <= begin) {
      tracks = piece.tracks;
      files.push([piece.head]);
    }
    begin = piece.begin;
    files.at(-1)!.push(...piece.clusters);
  }
  return { files: files.map((parts) => Buffer.concat(parts)), numbers };
}
