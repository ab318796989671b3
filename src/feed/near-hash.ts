import { sqlName, type Sql } from "../core/index.ts";
import {
  bandsOf,
  baseRows,
  candidatePairs,
  NearFiles,
  summarise,
  type NearEngine,
  type NearFinding,
  type NearRequest,
} from "./near.ts";

const bitsOfHash = 64;
/** Rows of a bucket that others are compared with. */
export const hashRepresentatives = 32;

/*
 * 64 bits are cut into `bits` + 2 blocks. Two hashes that differ in at most `bits` bits differ in at most so many blocks, so at least two blocks
 * are equal: every pair of blocks is a bucket number, and no pair of hashes is missed.
 */
export function blockPairs(bits: number): Sql[] {
  const count = bits + 2;
  const blocks = Array.from({ length: count }, (_, index) => {
    const [start, end] = [Math.floor((bitsOfHash * index) / count), Math.floor((bitsOfHash * (index + 1)) / count)];
    return `((h >> ${start}) & ${(1n << BigInt(end - start)) - 1n}::UBIGINT)`;
  });
  return blocks.flatMap((left, index) => blocks.slice(index + 1).map((right) => `hash(${left}, ${right})`));
}

/** The 64 bits of a hash, whether its column is signed or not. */
export function unsignedHash(name: string): Sql {
  return `((${sqlName(name)}::HUGEINT + 18446744073709551616) % 18446744073709551616)::UBIGINT`;
}

/** Rows of different splits whose 64-bit hashes (of images, as `phash`) differ in at most `bits` bits. */
export async function nearHashes(
  name: string,
  bits: number,
  request: NearRequest,
  engine: NearEngine,
): Promise<NearFinding> {
  await using files = new NearFiles(engine, request);
  const base = await baseRows(files, request, [`${unsignedHash(name)} AS h`], "h IS NOT NULL");
  const pairs = await candidatePairs(files, bandsOf(base.relation, blockPairs(bits)), hashRepresentatives);
  const verified = await files.write(
    `SELECT a, b, bit_count(xor(x.h, y.h))::INTEGER AS value FROM ${pairs} AS pair ` +
      `JOIN ${base.relation} AS x ON pair.a = x.r JOIN ${base.relation} AS y ON pair.b = y.r WHERE value <= ${bits}`,
  );
  return await summarise(engine, base, verified.relation, "ASC", request.signal);
}
