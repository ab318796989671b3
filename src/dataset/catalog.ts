import { type Column, MillraceError, type Store, suggestion } from "../core/index.ts";
import type { Catalog } from "./dataset.ts";
import { assignFieldIds } from "./types.ts";
import { loadNewest, publish } from "./iceberg/log.ts";
import { newMetadata } from "./iceberg/metadata.ts";
import { datasetOf, datasetOfLoaded } from "./open.ts";
import { Table } from "./table.ts";

/** Becomes a folder, so it is held to what every medium accepts. */
const datasetName = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,119}$/;

/** The built-in catalog: the dataset `orders` is the folder `orders` of the store. */
export function openCatalog(store: Store): Catalog {
  const assertName = (name: string): void => {
    if (datasetName.test(name)) return;
    throw new MillraceError("usage", `\`${name}\` cannot be the name of a dataset`, {
      hint: "a name has letters, digits, `_` and `-`, begins with no `-`, and is at most 120 long",
    });
  };
  const exists = async (name: string): Promise<boolean> => {
    if (!datasetName.test(name)) return false;
    for await (const entry of store.list(`${name}/metadata`)) if (isMetadata(entry.path)) return true;
    return false;
  };
  const list = async (): Promise<string[]> => {
    const names = new Set<string>();
    if (store.folders !== undefined) {
      for (const name of await store.folders()) if (await exists(name)) names.add(name);
      return [...names].sort();
    }
    for await (const entry of store.list("")) {
      const parts = entry.path.split("/");
      if (parts.length === 3 && parts[1] === "metadata" && isMetadata(entry.path)) names.add(parts[0]!);
    }
    return [...names].sort();
  };
  return {
    store,
    list,
    exists,
    async open(name) {
      const loaded = datasetName.test(name) ? await loadNewest(store, name) : undefined;
      if (loaded !== undefined) return datasetOfLoaded(new Table(name, store, name, loaded));
      throw new MillraceError("not-found", `there is no dataset \`${name}\` in \`${store.url}\``, {
        hint: suggestion(name, await list()),
        where: { dataset: name },
      });
    },
    async create(name: string, columns: readonly Column[]) {
      assertName(name);
      if (columns.length === 0) {
        throw new MillraceError("schema", `the dataset \`${name}\` would have no columns`, {
          where: { dataset: name },
        });
      }
      const metadata = newMetadata(store.uri(name), assignFieldIds(columns));
      const published = (await exists(name)) ? undefined : await publish(store, name, undefined, metadata);
      if (published === undefined) {
        throw new MillraceError("already-exists", `the dataset \`${name}\` exists already in \`${store.url}\``, {
          hint: "choose another name, or add to it with a flow",
          where: { dataset: name },
        });
      }
      return datasetOf(new Table(name, store, name, published));
    },
  };
}

function isMetadata(path: string): boolean {
  return /\.metadata\.json(?:\.gz)?$/.test(path);
}
