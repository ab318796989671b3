import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { unpackedBytes } from "../../src/core/index.ts";

const plain = Buffer.from(randomBytes(150_000).toString("hex"));
const packers = { gzip: gzipSync, zstd: zstdCompressSync } as const;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-unpacked-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each(["gzip", "zstd"] as const)("%s", (compression) => {
  const packed = packers[compression](plain);

  test("comes back as it was", async () => {
    const path = join(folder, `whole.${compression}`);
    await writeFile(path, packed);
    const chunks: Buffer[] = [];
    for await (const chunk of unpackedBytes(path, compression)) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(plain)).toBe(true);
  });

  // Vitest fails the run on an error that nobody catches; streams that are composed emitted some here.
  test("stopped at any chunk, nothing is left that fails later", async () => {
    const path = join(folder, `left.${compression}`);
    await writeFile(path, packed);
    for (let stop = 1; stop < 40; stop++) {
      let seen = 0;
      for await (const chunk of unpackedBytes(path, compression, { highWaterMark: 16 * 1024 })) {
        expect(chunk.length).toBeGreaterThan(0);
        if (++seen >= stop) break;
      }
      expect(seen).toBeGreaterThan(0);
    }
  });

  test("a file that is cut ends in an error for the reader", async () => {
    const path = join(folder, `cut.${compression}`);
    for (const keep of [packed.length - 5, packed.length >> 1, 12]) {
      await writeFile(path, packed.subarray(0, keep));
      const read = async (): Promise<void> => {
        for await (const chunk of unpackedBytes(path, compression)) void chunk;
      };
      await expect(read()).rejects.toThrow(/unexpected end|truncated|incomplete/i);
    }
  });

  test("a file that is not there is an error for the reader", async () => {
    await expect(unpackedBytes(join(folder, "missing"), compression).next()).rejects.toMatchObject({ code: "ENOENT" });
  });
});
