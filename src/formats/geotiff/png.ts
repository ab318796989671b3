import { crc32, deflateSync } from "node:zlib";
import type { Values } from "./samples.ts";

/** Colour types of PNG by the number of bands: gray, gray and alpha, RGB, RGB and alpha. */
const colours = [0, 4, 2, 6];

/** Whether a picture can be made of such values. */
export function isPicture(bands: readonly Values[]): boolean {
  return bands.length <= 4 && bands.every((values) => values instanceof Uint8Array || values instanceof Uint16Array);
}

/** The bands as PNG (ISO/IEC 15948), values as they are. */
export function pngOf(bands: readonly Values[], width: number, height: number): Buffer {
  const bytes = bands[0]!.BYTES_PER_ELEMENT;
  const step = bands.length * bytes;
  const lines = Buffer.alloc((width * step + 1) * height);
  for (let row = 0; row < height; row++) {
    const line = row * (width * step + 1) + 1;
    for (const [band, values] of bands.entries()) {
      for (let column = 0; column < width; column++) {
        const value = values[row * width + column]!;
        const at = line + column * step + band * bytes;
        if (bytes === 1) lines[at] = value;
        else lines.writeUInt16BE(value, at);
      }
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = bytes * 8;
  header[9] = colours[bands.length - 1]!;
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(lines)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function chunk(name: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(name, "latin1"), data]);
  const result = Buffer.alloc(named.length + 8);
  result.writeUInt32BE(data.length, 0);
  named.copy(result, 4);
  result.writeUInt32BE(crc32(named), named.length + 4);
  return result;
}
