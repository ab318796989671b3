import { suggestion, type Registry } from "../core/index.ts";
import { enrichSchema, flowProblems, type EnrichSpec } from "../pipeline/flow.ts";
import { formatPath, knownKeys, problemsOf, type Path, type Problem } from "./problems.ts";
import { hasReference } from "./references.ts";
import { commonCheckKeys, type Config } from "./schema.ts";

type FlowEntry = Config["flows"][string];
type CheckEntry = FlowEntry["checks"][number];

export function unknownName(kind: string, name: string, known: string[], path: Path): Problem {
  return { path, message: `\`${formatPath(path)}\`: there is no ${kind} \`${name}\``, hint: suggestion(name, known) };
}

/** What is wrong with one flow, as far as it can be known without its source. */
export async function validateFlow(
  name: string,
  flow: FlowEntry,
  config: Config,
  registry: Registry,
): Promise<Problem[]> {
  const path = ["flows", name];
  const problems: Problem[] = [];
  if (name.endsWith("__rejected") || flow.into?.endsWith("__rejected")) {
    problems.push({
      path,
      message: `\`${formatPath(path)}\`: names that end in \`__rejected\` are kept for rejected rows`,
      hint: "choose another name",
    });
  }
  for (const problem of flowProblems(flow)) {
    problems.push({ ...problem, path: [...path, ...problem.path], message: `flow \`${name}\`: ${problem.message}` });
  }
  problems.push(...fromProblems(flow, config, registry, [...path, "from"]));
  for (const [index, spec] of (flow.publish ?? []).entries()) {
    problems.push(...publishProblems(flow, spec, config, [...path, "publish", index]));
  }
  for (const [index, spec] of (flow.enrich ?? []).entries()) {
    problems.push(...(await enrichProblems(spec, [...path, "enrich", index], registry)));
  }
  for (const [index, check] of flow.checks.entries()) {
    problems.push(...(await checkProblems(check, [...path, "checks", index], registry)));
  }
  return problems;
}

function fromProblems({ from }: FlowEntry, config: Config, registry: Registry, path: Path): Problem[] {
  const problems: Problem[] = [];
  if (hasReference(from)) {
    problems.push({
      path,
      message: `\`${formatPath(path)}\` has a \`\${…:…}\` reference`,
      hint: "references work in `store` and `connections` only",
    });
  }
  if (from.connection !== undefined) {
    const place = [...path, "connection"];
    const spec = Object.hasOwn(config.connections, from.connection) ? config.connections[from.connection] : undefined;
    // The path of a store is where it is, not what to read of it.
    const ownPaths = spec?.source === undefined ? [] : [spec["path"], spec["paths"], spec["urls"]];
    if (spec === undefined) {
      problems.push(unknownName("connection", from.connection, Object.keys(config.connections), place));
    } else if (spec.source !== undefined && from.path !== undefined) {
      problems.push({
        path: [...path, "path"],
        message: "`from.path` is for files; with a source as `from.connection` use `from.stream`",
      });
    } else if (![from.path, from.stream, from.query, ...ownPaths].some((each) => each !== undefined)) {
      problems.push({
        path,
        message: `\`from.connection\` is \`${from.connection}\`, but neither \`from.stream\` nor \`from.query\` says what to read`,
        ...(spec.store === undefined ? {} : { hint: "`path: '**/*.parquet'` names objects of the store" }),
      });
    } else if (spec.source === undefined && spec.store === undefined) {
      problems.push({
        path: place,
        message: `the connection \`${from.connection}\` is neither a source nor a store`,
        hint: "`millrace list sources` shows what can be read",
      });
    }
  }
  if (from.features !== undefined && !Object.hasOwn(config.features, from.features)) {
    problems.push(
      unknownName("entry of `features`", from.features, Object.keys(config.features), [...path, "features"]),
    );
  }
  if (from.format !== undefined && !Object.hasOwn(registry.formats, from.format)) {
    problems.push(unknownName("format", from.format, Object.keys(registry.formats), [...path, "format"]));
  }
  return problems;
}

function publishProblems(
  { key }: FlowEntry,
  spec: NonNullable<FlowEntry["publish"]>[number],
  { connections }: Config,
  path: Path,
): Problem[] {
  const place = [...path, "connection"];
  const found = Object.hasOwn(connections, spec.connection) ? connections[spec.connection] : undefined;
  if (found === undefined) return [unknownName("connection", spec.connection, Object.keys(connections), place)];
  if (found.sink === undefined) {
    const hint = "`millrace list sinks` shows where copies can be published to";
    return [{ path: place, message: `the connection \`${spec.connection}\` is not a sink`, hint }];
  }
  if (spec.mode !== "merge" || (spec.key ?? key) !== undefined) return [];
  return [
    { path: [...path, "mode"], message: "`mode` is `merge`, but `key` does not say which columns identify a row" },
  ];
}

const commonEnrichKeys = Object.keys(enrichSchema.shape);

async function enrichProblems(spec: EnrichSpec, path: Path, registry: Registry): Promise<Problem[]> {
  const entry = Object.hasOwn(registry.enrichers, spec.enricher) ? registry.enrichers[spec.enricher] : undefined;
  if (entry === undefined) {
    return [unknownName("enricher", spec.enricher, Object.keys(registry.enrichers), [...path, "enricher"])];
  }
  const { options } = await entry.load();
  const own = Object.entries(spec).filter(([key]) => !commonEnrichKeys.includes(key));
  const parsed = options.safeParse(Object.fromEntries(own), { reportInput: true });
  return parsed.success ? [] : problemsOf(parsed.error, options, path, commonEnrichKeys);
}

async function checkProblems(check: CheckEntry, path: Path, registry: Registry): Promise<Problem[]> {
  const entry = Object.hasOwn(registry.checks, check.check) ? registry.checks[check.check] : undefined;
  if (entry === undefined) return [unknownName("check", check.check, Object.keys(registry.checks), [...path, "check"])];
  const definition = await entry.load();
  const own = knownKeys(definition.options);
  const options = Object.entries(check).filter(([key]) => !commonCheckKeys.includes(key) || own.includes(key));
  const parsed = definition.options.safeParse(Object.fromEntries(options), { reportInput: true });
  const problems = parsed.success ? [] : problemsOf(parsed.error, definition.options, path, commonCheckKeys);
  if (check.on_fail === "mask" && definition.capabilities.mask !== true) {
    problems.push({
      path: [...path, "on_fail"],
      message: `\`on_fail\` is \`mask\`, but the check \`${check.check}\` has nothing to mask`,
      hint: "use `warn`, `reject` or `fail`",
    });
  }
  if (check.on_fail === "reject" && !definition.capabilities.rows) {
    problems.push({
      path: [...path, "on_fail"],
      message: `\`on_fail\` is \`reject\`, but the check \`${check.check}\` is about all rows together`,
      hint: "use `warn` or `fail`",
    });
  }
  return problems;
}
