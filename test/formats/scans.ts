/** An element of PS3.5, 7.1.2: explicit, little endian. */
function element(tag: number, vr: string, value: Buffer | string): Buffer {
  const bytes =
    typeof value === "string"
      ? Buffer.from(value.padEnd(value.length + (value.length % 2), vr === "UI" ? "\0" : " "))
      : value;
  const isLong = vr === "OW";
  const head = Buffer.alloc(isLong ? 12 : 8);
  head.writeUInt16LE(tag >>> 16, 0);
  head.writeUInt16LE(tag & 0xffff, 2);
  head.write(vr, 4, "latin1");
  if (isLong) head.writeUInt32LE(bytes.length, 8);
  else head.writeUInt16LE(bytes.length, 6);
  return Buffer.concat([head, bytes]);
}
const short = (value: number): Buffer => Buffer.from(Uint16Array.of(value).buffer);

/** A DICOM file of one small image. */
export function dicomFile(): Buffer {
  const meta = element(0x00020010, "UI", "1.2.840.10008.1.2.1");
  return Buffer.concat([
    Buffer.alloc(128),
    Buffer.from("DICM"),
    element(0x00020000, "UL", Buffer.from(Uint32Array.of(meta.length).buffer)),
    meta,
    element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2"),
    element(0x00080018, "UI", "1.2.3.4"),
    element(0x00080060, "CS", "CT"),
    element(0x00100010, "PN", "Doe^Jane"),
    element(0x00100020, "LO", "P1"),
    element(0x00280002, "US", short(1)),
    element(0x00280004, "CS", "MONOCHROME2"),
    element(0x00280010, "US", short(8)),
    element(0x00280011, "US", short(8)),
    element(0x00280100, "US", short(16)),
    element(0x00280101, "US", short(12)),
    element(0x00280102, "US", short(11)),
    element(0x00280103, "US", short(0)),
    element(0x7fe00010, "OW", Buffer.from(Uint16Array.from({ length: 64 }, (_, index) => index * 3).buffer)),
  ]);
}

/** A NIfTI-1 file of 4 × 3 × 2 voxels of 16 bits. */
export function niftiFile(): Buffer {
  const header = Buffer.alloc(352);
  header.writeInt32LE(348, 0);
  for (const [index, value] of [3, 4, 3, 2, 1, 1, 1, 1].entries()) header.writeInt16LE(value, 40 + 2 * index);
  header.writeInt16LE(4, 70);
  header.writeInt16LE(16, 72);
  for (const [index, value] of [1, 2, 2, 3].entries()) header.writeFloatLE(value, 76 + 4 * index);
  header.writeFloatLE(352, 108);
  header.writeFloatLE(1, 112);
  header.write("n+1\0", 344, "latin1");
  return Buffer.concat([header, Buffer.from(Int16Array.from({ length: 24 }, (_, index) => index - 5).buffer)]);
}
