import * as z from "zod";
import { isMillraceError, resolveReferences, type ErrorPlace } from "../core/index.ts";
import { schemaAt, type Path } from "./problems.ts";

const anyReference = /\$\{[a-z-]+:[^}]*\}/;

export function hasReference(value: unknown): boolean {
  if (typeof value === "string") return anyReference.test(value);
  if (Array.isArray(value)) return value.some(hasReference);
  if (typeof value === "object" && value !== null) return Object.values(value).some(hasReference);
  return false;
}

/** Numbers and booleans that came as text, because the environment knows nothing else. */
function convert(text: string, schema: z.core.$ZodType | undefined): unknown {
  if (schema instanceof z.ZodNumber && text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
  if (schema instanceof z.ZodBoolean && (text === "true" || text === "false")) return text === "true";
  return text;
}

/**
 * `options` with every `${env:NAME}` and `${file:path}` replaced, at any depth; what they yield is registered as secret.
 * Throws `config` with `where` when a reference cannot be resolved.
 */
export async function resolveOptions(
  options: Record<string, unknown>,
  schema: z.ZodType,
  folder: string,
  where: (path: Path) => ErrorPlace,
): Promise<Record<string, unknown>> {
  const resolve = async (value: unknown, path: Path): Promise<unknown> => {
    if (typeof value === "string") {
      if (!anyReference.test(value)) return value;
      try {
        return convert(await resolveReferences(value, folder), schemaAt(schema, path));
      } catch (error) {
        throw isMillraceError(error) ? error.at(where(path)) : error;
      }
    }
    if (Array.isArray(value)) return Promise.all(value.map((item, index) => resolve(item, [...path, index])));
    if (typeof value === "object" && value !== null) {
      const entries = Object.entries(value).map(
        async ([key, item]) => [key, await resolve(item, [...path, key])] as const,
      );
      return Object.fromEntries(await Promise.all(entries));
    }
    return value;
  };
  return (await resolve(options, [])) as Record<string, unknown>;
}
