import { MillraceError, suggestion, type Registry, type RegistryEntry, type Definition } from "../core/index.ts";

export const moduleKinds = ["sources", "stores", "sinks", "enrichers", "formats", "runners", "checks"] as const;
export type ModuleKind = (typeof moduleKinds)[number];

/** `source` and `sources` alike. Throws `usage`. */
export function parseKind(typed: string): ModuleKind {
  const kind = moduleKinds.find((name) => name === typed || name === `${typed}s`);
  if (kind !== undefined) return kind;
  throw new MillraceError("usage", `\`${typed}\` is not a kind of module`, { hint: suggestion(typed, moduleKinds) });
}

/** Throws `not-found` with the nearest name. */
export function findModule(registry: Registry, kind: ModuleKind, name: string): RegistryEntry<Definition> {
  const entries: Record<string, RegistryEntry<Definition>> = registry[kind];
  const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
  if (entry !== undefined) return entry;
  const elsewhere = moduleKinds.find((other) => Object.hasOwn(registry[other], name));
  throw new MillraceError("not-found", `there is no ${kind.slice(0, -1)} \`${name}\``, {
    hint:
      elsewhere === undefined
        ? suggestion(name, Object.keys(entries))
        : `there is a ${elsewhere.slice(0, -1)} of this name`,
  });
}
