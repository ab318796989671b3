import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { moduleKinds, type ModuleKind } from "../../src/config/find.ts";
import type { Definition } from "../../src/core/index.ts";

export interface FoundModule {
  kind: ModuleKind;
  /** Import path from `src`: `./sources/files/index.ts`. */
  path: string;
  definition: Definition;
}

/** Files of a kind that may define a module: `<name>/index.ts`, for checks `<name>.ts`. */
async function candidates(source: string, kind: ModuleKind): Promise<{ name: string; path: string }[]> {
  const entries = await readdir(join(source, kind), { withFileTypes: true }).catch(() => []);
  return entries
    .flatMap((entry) => {
      if (entry.isDirectory()) {
        const path = `./${kind}/${entry.name}/index.ts`;
        return kind !== "checks" && existsSync(join(source, path)) ? [{ name: entry.name, path }] : [];
      }
      return kind === "checks" && entry.name.endsWith(".ts")
        ? [{ name: entry.name.slice(0, -3), path: `./checks/${entry.name}` }]
        : [];
    })
    .sort((left, right) => (left.name < right.name ? -1 : 1));
}

/** All modules, and a sentence for each that cannot be loaded or breaks the rules of a definition. */
export async function findModules(source: string): Promise<{ modules: FoundModule[]; failures: string[] }> {
  const modules: FoundModule[] = [];
  const failures: string[] = [];
  for (const kind of moduleKinds) {
    for (const { name, path } of await candidates(source, kind)) {
      let definition: Definition | undefined;
      try {
        const loaded = (await import(pathToFileURL(join(source, path)).href)) as { default?: Definition };
        definition = loaded.default;
      } catch (error) {
        failures.push(
          `src/${path.slice(2)} cannot be loaded: ${error instanceof Error ? error.message : String(error)}`,
        );
        continue;
      }
      // A shared helper beside the modules (`sources/sql`) has an index as well, but defines nothing.
      if (definition === undefined) continue;
      if (definition.kind !== kind.slice(0, -1)) {
        failures.push(
          `src/${path.slice(2)} has a default export that is not made by define${kind[0]!.toUpperCase()}${kind.slice(1, -1)}`,
        );
        continue;
      }
      if (definition.name !== name)
        failures.push(`src/${path.slice(2)} is named \`${definition.name}\`, but its place says \`${name}\``);
      modules.push({ kind, path, definition });
    }
  }
  return { modules, failures };
}
