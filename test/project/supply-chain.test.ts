import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const read = (name: string): string => readFileSync(join(root, name), "utf8");

interface Locked {
  version?: string;
  resolved?: string;
  integrity?: string;
  link?: boolean;
  hasInstallScript?: boolean;
  inBundle?: boolean;
}
const lock = JSON.parse(read("package-lock.json")) as { lockfileVersion: number; packages: Record<string, Locked> };
const manifest = JSON.parse(read("package.json")) as Record<
  "dependencies" | "devDependencies" | "optionalDependencies",
  Record<string, string> | undefined
>;
const packages = Object.entries(lock.packages).filter(([path]) => path !== "");
const nameOf = (path: string): string => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);

/** Versions below these have known holes, and why. */
const floors: Record<string, [string, string]> = {
  tar: ["7.5.16", "CVE-2026-31802 and others: files written outside of the folder"],
  "fast-xml-parser": ["5.10.1", "CVE-2026-73569: limits on entities passed by"],
  sharp: ["0.35.3", "CVE-2026-33327 and others: memory of the decoders"],
  yauzl: ["3.4.0", "names of entries are checked"],
  yaml: ["2.8.3", "deep nesting ends in an error"],
  pg: ["8.16.0", "messages are bounded"],
  mysql2: ["3.14.0", "code from field names (CVE-2024-21508, -21511), prototype pollution (CVE-2024-21512)"],
};
/** Packages that must not come in by any way. */
const banned: Record<string, string> = {
  "extract-zip": "CVE-2026-56876",
  request: "given up by its authors",
  "event-stream": "was taken over",
  "ua-parser-js": "was taken over",
  "node-ipc": "was turned against its users",
};

function isBelow(version: string, floor: string): boolean {
  const [left, right] = [version, floor].map((text) => text.split("-")[0]!.split(".").map(Number));
  for (let index = 0; index < 3; index++) if (left![index] !== right![index]) return left![index]! < right![index]!;
  return false;
}

test("every package is pinned by its hash", () => {
  expect(lock.lockfileVersion).toBe(3);
  expect(packages.length).toBeGreaterThan(50);
  const without = packages.filter(
    ([, { integrity, link, inBundle }]) => !link && !inBundle && !(integrity ?? "").startsWith("sha512-"),
  );
  expect(without.map(([path]) => path)).toEqual([]);
});

test("nothing comes from git, from a URL or from a folder", () => {
  const odd = packages.filter(
    ([, { resolved, link }]) => link === true || /^(git|http:|file:|ssh)/.test(resolved ?? ""),
  );
  expect(odd.map(([path]) => path)).toEqual([]);
  for (const versions of [manifest.dependencies, manifest.devDependencies, manifest.optionalDependencies])
    for (const [name, version] of Object.entries(versions ?? {}))
      expect(`${name} ${version}`).toMatch(/ \d+\.\d+\.\d+[\w.-]*$/);
});

test("only `node`, which fetches the pinned runtime, runs a script when it is installed", () => {
  const scripts = packages.filter(([, { hasInstallScript }]) => hasInstallScript);
  // `fsevents` is for another system than the one that installs here, and optional. That of the runtime of models fetches CUDA where a
  // variable asks for it: npm is told not to run it.
  const { allowScripts } = JSON.parse(read("package.json")) as { allowScripts: Record<string, boolean> };
  const refused = Object.entries(allowScripts).flatMap(([name, isAllowed]) => (isAllowed ? [] : [name]));
  expect(refused).toEqual(["onnxruntime-node"]);
  const others = scripts.map(([path]) => nameOf(path)).filter((name) => name !== "fsevents" && !refused.includes(name));
  expect(others).toEqual(["node"]);
});

test("nothing is older than the holes that are known, and nothing banned is there", () => {
  const old = packages.flatMap(([path, { version }]) => {
    const floor = Object.hasOwn(floors, nameOf(path)) ? floors[nameOf(path)] : undefined;
    return floor !== undefined && isBelow(version!, floor[0]) ? [`${path} ${version} < ${floor[0]}: ${floor[1]}`] : [];
  });
  expect(old).toEqual([]);
  expect(packages.map(([path]) => nameOf(path)).filter((name) => Object.hasOwn(banned, name))).toEqual([]);
  expect(isBelow("7.5.9", "7.5.16")).toBe(true);
  expect(isBelow("7.5.16", "7.5.16")).toBe(false);
});

test("few packages are depended on directly", () => {
  // One small client for each service of AWS is how its SDK comes.
  const direct = Object.keys(manifest.dependencies ?? {}).filter((name) => !name.startsWith("@aws-sdk/client-"));
  expect(direct.length).toBeLessThanOrEqual(40);
});

test("npm takes exact versions, and nothing from git", () => {
  const settings = read(".npmrc").split("\n");
  for (const setting of ["save-exact=true", "allow-git=none"]) expect(settings).toContain(setting);
});
