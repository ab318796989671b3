/*
 * Sketches of texts (MinHash). The similarity of two texts is Jaccard's: of all pieces of five characters that either has, the share that
 * both have. A sketch keeps, for each of 128 bins, the smallest hash of a piece that falls into it ("one permutation hashing", Li, Owen,
 * Zhang 2012; empty bins filled by "optimal densification", Shrivastava 2017). The share of equal bins is an estimate of the similarity.
 */

const pieceLength = 5;
const bins = 128;
const empty = 0xffffffff;

/** Murmur3's finaliser: every bit of the input moves every bit of the output. */
function mix(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Hashes of all pieces of a text, in order, in the front of `into`; returns how many. `into` must hold as many as the text has characters. */
export function pieceHashes(text: string, into: Uint32Array): number {
  const count = text.length - pieceLength + 1;
  for (let start = 0; start < count; start++) {
    let hash = 0;
    for (let at = start; at < start + pieceLength; at++) hash = (Math.imul(hash, 0x01000193) + text.charCodeAt(at)) | 0;
    into[start] = mix(hash);
  }
  return Math.max(0, count);
}

/** The sketch of a text of at least five characters, in the front of `sketch`, which has 128 places. */
export function sketchOf(hashes: Uint32Array, count: number, sketch: Uint32Array): void {
  sketch.fill(empty);
  for (let index = 0; index < count; index++) {
    const hash = hashes[index]!;
    const bin = hash >>> 25;
    const value = hash & 0x1ffffff;
    if (value < sketch[bin]!) sketch[bin] = value;
  }
  // The same walk for every text, over what it had before: a bin that is filled is not taken for a piece of its own.
  const own = Uint32Array.from(sketch);
  for (let bin = 0; bin < bins; bin++) {
    if (own[bin] !== empty) continue;
    for (let attempt = 1; ; attempt++) {
      const other = mix(Math.imul(bin + 1, 0x9e3779b1) ^ Math.imul(attempt, 0x7f4a7c15)) >>> 25;
      if (own[other] === empty) continue;
      sketch[bin] = own[other]!;
      break;
    }
  }
}

/** How a sketch is cut into bands of so many bins: texts of the similarity share one with at least this probability. */
const recall = 0.998;

/** Bins of a band: as many as the recall allows, because each more makes fewer pairs that turn out to be unlike. */
export function rowsOfBand(similarity: number): number {
  for (let rows = 16; rows > 1; rows--) {
    const bands = Math.floor(bins / rows);
    if (1 - (1 - similarity ** rows) ** bands >= recall) return rows;
  }
  return 1;
}

/** One number for each band of a sketch. */
export function bandHashes(sketch: Uint32Array, rows: number, into: Int32Array): void {
  for (let band = 0; band < into.length; band++) {
    let hash = band;
    for (let row = 0; row < rows; row++) hash = mix(Math.imul(hash, 0x01000193) ^ sketch[band * rows + row]!);
    into[band] = hash | 0;
  }
}

export const bandCount = (rows: number): number => Math.floor(bins / rows);

/** Sorts the hashes and removes repeats; returns how many are left. */
export function uniqueHashes(hashes: Uint32Array, count: number): number {
  const used = hashes.subarray(0, count).sort();
  let kept = 0;
  for (let index = 0; index < count; index++) {
    if (index === 0 || used[index] !== used[index - 1]) used[kept++] = used[index]!;
  }
  return kept;
}

/** Jaccard's similarity of two sorted sets of hashes. */
export function similarityOf(left: Uint32Array, leftCount: number, right: Uint32Array, rightCount: number): number {
  let both = 0;
  for (let i = 0, j = 0; i < leftCount && j < rightCount;) {
    const [a, b] = [left[i]!, right[j]!];
    if (a === b) both++;
    if (a <= b) i++;
    if (b <= a) j++;
  }
  const either = leftCount + rightCount - both;
  return either === 0 ? 0 : both / either;
}
