import { createRequire } from "node:module";
import sharp from "sharp";
import { MillraceError } from "../../core/index.ts";
import type { Layout } from "./frames.ts";
import { fromYbr, narrowed, type Frame, type Samples } from "./samples.ts";
import type { Coding } from "./syntaxes.ts";

const require = createRequire(import.meta.url);

/** One frame of pixels that are coded as an image each. */
export async function decodeCoded(
  coding: Exclude<Coding, "none" | "rle" | undefined>,
  coded: Buffer,
  layout: Layout,
): Promise<Frame> {
  switch (coding) {
    case "jpeg":
      return decodeJpeg(coded, layout);
    case "jpeg-lossless":
      return decodeLossless(coded, layout);
    case "jpeg-ls":
      return decodeWith(await charls(), coded, layout);
    case "jpeg-2000":
      return decodeWith(await openJpeg(), coded, layout);
  }
}

/** JPEG of 8 bits, colours as red, green and blue. Throws `unsupported` for 12 bits. */
async function decodeJpeg(coded: Buffer, { photometric, rows, columns }: Layout): Promise<Frame> {
  const head = headOf(coded);
  if (head !== undefined && head.bits !== 8)
    throw new MillraceError("unsupported", `there is no decoder for JPEG of ${head.bits} bits`);
  const { data, info } = await sharp(colourMarked(coded, head, photometric), { limitInputPixels: 2 ** 28 })
    .toColourspace(head?.components === 1 ? "b-w" : "srgb")
    .raw()
    .toBuffer({ resolveWithObject: true });
  assertSize(info.width, info.height, { rows, columns });
  const channels = info.channels === 1 ? 1 : 3;
  return { rows, columns, channels, samples: new Uint8Array(data) };
}

interface Head {
  /** Where its marker is. */
  at: number;
  bits: number;
  components: number;
  /** JFIF or Adobe says which colours the components are. */
  saysColour: boolean;
}

/** The markers of a JPEG up to its frame: ITU-T T.81, annex B. */
function headOf(coded: Buffer): Head | undefined {
  let saysColour = false;
  for (let at = 2; at + 10 < coded.length && coded[at] === 0xff;) {
    const marker = coded[at + 1]!;
    if (marker === 0xff) {
      at++;
      continue;
    }
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker))
      return { at, bits: coded[at + 4]!, components: coded[at + 9]!, saysColour };
    if (marker === 0xee && coded.toString("latin1", at + 4, at + 9) === "Adobe") saysColour = true;
    if (marker === 0xe0 && coded.toString("latin1", at + 4, at + 8) === "JFIF") saysColour = true;
    at += 2 + coded.readUInt16BE(at + 2);
  }
  return undefined;
}

/** Components that nobody says the colours of are what DICOM says: an Adobe marker tells the decoder. */
function colourMarked(coded: Buffer, head: Head | undefined, photometric: string): Buffer {
  if (head === undefined || head.saysColour || head.components !== 3) return coded;
  const transform = photometric === "RGB" ? 0 : 1;
  const marker = Buffer.from([0xff, 0xee, 0, 14, 0x41, 0x64, 0x6f, 0x62, 0x65, 0, 100, 0, 0, 0, 0, transform]);
  return Buffer.concat([coded.subarray(0, 2), marker, coded.subarray(2)]);
}

function assertSize(width: number, height: number, { rows, columns }: Pick<Layout, "rows" | "columns">): void {
  if (width !== columns || height !== rows)
    throw new MillraceError("parse", `a frame is ${width} × ${height} pixels, and not ${columns} × ${rows}`);
}

interface LosslessDecoder {
  decode(
    buffer: ArrayBuffer,
    offset: number,
    length: number,
    bytesOfSample?: number,
  ): { buffer: ArrayBuffer; byteOffset: number; byteLength: number };
}

