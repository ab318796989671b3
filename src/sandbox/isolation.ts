import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import type { ChildKind } from "./children.ts";

/** What Node 24 maps writably before it runs a line, measured as 575 MiB; the limit counts it though it is hardly touched. */
const baselineBytes = 768 * 1024 ** 2;
/** More open files than any parser needs. */
const openFiles = 256;

let network: string[] | undefined;

/** `unshare` takes the network away, where this machine permits it. Asked once. */
function networkPrefix(): string[] {
  if (network !== undefined) return network;
  network = [];
  for (const attempt of [["--net"], ["--user", "--map-current-user", "--net"]]) {
    const result = spawnSync("unshare", [...attempt, "true"], { stdio: "ignore", timeout: 2_000 });
    if (result.status === 0) {
      network = ["unshare", ...attempt, "--"];
      break;
    }
  }
  return network;
}

let limiter: string[] | undefined;

/** The kernel's own limits, where `prlimit` is there: memory, size of a file written, open files, no core dump of somebody's data. */
function limitPrefix(memoryBytes: number): string[] {
  limiter ??= ["/usr/bin/prlimit", "/bin/prlimit", "/usr/local/bin/prlimit"]
    .filter((path) => existsSync(path))
    .slice(0, 1);
  if (limiter.length === 0) return [];
  return [
    ...limiter,
    `--data=${memoryBytes + baselineBytes}`,
    `--fsize=${memoryBytes}`,
    `--nofile=${openFiles}`,
    "--core=0",
    "--",
  ];
}

/** Source when this runs from source, JavaScript when it runs from the build. */
const childModule = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "./child.ts" : "./child.js", import.meta.url),
);

/** Where our code and the packages it loads lie: the outermost `node_modules` above us, else the package itself. */
const codeFolder = (() => {
  const marker = `${sep}node_modules${sep}`;
  const at = childModule.indexOf(marker);
  return at >= 0 ? childModule.slice(0, at + marker.length - 1) : resolve(dirname(childModule), "..", "..");
})();

/** Node takes `*` for a wildcard and a comma for a separator of older versions: such a folder is let in by the one above it. */
export function permissible(folder: string): string {
  let result = folder;
  while (/[*,]/.test(result)) result = dirname(result);
  return result;
}

/**
 * The command line of a child: limits of the kernel, no network, and Node's permission model, which lets it read its own code and
 * `readable`, write to `own`, and neither start processes nor load native code, unless that is what it is for.
 */
export function childCommand({ memoryBytes, readable, native, programs }: ChildKind, own: string): string[] {
  const heapMegabytes = Math.max(64, Math.floor((memoryBytes * 0.6) / 1024 ** 2));
  return [
    ...limitPrefix(memoryBytes),
    ...networkPrefix(),
    process.execPath,
    `--max-old-space-size=${heapMegabytes}`,
    "--disable-proto=delete",
    "--no-warnings",
    "--permission",
    `--allow-fs-read=${codeFolder}`,
    `--allow-fs-read=${own}`,
    ...(readable === undefined ? [] : [`--allow-fs-read=${permissible(readable)}`]),
    `--allow-fs-write=${own}`,
    ...(native ? ["--allow-addons"] : []),
    ...(programs ? ["--allow-child-process"] : []),
    childModule,
  ];
}
