import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Registry, Store } from "../../src/core/index.ts";
import { registry as real } from "../../src/registry.ts";

/** Puts something into a folder that a store holds, under a name that the store would not take; `link` is a link. False: it cannot be. */
export function plantIn(root: string): (name: string) => Promise<boolean> {
  return async (name) => {
    // A file system has no name for these: it would find another file.
    if (name.split("/").some((part) => ["", ".", ".."].includes(part)) || name.includes("control")) return false;
    const file = join(root, name);
    await mkdir(dirname(file), { recursive: true });
    if (name.endsWith("link")) await symlink("plain", file);
    else await writeFile(file, "strange");
    return true;
  };
}

type Call = "write" | "adopt" | "remove";

/** The store, but `before` runs before each call that changes it, and `read` before each that reads; what they throw is thrown. */
export function watched(
  store: Store,
  before: (call: Call, path: string, bytes?: Uint8Array) => void | Promise<void>,
  read: (path: string) => void | Promise<void> = () => undefined,
): Store {
  return {
    ...store,
    async write(path, bytes, options) {
      await before("write", path, bytes);
      return store.write(path, bytes, options);
    },
    async adopt(file, path) {
      await before("adopt", path);
      return store.adopt(file, path);
    },
    async remove(path) {
      await before("remove", path);
      return store.remove(path);
    },
    async read(path) {
      await read(path);
      return store.read(path);
    },
    async open(path) {
      await read(path);
      return store.open(path);
    },
  };
}

/** The store as one that is not on this machine: its objects have no local name. */
export function elsewhere(store: Store): Store {
  const remote: Store = { ...store, uri: (path) => `elsewhere://lake/${path}` };
  delete remote.local;
  return remote;
}

/** The registry, with every store of the module passed through `wrap`. */
export function registryWithStore(wrap: (store: Store) => Store, module = "fs"): Registry {
  const entry = real.stores[module]!;
  return {
    ...real,
    stores: {
      ...real.stores,
      [module]: {
        ...entry,
        load: async () => {
          const definition = await entry.load();
          return {
            ...definition,
            load: async () => {
              const driver = await definition.load();
              return { ...driver, open: async (options, context) => wrap(await driver.open(options, context)) };
            },
          };
        },
      },
    },
  };
}
