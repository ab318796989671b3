import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Entry, Store, StoreDefinition } from "../../src/core/index.ts";
import fileSystem from "../../src/stores/fs/index.ts";
import { storeRules, type StoreContract } from "./store.ts";
import { brokenRules } from "./support/suite.ts";
import { plantIn } from "../support/store.ts";

/** The store of files with one promise broken. */
function broken(change: (store: Store) => Partial<Store>): StoreContract {
  const definition = {
    ...fileSystem,
    load: async () => ({
      open: async (options: { path: string }, context: { connection: string; folder: string }) => {
        const store = await (await fileSystem.load()).open(options, context);
        return { ...store, ...change(store) };
      },
    }),
  };
  return {
    name: "broken",
    plants: true,
    definition: definition as unknown as StoreDefinition,
    async start() {
      const folder = await mkdtemp(join(tmpdir(), "millrace-broken-"));
      return {
        options: { path: join(folder, "lake") },
        plant: plantIn(join(folder, "lake")),
        [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
      };
    },
  };
}

async function* firstOf(entries: AsyncIterable<Entry>, limit: number): AsyncGenerator<Entry> {
  let count = 0;
  for await (const entry of entries) if (count++ < limit) yield entry;
}

const mutants: [string, (store: Store) => Partial<Store>, string][] = [
  [
    "looks, and then writes",
    (store) => ({
      async write(path, bytes, options) {
        if (options?.ifAbsent) {
          const isThere = await store.read(path).then(
            () => true,
            () => false,
          );
          if (isThere) return store.write(path, bytes, options);
        }
        await new Promise((resolve) => setImmediate(resolve));
        return store.write(path, bytes, { ...options, ifAbsent: false, fresh: false });
      },
    }),
    "of many conditional creates exactly one wins, and its bytes stay",
  ],
  [
    "lists one page",
    (store) => ({ list: (prefix) => firstOf(store.list(prefix), 1000) }),
    "more objects than a page are each listed once, also while they are removed",
  ],
  [
    "reads less than asked for",
    (store) => ({
      async open(path) {
        const file = await store.open(path);
        return {
          ...file,
          read: (offset, length) => file.read(offset, Math.max(0, Math.min(length, file.size - offset))),
        };
      },
    }),
    "a range is exactly what was asked for, or an error; never less",
  ],
  [
    "takes a prefix for a text",
    (store) => ({
      async *list(prefix) {
        for await (const entry of store.list("")) if (entry.path.startsWith(prefix)) yield entry;
      },
    }),
    "a prefix is a folder: `a` is not `ab`",
  ],
  [
    "is silent about what it cannot read",
    (store) => ({ list: (prefix) => store.list(prefix) }),
    "what lies there and cannot be read through the store is told of by name, once, and nothing else is",
  ],
  [
    "writes in place",
    (store) => ({
      async write(path, bytes, options) {
        if (!options?.ifAbsent) await store.write(path, bytes.subarray(0, bytes.length / 2), { durable: false });
        return store.write(path, bytes, options);
      },
    }),
    "a reader sees the object before or after an overwrite, never a mixture",
  ],
];

test.each(mutants)("a store that %s is caught", async (_, change, rule) => {
  expect(await brokenRules((rules) => storeRules(broken(change), rules), [rule])).toEqual([rule]);
});
