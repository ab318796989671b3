import { suggestion, type CheckDefinition, type Registry, type RegistryEntry } from "../core/index.ts";
import { flowProblems, type CheckSpec } from "../pipeline/flow.ts";
import { formatPath, problemsOf, type Path, type Problem } from "./problems.ts";
import { hasReference } from "./references.ts";
import { configSchema, type Config } from "./schema.ts";
import type * as z from "zod";

type Options = Record<string, unknown>;

export interface ConnectionSpec {
  kind: "source" | "store";
  type: string;
  options: Options;
  /** The module's own schema of the options. */
  schema: z.ZodType;
}

export interface Validated {
  store: { type: string; options: Options; schema: z.ZodType };
  connections: Record<string, ConnectionSpec>;
  config: Config;
}

/** The built-in store that a plain path means. */
const folderStore = "fs";

/** A value of a reference is not known yet, so what is said about it is not a problem yet. */
function withoutReferences(problems: Problem[], options: Options, base: Path): Problem[] {
  return problems.filter((problem) => {
    let value: unknown = options;
    for (const step of problem.path.slice(base.length)) {
      value =
        typeof value === "object" && value !== null ? (value as Record<string | number, unknown>)[step] : undefined;
    }
    return !hasReference(value);
  });
}

function unknownName(kind: string, name: string, known: string[], path: Path): Problem {
  return { path, message: `\`${formatPath(path)}\`: there is no ${kind} \`${name}\``, hint: suggestion(name, known) };
}

/** Checks everything that can be known without a connection and without a secret. Returns what was found, never throws. */
export async function validate(
  value: unknown,
  registry: Registry,
): Promise<{ problems: Problem[]; validated: Validated | undefined }> {
  const result = configSchema.safeParse(value, { reportInput: true });
  if (!result.success) return { problems: problemsOf(result.error, configSchema), validated: undefined };
  const config = result.data;
  const problems: Problem[] = [];

  const moduleOptions = async <Definition extends { options: z.ZodType }>(
    kind: string,
    entries: Record<string, RegistryEntry<Definition>>,
    name: string,
    options: Options,
    path: Path,
    namePath: Path,
  ): Promise<Definition | undefined> => {
    const entry = Object.hasOwn(entries, name) ? entries[name] : undefined;
    if (entry === undefined) {
      problems.push(unknownName(kind, name, Object.keys(entries), namePath));
      return undefined;
    }
    const definition = await entry.load();
    const parsed = definition.options.safeParse(options, { reportInput: true });
    if (!parsed.success)
      problems.push(...withoutReferences(problemsOf(parsed.error, definition.options, path), options, path));
    return definition;
  };

  const store = await validateStore(config.store, registry, problems, moduleOptions);
  const connections: Record<string, ConnectionSpec> = {};
  for (const [name, { source, store: storeType, ...options }] of Object.entries(config.connections)) {
    const path = ["connections", name];
    if ((source === undefined) === (storeType === undefined)) {
      problems.push({
        path,
        message: `\`connections.${name}\` must have either \`source\` or \`store\``,
        hint: "`millrace list sources` shows what can be read",
      });
      continue;
    }
    const kind = source === undefined ? "store" : "source";
    const type = (source ?? storeType)!;
    const definition = await (kind === "source"
      ? moduleOptions("source", registry.sources, type, options, path, [...path, kind])
      : moduleOptions("store", registry.stores, type, options, path, [...path, kind]));
    if (definition !== undefined) connections[name] = { kind, type, options, schema: definition.options };
  }

  for (const [name, flow] of Object.entries(config.flows)) {
    const path = ["flows", name];
    if (name.endsWith("__rejected") || flow.into?.endsWith("__rejected")) {
      problems.push({
        path,
        message: `\`${formatPath(path)}\`: names that end in \`__rejected\` are kept for rejected rows`,
      });
    }
    for (const problem of flowProblems(flow))
      problems.push({ ...problem, path: [...path, ...problem.path], message: `flow \`${name}\`: ${problem.message}` });
    if (hasReference(flow.from)) {
      problems.push({
        path: [...path, "from"],
        message: `\`${formatPath([...path, "from"])}\` has a \`\${…:…}\` reference`,
        hint: "references work in `store` and `connections` only",
      });
    }
    const connection = flow.from.connection;
    if (connection !== undefined) {
      const spec = Object.hasOwn(config.connections, connection) ? config.connections[connection] : undefined;
      const fromPath = [...path, "from", "connection"];
      if (spec === undefined)
        problems.push(unknownName("connection", connection, Object.keys(config.connections), fromPath));
      else if (spec.source === undefined) {
        problems.push({
          path: fromPath,
          message: `the connection \`${connection}\` is not a source`,
          hint: "`millrace list sources` shows what can be read",
        });
      }
    }
    const format = flow.from.format;
    if (format !== undefined && !Object.hasOwn(registry.formats, format)) {
      problems.push(unknownName("format", format, Object.keys(registry.formats), [...path, "from", "format"]));
    }
    for (const [index, check] of flow.checks.entries()) {
      const checkPath = [...path, "checks", index];
      const definition = await moduleOptions("check", registry.checks, check.check, optionsOf(check), checkPath, [
        ...checkPath,
        "check",
      ]);
      if (
        definition !== undefined &&
        check.on_fail === "reject" &&
        !(definition as CheckDefinition).capabilities.rows
      ) {
        problems.push({
          path: [...checkPath, "on_fail"],
          message: `\`on_fail\` is \`reject\`, but the check \`${check.check}\` is not about single rows`,
          hint: "use `warn` or `fail`",
        });
      }
    }
  }
  return {
    problems,
    validated: problems.length === 0 && store !== undefined ? { store, connections, config } : undefined,
  };
}

/** The keys of a check that are its own. */
function optionsOf({
  check: _check,
  on_fail: _onFail,
  max: _max,
  max_share: _maxShare,
  ...options
}: CheckSpec): Options {
  return options;
}

async function validateStore(
  store: Config["store"],
  registry: Registry,
  problems: Problem[],
  moduleOptions: <Definition extends { options: z.ZodType }>(
    kind: string,
    entries: Record<string, RegistryEntry<Definition>>,
    name: string,
    options: Options,
    path: Path,
    namePath: Path,
  ) => Promise<Definition | undefined>,
): Promise<Validated["store"] | undefined> {
  let type = folderStore;
  let options: Options;
  let namePath: Path = ["store"];
  if (typeof store === "string") {
    const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(store)?.[1];
    if (scheme !== undefined && scheme !== "file") {
      problems.push(unknownName("store for addresses of", `${scheme}://`, Object.keys(registry.stores), namePath));
      return undefined;
    }
    options = { path: scheme === "file" ? decodeURIComponent(new URL(store).pathname) : store };
  } else {
    ({ store: type, ...options } = store);
    namePath = ["store", "store"];
  }
  const definition = await moduleOptions("store", registry.stores, type, options, ["store"], namePath);
  return definition === undefined ? undefined : { type, options, schema: definition.options };
}
