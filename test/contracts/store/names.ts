import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { isMillraceError, type Store } from "../../../src/core/index.ts";
import type { StoreBench } from "../store.ts";
import { collect, errorOf, textBytes, textOf } from "../support/observe.ts";
import { naughtyStrings } from "../support/names.ts";
import type { Rules } from "../support/suite.ts";

const outside = [
  "",
  "/",
  "/etc/passwd",
  "../up",
  "a/../b",
  "a/..",
  "..",
  ".",
  "a//b",
  "./a",
  "a/.",
  "a\\b",
  "a\0b",
  "a/",
];

/** Names that every store must keep apart: encodings of each other, spaces, dots, what shells and URLs give a meaning to. */
const plain = [
  "with space", " leading", "trailing ", "dot.", ".hidden", "...", "a=b", "a+b", "a&b", "a#b", "a?b", "a:b", "a;b", "a,b", "a~b",
  "a%2fb", "a%2eb", "%2e%2e", "%", "%zz", "a%20b", "a b", "'", '"', "`", "$HOME", "${x}", "{a,b}", "[a]", "*", "!", "(a)", "<a>", "|", "^",
  "é", "e\u0301", "日本語", "👩‍👩‍👧", "𐐷", "\u00a0", "İ", "ß", "UPPER", "upper", "-rf", "--", "con", "nul", "x.parquet",
]; // prettier-ignore

/** Names that a medium may refuse, as long as it says so. */
const odd = [
  "a\tb",
  "a\nb",
  "a\rb",
  "\u0001",
  "\u001b[31m",
  "\u007f",
  "\u0085",
  "\u202ertl",
  "\ufeff",
  "\ufffe",
  "\u200b",
];

/** A name is kept to the byte, or refused with a code; and none leads out of the store. */
export function nameRules(bench: StoreBench, { rule }: Rules): void {
  /** Writes under every name first, so that two names that fall together are seen. Gives the names that were taken. */
  const roundTrip = async (folder: string, names: readonly string[]): Promise<{ taken: string[]; codes: string[] }> => {
    const taken: string[] = [];
    const codes: string[] = [];
    for (const name of names) {
      try {
        const path = `${folder}/${name}/object`;
        expect((await bench.store.write(path, textBytes(name), { durable: false })).path).toBe(path);
        taken.push(name);
      } catch (error) {
        if (!isMillraceError(error)) throw error;
        codes.push(error.code);
      }
    }
    for (const name of taken) {
      expect(textOf(await bench.other.read(`${folder}/${name}/object`))).toBe(name);
      expect((await collect(bench.other.list(`${folder}/${name}`))).map(({ path }) => path)).toEqual([
        `${folder}/${name}/object`,
      ]);
    }
    const listed = (await collect(bench.other.list(folder))).map(({ path }) => path);
    expect(listed.toSorted()).toEqual(taken.map((name) => `${folder}/${name}/object`).toSorted());
    for (const name of taken) await bench.store.remove(`${folder}/${name}/object`);
    expect(await collect(bench.other.list(folder))).toEqual([]);
    return { taken, codes };
  };

  rule("ordinary names in all their spellings are kept apart", async () => {
    expect((await roundTrip("names", plain)).taken).toEqual(plain);
  });

  rule("naughty strings and control characters are kept, or refused with a code", async () => {
    const names = [...new Set([...odd, ...naughtyStrings()])].filter(
      (name) =>
        !/[/\\\0]/.test(name) &&
        !["", ".", ".."].includes(name) &&
        name.isWellFormed() &&
        Buffer.byteLength(name) < 256,
    );
    const { taken, codes } = await roundTrip("naughty", names);
    expect(codes.filter((code) => !["usage", "limit", "unsupported"].includes(code))).toEqual([]);
    expect(taken.length).toBeGreaterThan(names.length / 2);
  });

  rule("a path of 1,024 bytes is kept or refused with a code, one of 700 is kept", async () => {
    for (const [bytes, mustFit] of [
      [700, true],
      [1024, false],
    ] as const) {
      // Components stay below the 255 bytes that file systems allow; every second character has two bytes.
      const path = Array.from({ length: bytes / 100 + 1 }, () => "aé".repeat(33))
        .join("/")
        .slice(0, bytes);
      let fitted = path;
      while (Buffer.byteLength(fitted) > bytes) fitted = fitted.slice(0, -1);
      fitted = fitted.replace(/\/$/, "x");
      const outcome: unknown = await bench.store.write(fitted, textBytes("long")).catch((error: unknown) => error);
      if (isMillraceError(outcome) && !mustFit) {
        expect(["limit", "usage"]).toContain(outcome.code);
        continue;
      }
      expect(outcome).toMatchObject({ path: fitted, size: 4 });
      expect(textOf(await bench.other.read(fitted))).toBe("long");
      expect((await collect(bench.other.list(fitted.split("/")[0]!))).map(({ path: found }) => found)).toContain(
        fitted,
      );
      await bench.store.remove(fitted);
    }
    const endless = await errorOf(() => bench.store.write("x".repeat(5_000), textBytes("x")));
    expect(["limit", "usage"]).toContain(endless.code);
  });

  rule("a path that is not one of the store is refused everywhere, before anything happens", async () => {
    const local = join(bench.folder, "stays.bin");
    await writeFile(local, "stays");
    const before = (await collect(bench.store.list(""))).length;
    const calls: [string, (store: Store, path: string) => Promise<unknown>][] = [
      ["write", (store, path) => store.write(path, textBytes("x"))],
      ["create", (store, path) => store.write(path, textBytes("x"), { ifAbsent: true })],
      ["fresh", (store, path) => store.write(path, textBytes("x"), { fresh: true })],
      ["read", (store, path) => store.read(path)],
      ["open", (store, path) => store.open(path)],
      ["remove", (store, path) => store.remove(path)],
      ["adopt", (store, path) => store.adopt(local, path)],
    ];
    for (const path of outside) {
      for (const [what, call] of calls) {
        const outcome: unknown = await call(bench.store, path).catch((error: unknown) => error);
        const code = isMillraceError(outcome) ? outcome.code : `no MillraceError: ${String(outcome)}`;
        expect(`${what} ${JSON.stringify(path)}: ${code}`).toBe(`${what} ${JSON.stringify(path)}: usage`);
      }
    }
    for (const prefix of ["..", "../", "a/../..", "/etc", "a\0b"]) {
      expect((await errorOf(() => collect(bench.store.list(prefix)))).code).toBe("usage");
    }
    expect((await collect(bench.store.list(""))).length).toBe(before);
    expect(await bench.store.adopt(local, "adopted-after-all")).toMatchObject({ size: 5 });
  });
}
