import { GeoTIFF, GeoTIFFImage, type ImageFileDirectory } from "geotiff";
import { isMillraceError, messageOf, MillraceError } from "../../core/index.ts";
import { MissingBytes, type FileBytes, type Range } from "./bytes.ts";
import { sampleTypeOf, type SampleType } from "./samples.ts";

/** One image of a file: itself, an overview of it, or a mask. */
export interface Level {
  directory: ImageFileDirectory;
  /** Where its directory begins in the file. */
  at: number;
  image: GeoTIFFImage;
  width: number;
  height: number;
  bands: number;
  isTiled: boolean;
  /** Of what is compressed as one. */
  blockWidth: number;
  blockHeight: number;
  /** Bands are in blocks of their own. */
  isPlanar: boolean;
  /** Where each block begins, and how long it is: row by row, and band by band where bands are apart. */
  offsets: ArrayLike<number>;
  lengths: ArrayLike<number>;
  compression: number;
  photometric: number | undefined;
  predictor: number;
  fillOrder: number;
  type: SampleType | undefined;
  mask?: Level;
}

export interface Tiff {
  bytes: FileBytes;
  isLittle: boolean;
  isBig: boolean;
  /** The image and its overviews, each smaller than the one before. */
  levels: Level[];
  /** Images without overviews and masks. */
  pages: number;
}

const maximumDirectories = 1_000;
const maximumBlocks = 16_000_000;
const maximumBlockBytes = 512 * 1024 ** 2;

export const damaged = (cause: unknown): unknown =>
  isMillraceError(cause) || cause instanceof MissingBytes || isAllocation(cause)
    ? cause
    : new MillraceError("parse", `its structure is damaged (${messageOf(cause).split("\n")[0]!.slice(0, 200)})`, {
        cause,
      });

/** More than the process may have: its parent says that better. */
const isAllocation = (cause: unknown): boolean =>
  cause instanceof RangeError && /allocat|array length|too (large|long)/i.test(cause.message);

/** Reads all directories, and where the blocks are. Throws `parse` for what is no TIFF, `MissingBytes`. */
export async function readTiff(bytes: FileBytes): Promise<Tiff> {
  let tiff: GeoTIFF;
  try {
    tiff = await GeoTIFF.fromSource(bytes as unknown as ConstructorParameters<typeof GeoTIFF>[0]);
  } catch (cause) {
    if (cause instanceof MissingBytes) throw cause;
    throw new MillraceError("parse", "it is no TIFF", { cause });
  }
  try {
    return await readLevels(tiff, bytes);
  } catch (cause) {
    throw damaged(cause);
  }
}

async function readLevels(tiff: GeoTIFF, bytes: FileBytes): Promise<Tiff> {
  const directories: { directory: ImageFileDirectory; at: number }[] = [];
  const seen = new Set<number>();
  for (let at = tiff.firstIFDOffset; at !== 0;) {
    if (seen.has(at) || seen.size >= maximumDirectories)
      throw new MillraceError("parse", "its directories lead in a circle, or there are more than a thousand");
    seen.add(at);
    const directory = await tiff.parser.parseFileDirectoryAt(at);
    directories.push({ directory, at });
    at = directory.nextIFDByteOffset;
  }
  if (directories.length === 0) throw new MillraceError("parse", "it holds no image");
  bytes.strict = true;
  const levels: Level[] = [];
  const masks: Level[] = [];
  let pages = 0;
  for (const { directory, at } of directories) {
    const kind = Number(directory.getValue("NewSubfileType") ?? 0);
    const isOverview = (kind & 1) === 1 || directory.getValue("SubfileType") === 2;
    const isMask = (kind & 4) === 4;
    if (!isOverview && !isMask) pages++;
    if (!isOverview && !isMask && levels.length > 0) continue;
    const level = await levelOf(tiff, bytes, directory, at);
    if (isMask) masks.push(level);
    else levels.push(level);
  }
  const [first, ...others] = levels;
  if (first === undefined) throw new MillraceError("parse", "it holds no image, only masks");
  const overviews = others.filter(({ bands, width }) => bands === first.bands && width < first.width);
  overviews.sort((left, right) => right.width - left.width);
  for (const level of [first, ...overviews]) {
    const mask = masks.find(({ width, height }) => width === level.width && height === level.height);
    if (mask !== undefined) level.mask = mask;
  }
  return { bytes, isLittle: tiff.littleEndian, isBig: tiff.bigTiff, levels: [first, ...overviews], pages };
}

