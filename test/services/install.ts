import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { MillraceError } from "../../src/core/index.ts";

const execute = promisify(execFile);

export interface Program {
  /** As people write it, for messages: `PostgreSQL`. */
  service: string;
  /** File name of the binary. */
  name: string;
  /** Debian packages that hold it. */
  packages: readonly string[];
  /** Folders beyond PATH; `*` stands for every folder of that level, the highest version first. */
  folders?: readonly string[];
}

/** Where a program lies on this machine, if it does. */
export function findProgram(program: Pick<Program, "name" | "folders">): string | undefined {
  const folders = (program.folders ?? []).flatMap(expand);
  const searched = [...folders, ...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/usr/local/bin"];
  return searched.map((folder) => join(folder, program.name)).find((path) => existsSync(path));
}

/** The path of a program; as root it is installed with apt-get when it is not there. Throws `unreachable`, named by the service. */
export async function requireProgram(program: Program): Promise<string> {
  const found = findProgram(program);
  if (found !== undefined) return found;
  await requirePackages(program.service, program.packages);
  const installed = findProgram(program);
  if (installed !== undefined) return installed;
  throw new MillraceError(
    "unreachable",
    `${program.service} cannot be had: \`${program.name}\` is not in ${program.packages.join(", ")}`,
  );
}

/** Installs Debian packages with apt-get, as root. Throws `unreachable`, named by the service. */
export async function requirePackages(service: string, packages: readonly string[]): Promise<void> {
  const hint = `apt-get install ${packages.join(" ")}`;
  if (process.getuid?.() !== 0 || findProgram({ name: "apt-get" }) === undefined) {
    throw new MillraceError("unreachable", `${service} cannot be had: it is not on this machine`, { hint });
  }
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  // Files of tests run side by side, and apt-get refuses to.
  const apt = (...options: string[]): Promise<unknown> =>
    execute("flock", [join(tmpdir(), "millrace-apt.lock"), "apt-get", ...options], { env, maxBuffer: 1 << 24 });
  try {
    await apt("update", "-qq");
    await apt("install", "-y", "-qq", "--no-install-recommends", ...packages);
  } catch (cause) {
    throw new MillraceError("unreachable", `${service} cannot be installed with apt-get`, { cause, hint });
  }
}

function expand(pattern: string): string[] {
  const star = pattern.indexOf("*");
  if (star < 0) return [pattern];
  const parent = pattern.slice(0, star);
  if (!existsSync(parent)) return [];
  const names = readdirSync(parent).sort((left, right) => right.localeCompare(left, "en", { numeric: true }));
  return names.map((name) => parent + name + pattern.slice(star + 1));
}

/** A TCP port of 127.0.0.1 that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
