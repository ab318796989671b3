/** Elements of a file by tag, `00100020`, with their representation and text. */
export type DicomElements = Readonly<Record<string, readonly [vr: string, value: string | Uint8Array]>>;

const long = new Set(["OB", "OW", "UN", "UT", "SQ"]);

function element(tag: string, vr: string, value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(typeof value === "string" ? Buffer.from(value, "utf8") : value);
  const padded = bytes.length % 2 === 0 ? bytes : Buffer.concat([bytes, Buffer.from(vr === "UI" ? "\0" : " ")]);
  const head = Buffer.alloc(long.has(vr) ? 12 : 8);
  head.writeUInt16LE(Number.parseInt(tag.slice(0, 4), 16), 0);
  head.writeUInt16LE(Number.parseInt(tag.slice(4), 16), 2);
  head.write(vr, 4, "latin1");
  if (long.has(vr)) head.writeUInt32LE(padded.length, 8);
  else head.writeUInt16LE(padded.length, 6);
  return Buffer.concat([head, padded]);
}

/** A DICOM file without pixels in explicit little endian (PS3.10), text in UTF-8: a secondary capture with these elements. */
export function dicomFile(uids: { study: string; series: string; instance: string }, elements: DicomElements): Buffer {
  const kind = "1.2.840.10008.5.1.4.1.1.7";
  const meta = Buffer.concat([
    element("00020001", "OB", Buffer.from([0, 1])),
    element("00020002", "UI", kind),
    element("00020003", "UI", uids.instance),
    element("00020010", "UI", "1.2.840.10008.1.2.1"),
    element("00020012", "UI", "2.25.1"),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(meta.length);
  const all: DicomElements = {
    "00080005": ["CS", "ISO_IR 192"],
    "00080016": ["UI", kind],
    "00080018": ["UI", uids.instance],
    "0020000D": ["UI", uids.study],
    "0020000E": ["UI", uids.series],
    ...elements,
  };
  const sorted = Object.entries(all).sort(([left], [right]) => (left < right ? -1 : 1));
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from("DICM"),
    element("00020000", "UL", length),
    meta,
    ...sorted.map(([tag, [vr, value]]) => element(tag, vr, value)),
  ]);
}
