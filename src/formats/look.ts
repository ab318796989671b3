/** What an image looks like, measured on a small copy of it. */
export interface Looks {
  /** 64 bits, as a signed integer. */
  phash: bigint;
  brightness: number;
  contrast: number;
  sharpness: number;
  entropy: number;
}

interface Raw {
  width: number;
  height: number;
  channels: number;
}

/** Rec. 709 luminance of samples of 8 bits, 0 to 255. */
function luminance(data: Uint8Array, { width, height, channels }: Raw): Float64Array {
  const result = new Float64Array(width * height);
  for (let index = 0, at = 0; index < result.length; index++, at += channels) {
    result[index] = channels < 3 ? data[at]! : 0.2126 * data[at]! + 0.7152 * data[at + 1]! + 0.0722 * data[at + 2]!;
  }
  return result;
}

/** `data` are samples of 8 bits, row by row, channels together. */
export function measure(data: Uint8Array, raw: Raw): Looks {
  const { width, height } = raw;
  const grey = luminance(data, raw);
  const histogram = new Uint32Array(256);
  let sum = 0;
  let squares = 0;
  for (const value of grey) {
    histogram[Math.min(255, Math.round(value))]!++;
    sum += value;
    squares += value * value;
  }
  const mean = sum / grey.length;
  let entropy = 0;
  for (const count of histogram) {
    if (count > 0) entropy -= (count / grey.length) * Math.log2(count / grey.length);
  }
  return {
    phash: perceptualHash(grey, width, height),
    brightness: mean / 255,
    contrast: Math.sqrt(Math.max(0, squares / grey.length - mean * mean)) / 255,
    sharpness: laplacianVariance(grey, width, height),
    entropy,
  };
}

/** Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000): little variance means few edges. */
function laplacianVariance(grey: Float64Array, width: number, height: number): number {
  let count = 0;
  let sum = 0;
  let squares = 0;
  for (let row = 1; row < height - 1; row++) {
    for (let column = 1; column < width - 1; column++) {
      const at = row * width + column;
      const value = grey[at - width]! + grey[at + width]! + grey[at - 1]! + grey[at + 1]! - 4 * grey[at]!;
      count++;
      sum += value;
      squares += value * value;
    }
  }
  return count === 0 ? 0 : squares / count - (sum / count) ** 2;
}

const side = 32;
const kept = 8;
/** Cosines of the first frequencies of a discrete cosine transform of 32 samples. */
const cosines = Float64Array.from({ length: kept * side }, (_, index) =>
  Math.cos(((Math.floor(index / side) + 1) * (2 * (index % side) + 1) * Math.PI) / (2 * side)),
);

/** The mean luminance of each of 32 × 32 fields. */
function fields(grey: Float64Array, width: number, height: number): Float64Array {
  const result = new Float64Array(side * side);
  for (let y = 0; y < side; y++) {
    const top = Math.floor((y * height) / side);
    const bottom = Math.max(top + 1, Math.floor(((y + 1) * height) / side));
    for (let x = 0; x < side; x++) {
      const left = Math.floor((x * width) / side);
      const right = Math.max(left + 1, Math.floor(((x + 1) * width) / side));
      let sum = 0;
      for (let row = top; row < bottom; row++)
        for (let column = left; column < right; column++) sum += grey[row * width + column]!;
      result[y * side + x] = sum / ((bottom - top) * (right - left));
    }
  }
  return result;
}

/**
 * One bit for each of the 8 × 8 lowest frequencies but the constant one: whether it is above their median. Zauner, "Implementation
 * and benchmarking of perceptual image hash functions" (2010), §3.2.1.
 */
function perceptualHash(grey: Float64Array, width: number, height: number): bigint {
  const small = fields(grey, width, height);
  const rows = new Float64Array(side * kept);
  for (let y = 0; y < side; y++) {
    for (let u = 0; u < kept; u++) {
      let sum = 0;
      for (let x = 0; x < side; x++) sum += small[y * side + x]! * cosines[u * side + x]!;
      rows[y * kept + u] = sum;
    }
  }
  const frequencies = new Float64Array(kept * kept);
  for (let v = 0; v < kept; v++) {
    for (let u = 0; u < kept; u++) {
      let sum = 0;
      for (let y = 0; y < side; y++) sum += rows[y * kept + u]! * cosines[v * side + y]!;
      frequencies[v * kept + u] = sum;
    }
  }
  const sorted = frequencies.toSorted();
  const median = (sorted[31]! + sorted[32]!) / 2;
  let hash = 0n;
  for (const frequency of frequencies) hash = (hash << 1n) | (frequency > median ? 1n : 0n);
  return BigInt.asIntN(64, hash);
}
