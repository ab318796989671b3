import { expect } from "vitest";
import { forEachLimited } from "../../../src/core/index.ts";
import type { StoreBench } from "../store.ts";
import { collect, errorOf, textBytes, textOf } from "../support/observe.ts";
import type { Rules } from "../support/suite.ts";

/** More than the 1,000 that object stores put on one page of a listing. */
const many = 1_050;

/** What other programs may have left: keys that are no paths, names that cannot be written in a listing, links. */
const strangeNames = [
  "sub//double",
  "//leading",
  "back\\slash",
  "sub/back\\slash/below",
  "a/../dots",
  "./dot",
  "..",
  "control\u0001",
  "link",
];

/** What is there is listed once, what is not there is not found, and a folder is only itself. */
export function listingRules(bench: StoreBench, { rule, ruleIf }: Rules): void {
  const pathsBelow = async (prefix: string): Promise<string[]> =>
    (await collect(bench.other.list(prefix))).map(({ path }) => path).toSorted();
  const writeAll = (paths: readonly string[]): Promise<void> =>
    forEachLimited(paths, 32, async (path) => {
      await bench.store.write(path, textBytes("x"), { durable: false, fresh: true });
    });

  rule("more objects than a page are each listed once, also while they are removed", async () => {
    const paths = Array.from({ length: many }, (_, index) => `pages/${index % 3}/object-${index}`);
    await writeAll(paths);
    expect(await pathsBelow("pages")).toEqual(paths.toSorted());
    const seen: string[] = [];
    for await (const { path, size, modified } of bench.store.list("pages")) {
      expect([size, modified > 0]).toEqual([1, true]);
      seen.push(path);
      await bench.store.remove(path);
    }
    expect(seen.toSorted()).toEqual(paths.toSorted());
    expect(await pathsBelow("pages")).toEqual([]);
  });

  rule("a prefix is a folder: `a` is not `ab`", async () => {
    await writeAll([
      "prefix/a/one",
      "prefix/a/b/two",
      "prefix/ab/three",
      "prefix/a-b/four",
      "prefix/a.b",
      "prefix/A/five",
    ]);
    expect(await pathsBelow("prefix/a")).toEqual(["prefix/a/b/two", "prefix/a/one"]);
    expect(await pathsBelow("prefix/a/")).toEqual(["prefix/a/b/two", "prefix/a/one"]);
    expect(await pathsBelow("prefix/ab")).toEqual(["prefix/ab/three"]);
    expect(await pathsBelow("prefix/a/o")).toEqual([]);
    expect(await pathsBelow("pref")).toEqual([]);
    expect(await pathsBelow("absent/folder")).toEqual([]);
    const everything = await pathsBelow("");
    expect(everything.filter((path) => path.startsWith("prefix/"))).toHaveLength(6);
    expect(everything).toEqual([...new Set(everything)]);
  });

  ruleIf(
    bench.contract.definition.capabilities.local ? "a folder below the root is an fsync on a disk" : undefined,
    "more folders than a page are each named once",
    async () => {
      if (!bench.store.folders) return;
      const names = Array.from({ length: many }, (_, index) => `folder-${index}`);
      await writeAll(names.map((name) => `${name}/object`));
      const found = (await bench.store.folders()).filter((name) => name.startsWith("folder-"));
      expect(found.toSorted()).toEqual(names.toSorted());
      await forEachLimited(names, 32, (name) => bench.store.remove(`${name}/object`));
    },
  );

  ruleIf(
    bench.contract.plants === true ? undefined : "the subject cannot plant what others left behind",
    "what lies there and cannot be read through the store is told of by name, once, and nothing else is",
    async () => {
      await writeAll(["strange/plain", "strange/sub/folder/plain"]);
      const planted: string[] = [];
      for (const name of strangeNames)
        if (await bench.subject.plant!(`strange/${name}`)) planted.push(`strange/${name}`);
      expect(planted.length).toBeGreaterThan(0);
      const listing = async (prefix: string): Promise<{ paths: string[]; told: string[] }> => {
        const told: string[] = [];
        const entries = await collect(
          bench.store.list(prefix, ({ name, size, modified, why }) => {
            expect([typeof size, typeof modified, why.length > 10]).toEqual(["number", "number", true]);
            told.push(name);
          }),
        );
        return { paths: entries.map(({ path }) => path).toSorted(), told: told.toSorted() };
      };
      expect(await listing("strange")).toEqual({
        paths: ["strange/plain", "strange/sub/folder/plain"],
        told: planted.toSorted(),
      });
      expect((await listing("strange/sub")).told).toEqual(
        planted.filter((name) => name.startsWith("strange/sub/")).toSorted(),
      );
      expect((await listing("")).told).toEqual(planted.toSorted());
      for (const name of planted) {
        expect(["usage", "unsupported", "permission"]).toContain((await errorOf(() => bench.store.read(name))).code);
      }
    },
  );

  rule("folders are those right below the root, and no objects", async () => {
    if (!bench.store.folders) return;
    await writeAll(["top-folder/deep/object", "top-other/object", "top-object"]);
    const found = (await bench.store.folders()).filter((name) => name.startsWith("top-"));
    expect(found.toSorted()).toEqual(["top-folder", "top-other"]);
  });

  rule("what was removed is gone for everybody, and what is absent is not found", async () => {
    await bench.store.write("gone/one", textBytes("1"));
    await bench.store.write("gone/two", textBytes("2"));
    await bench.store.remove("gone/one");
    for (const store of [bench.other, bench.store]) {
      for (const path of ["gone/one", "gone/never", "never/there", "gone"]) {
        const read = await errorOf(() => store.read(path));
        expect(`${path}: ${read.code}`).toBe(`${path}: not-found`);
        expect((await errorOf(() => store.open(path))).code).toBe("not-found");
        expect(read.message + JSON.stringify(read.where)).toContain(path);
      }
    }
    expect(await pathsBelow("gone")).toEqual(["gone/two"]);
    await bench.store.remove("gone/one");
    await bench.store.remove("never/there");
    // Below an object there is nothing either.
    await bench.store.remove("gone/two/below");
    expect((await errorOf(() => bench.store.read("gone/two/below"))).code).toBe("not-found");
    expect(textOf(await bench.other.read("gone/two"))).toBe("2");
  });
}
