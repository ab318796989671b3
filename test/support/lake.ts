import { loadConfig } from "../../src/config/index.ts";
import { openLake, type Lake } from "../../src/pipeline/index.ts";
import { registry } from "../../src/registry.ts";

/** The lake of the configuration in `folder`, opened in this process. */
export async function loadLake(folder: string): Promise<Lake> {
  return openLake(await loadConfig({ folder, registry }), registry);
}
