import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const source = join(root, "src");

/** Folders of modules: they know the core, the sandbox for hostile bytes, protocols that several of them speak, and nothing else of Millrace. */
const moduleKinds = ["sources", "stores", "sinks", "enrichers", "formats", "runners", "checks"];
/** What a folder may import besides itself. Imports point one way only (DESIGN.md §7). */
const allowed: Record<string, string[]> = {
  core: [],
  sandbox: ["core"],
  engine: ["core", "sandbox"],
  dataset: ["core", "engine"],
  quality: ["core", "engine", "dataset"],
  media: ["core"],
  inbox: ["core"],
  pipeline: ["core", "engine", "dataset", "quality", "feed", "lookup", "inbox", "media"],
  feed: ["core", "sandbox", "engine", "dataset", "quality"],
  lookup: ["core", "engine", "dataset", "quality", "feed"],
  advisor: ["core", "engine", "dataset", "quality"],
  config: ["core", "pipeline"],
  server: [
    "core",
    "inbox",
    "engine",
    "dataset",
    "quality",
    "pipeline",
    "feed",
    "lookup",
    "advisor",
    "config",
    "registry.ts",
  ],
  cli: [
    "core",
    "engine",
    "dataset",
    "quality",
    "pipeline",
    "feed",
    "lookup",
    "advisor",
    "config",
    "server",
    "inbox",
    "registry.ts",
  ],
  "registry.ts": ["core", ...moduleKinds],
  "index.ts": ["core", "dataset", "engine", "quality", "pipeline", "feed", "config", "registry.ts"],
  protocols: ["core", "inbox"],
  ...Object.fromEntries(moduleKinds.map((kind) => [kind, ["core", "sandbox", "protocols"]])),
  sources: ["core", "sandbox", "protocols", "inbox"],
};
/** What goes against the direction, each with its reason. */
const exceptions = [
  // Reading files is reading formats: their definitions, one by one, never their drivers.
  { from: /^sources\/files\/formats\.ts$/, to: /^formats\/[^/]+\/index\.ts$/, typeOnly: false },
  { from: /^sources\/(camera|kinesis-video)\/driver\.ts$/, to: /^formats\/video\/index\.ts$/, typeOnly: false },
  // What is fetched from an imaging archive is read as files of DICOM are, and its attributes have the names of the dictionary.
  { from: /^sources\/dicomweb\//, to: /^formats\/dicom\/(index|dictionary)\.ts$/, typeOnly: false },
  // What a service has exported lies in a bucket.
  { from: /^sources\/cloudwatch-logs\/backfill\.ts$/, to: /^stores\/s3\/index\.ts$/, typeOnly: false },
  // Messages are read as records of files are.
  { from: /^sources\/messages\//, to: /^formats\/(ndjson\/index|avro\/schema|values)\.ts$/, typeOnly: false },
  // The assets of a catalogue are images of one format.
  { from: /^sources\/stac\/assets\.ts$/, to: /^formats\/geotiff\/index\.ts$/, typeOnly: false },
  // The shapes of a configured check and of its result, which the pipeline reports.
  { from: /^(quality|feed)\//, to: /^pipeline\/(flow|report)\.ts$/, typeOnly: true },
];

interface Import {
  file: string;
  specifier: string;
  /** Path from `src` of what is imported, or undefined for a package. */
  target: string | undefined;
  /** Gone after the types are stripped. */
  typeOnly: boolean;
}

const statement =
  /(?:^(?:import|export)\s+(type\s)?[^;"']*?\bfrom\s*|\bimport\s*\(\s*|^import\s+|\bnew URL\(\s*)(["'])([^"'\n]+)\2/gm;

function imports(): Import[] {
  const found: Import[] = [];
  for (const file of globSync("**/*.ts", { cwd: source })) {
    for (const match of readFileSync(join(source, file), "utf8").matchAll(statement)) {
      const specifier = match[3]!;
      if (match[0].startsWith("new URL") && !specifier.endsWith(".ts")) continue;
      const target = specifier.startsWith(".") ? relative(source, join(source, dirname(file), specifier)) : undefined;
      found.push({ file, specifier, target, typeOnly: match[1] !== undefined });
    }
  }
  return found;
}

const all = imports();
const top = (path: string): string => path.split("/")[0]!;
const show = ({ file, specifier }: Import): string => `src/${file} imports ${specifier}`;

test("the reader of imports sees them all", () => {
  expect(all.length).toBeGreaterThan(100);
  expect(all.some((one) => one.file === "registry.ts" && one.target?.startsWith("checks/"))).toBe(true);
  expect(all.some((one) => one.specifier === "@duckdb/node-api")).toBe(true);
});

test("imports point one way", () => {
  const wrong = all.filter((one) => {
    if (one.target === undefined || one.target.startsWith("..")) return false;
    const [from, to] = [top(one.file), top(one.target)];
    if (from === to || (allowed[from] ?? []).includes(to)) return false;
    return !exceptions.some(
      (rule) => rule.from.test(one.file) && rule.to.test(one.target!) && (one.typeOnly || !rule.typeOnly),
    );
  });
  expect(wrong.map(show)).toEqual([]);
});

test("every folder has its rule", () => {
  const folders = new Set(all.map((one) => top(one.file)));
  expect([...folders].filter((folder) => allowed[folder] === undefined)).toEqual([]);
});

test("nothing in src reaches out of src, except for files of the package", () => {
  const wrong = all.filter((one) => one.target?.startsWith("..") && !/\.(json|md)$/.test(one.target));
  expect(wrong.map(show)).toEqual([]);
});

test("nobody imports the driver of another module", () => {
  const wrong = all.filter(
    (one) =>
      one.target?.endsWith("/driver.ts") &&
      dirname(one.target) !== dirname(one.file) &&
      !one.file.startsWith(`${dirname(one.target)}/`),
  );
  expect(wrong.map(show)).toEqual([]);
});

test("a module does not import another module, only helpers that are none", () => {
  const registered = new Set(
    all.flatMap((one) => (one.file === "registry.ts" && one.target !== undefined ? [one.target] : [])),
  );
  const isModule = (path: string): boolean => registered.has(path) || registered.has(`${unit(path)}/index.ts`);
  const unit = (path: string): string => path.split("/").slice(0, 2).join("/");
  const wrong = all.filter(
    (one) =>
      one.target !== undefined &&
      moduleKinds.includes(top(one.file)) &&
      top(one.target) === top(one.file) &&
      unit(one.target) !== unit(one.file) &&
      isModule(one.target),
  );
  expect(wrong.map(show)).toEqual([]);
});

test("only the engine speaks to DuckDB", () => {
  const wrong = all.filter((one) => one.specifier.startsWith("@duckdb/") && top(one.file) !== "engine");
  expect(wrong.map(show)).toEqual([]);
});

test("a definition loads no SDK: facts are in index.ts, behaviour in driver.ts", () => {
  const definitions = (file: string): boolean => /^(sources|stores|formats)\/[^/]+\/index\.ts$/.test(file);
  const text = (file: string): string => readFileSync(join(source, file), "utf8");
  const wrong = all.filter(
    (one) =>
      definitions(one.file) &&
      one.target === undefined &&
      one.specifier !== "zod" &&
      !one.specifier.startsWith("node:") &&
      !text(one.file).includes(`import("${one.specifier}")`),
  );
  expect(wrong.map(show)).toEqual([]);
});

test("help needs nothing heavy: what main.ts imports at once", () => {
  const seen = new Set<string>();
  const packages = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const code = readFileSync(join(source, file), "utf8");
    for (const match of code.matchAll(/^(?:import|export)\s(?!type\s)[^;]*?from\s+"([^"]+)"/gm)) {
      const specifier = match[1]!;
      if (specifier.startsWith(".")) visit(relative(source, join(source, dirname(file), specifier)));
      else packages.add(specifier);
    }
  };
  visit("cli/main.ts");
  expect([...packages].filter((name) => !name.startsWith("node:"))).toEqual(["@stricli/core"]);
});