/** JPEG of process 14: ITU-T T.81, annex H. */
function decodeLossless(coded: Buffer, layout: Layout): Frame {
  const { Decoder } = require("jpeg-lossless-decoder-js") as { Decoder: new () => LosslessDecoder };
  const head = headOf(coded);
  if (head === undefined) throw new MillraceError("parse", "a frame has no header of JPEG");
  assertSize(coded.readUInt16BE(head.at + 7), coded.readUInt16BE(head.at + 5), layout);
  const bytesOfSample = head.bits > 8 ? 2 : 1;
  const copy = Uint8Array.from(coded);
  const decoded = new Decoder().decode(copy.buffer, 0, copy.length, bytesOfSample);
  const bytes = Buffer.from(decoded.buffer, decoded.byteOffset, decoded.byteLength);
  return frameOf(bytes, head.bits, false, head.components, layout, false);
}

interface FrameInfo {
  width: number;
  height: number;
  bitsPerSample: number;
  componentCount: number;
  isSigned?: boolean;
}
interface Decoder {
  getEncodedBuffer(length: number): Uint8Array;
  getDecodedBuffer(): Uint8Array;
  decode(): void;
  getFrameInfo(): FrameInfo;
  getColorSpace?(): number;
  delete(): void;
}
type Make = () => Decoder;
type Factory<Name extends string> = (options?: object) => Promise<Record<Name, new () => Decoder>>;

let jpegLs: Promise<Make> | undefined;
let jpeg2000: Promise<Make> | undefined;

/** Libraries of C++ as WebAssembly, loaded once a process. */
function charls(): Promise<Make> {
  jpegLs ??= (require("@cornerstonejs/codec-charls/decodewasmjs") as Factory<"JpegLSDecoder">)().then(
    ({ JpegLSDecoder }) =>
      () =>
        new JpegLSDecoder(),
  );
  return jpegLs;
}
function openJpeg(): Promise<Make> {
  jpeg2000 ??= (require("@cornerstonejs/codec-openjpeg/decodewasmjs") as Factory<"J2KDecoder">)().then(
    ({ J2KDecoder }) =>
      () =>
        new J2KDecoder(),
  );
  return jpeg2000;
}

function decodeWith(make: Make, coded: Buffer, layout: Layout): Frame {
  const decoder = make();
  try {
    decoder.getEncodedBuffer(coded.length).set(coded);
    decoder.decode();
    const { width, height, bitsPerSample, componentCount, isSigned } = decoder.getFrameInfo();
    assertSize(width, height, layout);
    // The memory of the library moves when it grows.
    const bytes = Buffer.from(decoder.getDecodedBuffer());
    return frameOf(
      bytes,
      bitsPerSample,
      isSigned === true,
      componentCount,
      layout,
      layout.photometric.startsWith("YBR_FULL"),
    );
  } catch (cause) {
    // What C++ throws is a number.
    if (typeof cause === "number") throw new MillraceError("parse", "its coded pixels are damaged");
    throw cause;
  } finally {
    decoder.delete();
  }
}

/** Samples as a decoder gives them: little endian, pixel by pixel. */
function frameOf(
  bytes: Buffer,
  bits: number,
  isSigned: boolean,
  components: number,
  layout: Layout,
  isYbr: boolean,
): Frame {
  const { rows, columns } = layout;
  if (components !== 1 && components !== 3)
    throw new MillraceError("unsupported", `its pixels have ${components} components`);
  const count = rows * columns * components;
  const width = bits > 8 ? 2 : 1;
  if (bits > 16 || bytes.length < count * width)
    throw new MillraceError("unsupported", `its samples have ${bits} bits`);
  const buffer = new Uint8Array(count * width);
  buffer.set(bytes.subarray(0, buffer.length));
  const signed = isSigned || layout.signed;
  let samples: Samples =
    width === 1
      ? signed
        ? new Int8Array(buffer.buffer)
        : buffer
      : signed
        ? new Int16Array(buffer.buffer)
        : new Uint16Array(buffer.buffer);
  if (!isSigned)
    samples = narrowed(samples, {
      ...layout,
      bitsAllocated: width * 8,
      bitsStored: Math.min(layout.bitsStored, width * 8),
      highBit: layout.bitsStored - 1,
    });
  if (components === 3 && isYbr && samples instanceof Uint8Array) samples = fromYbr(samples);
  return { rows, columns, channels: components, samples };
}