/** Throws `parse` where sizes and counts do not fit together. */
async function levelOf(tiff: GeoTIFF, bytes: FileBytes, directory: ImageFileDirectory, at: number): Promise<Level> {
  const width = sizeOf(directory.getValue("ImageWidth"));
  const height = sizeOf(directory.getValue("ImageLength"));
  const bands = Number(directory.getValue("SamplesPerPixel") ?? 1);
  const isTiled = directory.hasTag("TileOffsets");
  if (!(bands >= 1 && bands <= 65_535)) throw new MillraceError("parse", `it has ${bands} bands`);
  // What the standard lets a writer leave out, the library wants to be there.
  if (!directory.hasTag("BitsPerSample")) directory.actualizedFields.set(258, Array<number>(bands).fill(1));
  const blockWidth = isTiled ? sizeOf(directory.getValue("TileWidth")) : width;
  const rows = Number(directory.getValue("RowsPerStrip") ?? height);
  const blockHeight = isTiled ? sizeOf(directory.getValue("TileLength")) : rows >= 1 ? Math.min(rows, height) : height;
  const isPlanar = directory.getValue("PlanarConfiguration") === 2;
  const blocks = Math.ceil(width / blockWidth) * Math.ceil(height / blockHeight) * (isPlanar ? bands : 1);
  if (blocks > maximumBlocks) throw new MillraceError("limit", `it has ${blocks} blocks`);
  const offsets = await numbersOf(tiff, bytes, directory, isTiled ? 324 : 273);
  const lengths = await numbersOf(tiff, bytes, directory, isTiled ? 325 : 279);
  if (offsets.length < blocks || lengths.length < blocks)
    throw new MillraceError("parse", `it has ${offsets.length} of its ${blocks} blocks`);
  const type = sampleTypeOf(directory, bands);
  const image = new GeoTIFFImage(directory, tiff.littleEndian, true, bytes as unknown as GeoTIFFImage["source"]);
  if (blockWidth * blockHeight * (type?.bytes ?? 1) * (isPlanar ? 1 : bands) > maximumBlockBytes)
    throw new MillraceError("limit", `its blocks of ${blockWidth} × ${blockHeight} pixels take more than 512 MiB each`);
  return {
    directory,
    at,
    image,
    width,
    height,
    bands,
    isTiled,
    blockWidth,
    blockHeight,
    isPlanar,
    offsets,
    lengths,
    compression: Number(directory.getValue("Compression") ?? 1),
    photometric: directory.getValue("PhotometricInterpretation") as number | undefined,
    predictor: Number((await directory.loadValue("Predictor")) ?? 1),
    fillOrder: Number((await directory.loadValue("FillOrder")) ?? 1),
    type,
  };
}

function sizeOf(value: unknown): number {
  const size = Number(value);
  if (Number.isInteger(size) && size >= 1 && size <= 0x7fff_ffff) return size;
  throw new MillraceError("parse", `one of its sides has ${size} pixels`);
}

/** Bytes of the types of TIFF that offsets and lengths can have. */
const widths: Record<number, 1 | 2 | 4 | 8> = { 1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8 };

/**
 * All values of a tag. The library reads those that it puts off as little endian, whatever the file is, and those of 64 bits as big
 * integers: they are read here and given to it.
 */
async function numbersOf(
  tiff: GeoTIFF,
  bytes: FileBytes,
  directory: ImageFileDirectory,
  tag: number,
): Promise<ArrayLike<number>> {
  const put = directory.deferredArrays.get(tag);
  let numbers: ArrayLike<number>;
  if (put === undefined) {
    const value: unknown = directory.actualizedFields.get(tag);
    numbers = Array.from((Array.isArray(value) || ArrayBuffer.isView(value) ? value : []) as Iterable<unknown>, Number);
  } else {
    const width = widths[put.fieldType];
    if (width === undefined || put.length > maximumBlocks * 4)
      throw new MillraceError("parse", "its blocks are not listed");
    const [data] = await bytes.fetch([{ offset: Number(put.arrayOffset), length: width * put.length }]);
    const view = new DataView(data!);
    const little = tiff.littleEndian;
    const read = (at: number): number =>
      width === 8
        ? Number(view.getBigUint64(at, little))
        : width === 4
          ? view.getUint32(at, little)
          : width === 2
            ? view.getUint16(at, little)
            : view.getUint8(at);
    const result = new Float64Array(put.length);
    for (let index = 0; index < result.length; index++) result[index] = read(index * width);
    numbers = result;
    directory.deferredArrays.delete(tag);
  }
  directory.actualizedFields.set(tag, numbers as number[]);
  return numbers;
}

/** A part of a level: column, row, width and height, pixels. */
export type Window = [x: number, y: number, width: number, height: number];

/** Numbers of the blocks that a window of some bands (from 0) is in. */
export function* blocksOf(level: Level, [x, y, width, height]: Window, bands: readonly number[]): Generator<number> {
  const { blockWidth, blockHeight } = level;
  const perRow = Math.ceil(level.width / blockWidth);
  const perBand = perRow * Math.ceil(level.height / blockHeight);
  for (const band of level.isPlanar ? bands : [0]) {
    for (let row = Math.floor(y / blockHeight); row * blockHeight < y + height; row++) {
      for (let column = Math.floor(x / blockWidth); column * blockWidth < x + width; column++) {
        yield band * perBand + row * perRow + column;
      }
    }
  }
}

/** Whether all bytes of a window are on this machine; the file notes which are not. */
export function isPresent(bytes: FileBytes, level: Level, window: Window, bands: readonly number[]): boolean {
  let all = true;
  for (const block of blocksOf(level, window, bands)) all = bytes.has(rangeOf(level, block)) && all;
  return all;
}

export const rangeOf = ({ offsets, lengths }: Level, block: number): Range => [
  offsets[block]!,
  offsets[block]! + lengths[block]!,
];
