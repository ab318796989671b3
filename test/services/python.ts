import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { MillraceError, messageOf } from "../../src/core/index.ts";

/** Its real name, because the scripts of an environment name it: where `.cache` is a link, what it is in may go away. */
const cacheFolder = (): string => {
  const folder = fileURLToPath(new URL("../../.cache", import.meta.url));
  mkdirSync(folder, { recursive: true });
  return realpathSync(folder);
};
const execute = promisify(execFile);

/** A Python environment with packages of PyPI. */
export interface PythonEnvironment {
  /** Folder of the environment. */
  folder: string;
  /** The interpreter. */
  python: string;
}

/**
 * A virtual environment with the given packages, made once and kept in `.cache`; those of `bare` come without what they say they need.
 * `system`: an interpreter whose packages are there too. Throws `unreachable` named by what could not be installed.
 */
export async function pythonEnvironment(
  packages: readonly string[],
  bare: readonly string[] = [],
  system?: string,
): Promise<PythonEnvironment> {
  const base = system === undefined ? [] : [`system ${system}`];
  const wanted = [...packages.toSorted(), ...bare.map((name) => `bare ${name}`).toSorted(), ...base];
  const hash = createHash("sha256").update(wanted.join("\n")).digest("hex").slice(0, 12);
  const folder = join(cacheFolder(), `python-${hash}`);
  const python = join(folder, "bin", "python");
  const ready = join(folder, "ready");
  if (existsSync(ready)) return { folder, python };
  const lock = `${folder}.lock`;
  const waitUntil = Date.now() + 600_000;
  while (!tryLock(lock)) {
    if (existsSync(ready)) return { folder, python };
    if (Date.now() > waitUntil) throw new MillraceError("timeout", `another process holds \`${lock}\` for ten minutes`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  try {
    if (existsSync(ready)) return { folder, python };
    rmSync(folder, { recursive: true, force: true });
    await execute(system ?? "python3", ["-m", "venv", ...(system ? ["--system-site-packages"] : []), folder]);
    const install = ["-m", "pip", "install", "-q", "--disable-pip-version-check"];
    await execute(python, [...install, ...packages], { maxBuffer: 1 << 26 });
    if (bare.length > 0) await execute(python, [...install, "--no-deps", ...bare], { maxBuffer: 1 << 26 });
    writeFileSync(ready, wanted.join("\n"));
    return { folder, python };
  } catch (cause) {
    throw new MillraceError("unreachable", `python with ${wanted.join(", ")} cannot be had: ${messageOf(cause)}`, {
      cause,
    });
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

function tryLock(lock: string): boolean {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    return false;
  }
}

/** Runs a script (its text) and gives what it printed on standard output. Throws with the end of its standard error. */
export async function runPython(
  environment: PythonEnvironment,
  script: string,
  args: readonly string[] = [],
  variables: Record<string, string> = {},
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-python-"));
  const file = join(folder, "script.py");
  await writeFile(file, script);
  try {
    const { stdout } = await execute(environment.python, [file, ...args], {
      maxBuffer: 1 << 28,
      env: { ...process.env, ...variables },
    });
    return stdout;
  } catch (cause) {
    const { stderr = "" } = cause as { stderr?: string };
    throw new MillraceError("internal", `the Python script failed: ${stderr.slice(-3000) || messageOf(cause)}`, {
      cause,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A jar of Maven Central by its coordinates (`group:artifact:version`), kept in `.cache/jars`. */
export function mavenJar(coordinates: string): string {
  const [, artifact, version] = coordinates.split(":");
  const target = join(cacheFolder(), "jars", `${artifact}-${version}.jar`);
  if (existsSync(target)) return target;
  const temporary = join(cacheFolder(), "jars", `partial-${process.pid}`);
  mkdirSync(temporary, { recursive: true });
  try {
    execFileSync(
      "mvn",
      [
        "-q",
        "-B",
        "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy",
        `-Dartifact=${coordinates}`,
        `-DoutputDirectory=${temporary}`,
        "-Dmdep.useBaseVersion=true",
      ],
      { stdio: "pipe", cwd: dirname(temporary) },
    );
    renameSync(join(temporary, `${artifact}-${version}.jar`), target);
    return target;
  } catch (cause) {
    throw new MillraceError("unreachable", `the jar ${coordinates} cannot be had with mvn: ${messageOf(cause)}`, {
      cause,
    });
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
