import { tmpdir } from "node:os";
import type { Store } from "../../src/core/index.ts";
import { registry } from "../../src/registry.ts";

/** A store that several processes of a test open: a module and its options. Survives JSON. */
export interface StoreChoice {
  module: "fs" | "s3";
  options: Record<string, unknown>;
}

export async function openStore({ module, options }: StoreChoice): Promise<Store> {
  const definition = await registry.stores[module]!.load();
  const driver = await definition.load();
  return driver.open(definition.options.parse(options), { connection: "lake", folder: tmpdir() });
}
