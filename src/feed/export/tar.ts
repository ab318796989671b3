import type { ByteWriter } from "./bytes.ts";

/*
 * A member of a tar archive (POSIX.1-2001 pax, on top of ustar): a header of 512 bytes, the bytes, zeros up to a multiple of 512.
 * A name that ustar cannot hold (longer than 100 bytes, not ASCII) stands in a pax header before it, with every reader of this century.
 */

/** One for all: archives of the same rows are the same. 1980-01-01, before which some programs take a time for a mistake. */
const modified = 315_532_800;

/** The end of an archive. */
export const tarEnd = new Uint8Array(1024);

/** Makes the header of files that differ in name and size only. */
function makeTemplate(type: string): Buffer {
  const header = Buffer.alloc(512);
  header.write("0000644\0", 100, "latin1");
  header.write("0000000\0", 108, "latin1");
  header.write("0000000\0", 116, "latin1");
  header.write(octal(modified), 136, "latin1");
  header.write(type, 156, "latin1");
  header.write("ustar\0" + "00", 257, "latin1");
  return header;
}

const octal = (value: number): string => `${value.toString(8).padStart(11, "0")}\0`;

const template = makeTemplate("0");
const paxTemplate = makeTemplate("x");
const nameBytes = 100;

/** Appends a member: its bytes are those of `content` from `from` up to `to`. */
export function tarMember(out: ByteWriter, name: Uint8Array, content: Uint8Array, from = 0, to = content.length): void {
  if (name.length > nameBytes || name.some((byte) => byte >= 0x80)) {
    const record = paxRecord("path", name);
    header(out, paxTemplate, Buffer.from("PaxHeader"), record.length);
    out.push(record);
    pad(out, record.length);
    // What a reader without pax makes of it does not matter, but it must fit.
    header(out, template, name.subarray(0, nameBytes), to - from);
  } else header(out, template, name, to - from);
  out.pushRange(content, from, to);
  pad(out, to - from);
}

function pad(out: ByteWriter, length: number): void {
  out.zeros((512 - (length % 512)) % 512);
}

function header(out: ByteWriter, from: Buffer, name: Uint8Array, size: number): void {
  out.reserve(512);
  const { bytes, length } = out;
  bytes.set(from, length);
  bytes.set(name, length);
  bytes.write(octal(size), length + 124, "latin1");
  // The sum of all bytes, those of the sum itself counted as spaces.
  let sum = 8 * 0x20;
  for (let at = 0; at < 512; at++) sum += bytes[length + at]!;
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, length + 148, "latin1");
  out.length += 512;
}

/** `27 path=…\n`: the number is the length of the whole record, its own digits included. */
function paxRecord(key: string, value: Uint8Array): Uint8Array {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from("\n")]);
}
