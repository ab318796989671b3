import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import type { StoreBench } from "../store.ts";
import { collect, errorOf, noise, textBytes, textOf } from "../support/observe.ts";
import type { Rules } from "../support/suite.ts";

const mebibyte = 1024 * 1024;
/** Around the sizes at which stores change how they write: one block, a part of a multipart upload (5 MiB), several. */
const sizes = [0, 1, 4096, 256 * 1024 + 1, 5 * mebibyte, 5 * mebibyte + 1, 17 * mebibyte + 3];

/** Bytes come back as they went in: whole, in ranges, at once, to everybody. */
export function bytesRules(bench: StoreBench, { rule, ruleIf }: Rules): void {
  const archive = bench.contract.definition.capabilities.archive
    ? "objects must be restored before they are read"
    : undefined;

  rule("check passes and leaves nothing behind", async () => {
    const before = await collect(bench.store.list(""));
    await bench.store.check();
    await bench.store.check(new AbortController().signal);
    expect(await collect(bench.store.list(""))).toEqual(before);
    expect((await errorOf(() => bench.store.check(AbortSignal.abort()))).code).toBe("aborted");
  });

  ruleIf(archive, "objects of every size come back as they were, to every handle at once", async () => {
    for (const [index, size] of sizes.entries()) {
      const bytes = noise(size, index);
      const path = `sizes/${size}.bin`;
      const entry = await bench.store.write(path, bytes);
      expect(entry).toMatchObject({ path, size });
      expect(entry.modified).toBeGreaterThan(Date.UTC(2000));
      for (const store of [bench.store, bench.other]) {
        expect(Buffer.compare(await store.read(path), bytes)).toBe(0);
        await using file = await store.open(path);
        expect(file.size).toBe(size);
        expect(Buffer.compare(await file.read(0, size), bytes)).toBe(0);
      }
    }
    const listed = await collect(bench.other.list("sizes"));
    expect(listed.map(({ path, size }) => `${path} ${size}`).toSorted()).toEqual(
      sizes.map((size) => `sizes/${size}.bin ${size}`).toSorted(),
    );
  });

  ruleIf(archive, "a view of a larger buffer is written without its surroundings", async () => {
    const whole = noise(100_000);
    await bench.store.write("view", whole.subarray(1_000, 51_000));
    expect(Buffer.compare(await bench.other.read("view"), whole.subarray(1_000, 51_000))).toBe(0);
  });

  ruleIf(archive, "a range is exactly what was asked for, or an error; never less", async () => {
    const size = 6 * mebibyte;
    const bytes = noise(size);
    await bench.store.write("ranges", bytes);
    await using file = await bench.store.open("ranges");
    const ranges: [offset: number, length: number][] = [
      [0, 0],
      [0, 1],
      [size - 1, 1],
      [size, 0],
      [1, size - 2],
      [5 * mebibyte - 1, 2],
      [12_345, 300_000],
    ];
    const read = async ([offset, length]: [number, number]): Promise<void> => {
      expect(Buffer.compare(await file.read(offset, length), bytes.subarray(offset, offset + length))).toBe(0);
    };
    for (const range of ranges) await read(range);
    await Promise.all(ranges.flatMap((range) => [read(range), read(range), read(range)]));
    for (const [offset, length] of [
      [size, 1],
      [size - 10, 11],
      [size + 1_000_000, 5],
      [0, size + 1],
    ] as const) {
      const error = await errorOf(() => file.read(offset, length));
      expect(`${offset}+${length}: ${error.code}`).toBe(`${offset}+${length}: corrupt`);
    }
    await using empty = await bench.store.write("empty", new Uint8Array()).then(() => bench.store.open("empty"));
    expect((await empty.read(0, 0)).byteLength).toBe(0);
    expect((await errorOf(() => empty.read(0, 1))).code).toBe("corrupt");
  });

  ruleIf(archive, "a read that the caller stops ends with `aborted`", async () => {
    await bench.store.write("stopped", noise(8 * mebibyte));
    await using file = await bench.store.open("stopped");
    const before = await errorOf(() => file.read(0, 1000, AbortSignal.abort()));
    expect(before.code).toBe("aborted");
    const controller = new AbortController();
    const reading = file.read(0, file.size, controller.signal);
    controller.abort();
    // It may have been done already; it may not be short or hang.
    const outcome: unknown = await reading.catch((error: unknown) => error);
    if (outcome instanceof Uint8Array) expect(outcome.byteLength).toBe(file.size);
    else expect(outcome).toMatchObject({ code: "aborted" });
    expect((await file.read(5, 5)).byteLength).toBe(5);
  });

  ruleIf(archive, "a write replaces, and `ifAbsent` does not", async () => {
    await bench.store.write("replaced", textBytes("first"));
    await bench.store.write("replaced", textBytes("second, longer"));
    expect(textOf(await bench.other.read("replaced"))).toBe("second, longer");
    const lost = await errorOf(() => bench.other.write("replaced", textBytes("third"), { ifAbsent: true }));
    expect(lost).toMatchObject({ code: "already-exists", temporary: false });
    expect(textOf(await bench.store.read("replaced"))).toBe("second, longer");
    await bench.store.write("replaced", textBytes("4"));
    expect(textOf(await bench.other.read("replaced"))).toBe("4");
    await bench.store.remove("replaced");
    await bench.other.write("replaced", textBytes("fifth"), { ifAbsent: true });
    expect(textOf(await bench.store.read("replaced"))).toBe("fifth");
  });

  ruleIf(archive, "what need not be durable, or has a new name, is read like everything else", async () => {
    for (const options of [{ durable: false }, { fresh: true }, { durable: false, fresh: true }, { durable: true }]) {
      const path = `options/${JSON.stringify(options).replaceAll(/\W+/g, "-")}x/object`;
      expect(await bench.store.write(path, noise(70_000), options)).toMatchObject({ path, size: 70_000 });
      expect(Buffer.compare(await bench.other.read(path), noise(70_000))).toBe(0);
    }
  });

  ruleIf(archive, "adopt moves a local file in", async () => {
    for (const size of [0, 1000, 9 * mebibyte]) {
      const outside = join(bench.folder, `outside-${size}.bin`);
      await writeFile(outside, noise(size));
      const path = `adopted/deep/${size}`;
      expect(await bench.store.adopt(outside, path)).toMatchObject({ path, size });
      expect(existsSync(outside)).toBe(false);
      expect(Buffer.compare(await bench.other.read(path), noise(size))).toBe(0);
    }
    const second = join(bench.folder, "second.bin");
    await writeFile(second, "replacement");
    await bench.store.adopt(second, "adopted/deep/0");
    expect(textOf(await bench.other.read("adopted/deep/0"))).toBe("replacement");
    const absent = await errorOf(() => bench.store.adopt(join(bench.folder, "absent"), "adopted/absent"));
    expect(absent.code).toBe("not-found");
    expect((await errorOf(() => bench.store.open("adopted/absent"))).code).toBe("not-found");
  });

  rule("uri is absolute and tells paths apart; local, where there is one, leads to the bytes", async () => {
    const { store } = bench;
    expect(store.url).not.toMatch(/\/$/);
    expect(store.uri("")).toBe(store.url);
    const paths = ["a", "a/b", "a b", "a%20b", "é", "e\u0301", "a+b", "a#b", "a?b"];
    const names = paths.map((path) => store.uri(path));
    expect(new Set(names).size).toBe(paths.length);
    expect(names.filter((name) => !name.startsWith(`${store.url}/`))).toEqual([]);
    expect(bench.other.uri("a/b")).toBe(store.uri("a/b"));
    expect(store.local !== undefined).toBe(bench.contract.definition.capabilities.local);
    if (!store.local) return;
    await store.write("local/file", textBytes("here"));
    expect(readFileSync(store.local("local/file"), "utf8")).toBe("here");
    expect(await store.adopt(store.local("local/file"), "local/file")).toMatchObject({ size: 4 });
    expect(textOf(await store.read("local/file"))).toBe("here");
  });
}
