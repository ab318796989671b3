import { readFile } from "node:fs/promises";
import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";
import { isMap, isPair, isScalar, isSeq, LineCounter, parseDocument, type Document, type Node } from "yaml";
import { messageOf, MillraceError } from "../core/index.ts";
import { asConfigError, type Path, type Problem } from "./problems.ts";

/** A configuration as it was written, and where each key of it stands. */
export interface ConfigDocument {
  value: unknown;
  /** Line of a key, counted from 1; of the nearest key above it when it has none. Undefined for TypeScript. */
  lineOf(path: Path): number | undefined;
}

const maximumBytes = 8 * 1024 * 1024;

/** Reads a YAML file, or imports a module and takes its default export. Throws `config` with file and line. */
export async function readDocument(file: string): Promise<ConfigDocument> {
  return /\.[mc]?[jt]s$/.test(file) ? importDocument(file) : parseYaml(await readText(file), file);
}

async function readText(file: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (cause) {
    throw new MillraceError("config", `the configuration cannot be read: ${messageOf(cause)}`, {
      cause,
      where: { file },
    });
  }
  if (bytes.length > maximumBytes) {
    throw new MillraceError("config", `the configuration has ${bytes.length} bytes; at most ${maximumBytes} are read`, {
      where: { file },
      hint: "name the file that is the configuration with `--config`",
    });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new MillraceError("config", "the configuration is not UTF-8 text", {
      cause,
      where: { file },
      hint: "save it as UTF-8",
    });
  }
}

export function parseYaml(text: string, file: string): ConfigDocument {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, merge: true, prettyErrors: false });
  if (document.errors.some((error) => error.message.includes("call stack"))) {
    throw new MillraceError("config", "the configuration is nested too deep to be read", { where: { file } });
  }
  if (document.errors.length > 0) {
    const problems = document.errors.map((error): Problem => {
      const line = lines.linePos(error.pos[0]).line;
      return { path: [], line, message: error.message.replaceAll(/\s+/g, " ") };
    });
    throw asConfigError(problems, file);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 1000 });
  } catch (cause) {
    throw new MillraceError("config", `the configuration is not valid YAML: ${messageOf(cause)}`, {
      cause,
      where: { file },
    });
  }
  return { value, lineOf: (path) => lineOf(document, lines, path) };
}

function lineOf(document: Document.Parsed, lines: LineCounter, path: Path): number | undefined {
  let node: Node | null = document.contents;
  let offset = node?.range?.[0];
  for (const step of path) {
    if (isMap(node)) {
      const pair: unknown = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
      if (!isPair(pair)) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value as Node | null;
    } else if (isSeq(node)) {
      const item = node.items[Number(step)] as Node | undefined;
      if (item === undefined) break;
      offset = item.range?.[0] ?? offset;
      node = item;
    } else break;
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

/** The entry of this package: what `import … from "millrace"` means in a configuration, wherever Millrace is installed. */
const packageEntry = new URL(import.meta.url.endsWith(".ts") ? "../index.ts" : "../index.js", import.meta.url).href;

async function importDocument(file: string): Promise<ConfigDocument> {
  const hooks = registerHooks({
    resolve: (specifier, context, next) =>
      specifier === "millrace" ? { url: packageEntry, shortCircuit: true } : next(specifier, context),
  });
  let loaded: { default?: unknown };
  try {
    loaded = (await import(pathToFileURL(file).href)) as { default?: unknown };
  } catch (cause) {
    throw new MillraceError("config", `the configuration cannot be loaded: ${messageOf(cause)}`, {
      cause,
      where: { file },
      hint: "Node strips types and does no more: use no `enum`, no `namespace`, and give imports their file ending",
    });
  } finally {
    hooks.deregister();
  }
  if (loaded.default === undefined) {
    throw new MillraceError("config", "the configuration has no default export", {
      where: { file },
      hint: 'export default defineConfig({ store: "./lake", … })',
    });
  }
  return { value: loaded.default, lineOf: () => undefined };
}
