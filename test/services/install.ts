import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
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
  const hint = `apt-get install ${program.packages.join(" ")}`;
  if (process.getuid?.() === 0 && findProgram({ name: "apt-get" }) !== undefined) {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    try {
      await execute("apt-get", ["update", "-qq"], { env });
      await execute("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...program.packages], { env });
    } catch (cause) {
      throw new MillraceError("unreachable", `${program.service} cannot be installed with apt-get`, { cause, hint });
    }
    const installed = findProgram(program);
    if (installed !== undefined) return installed;
  }
  throw new MillraceError(
    "unreachable",
    `${program.service} cannot be had: \`${program.name}\` is not on this machine`,
    { hint },
  );
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
