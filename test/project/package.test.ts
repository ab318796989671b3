import { execFile, execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect, promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const execute = promisify(execFile);
const minutes = 60_000;

/** A Node older than 24 on this machine, if there is one: what a person with a distribution's Node has. */
function olderNode(): string | undefined {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const node = join(folder, "node");
    try {
      const major = Number(execFileSync(node, ["--version"], { encoding: "utf8" }).slice(1).split(".")[0]);
      if (major < 24) return node;
    } catch {
      // No node in this folder.
    }
  }
  return undefined;
}

let folder: string;
let bin: string;
let tarball: string;

/** The installed command, run by the Node of these tests. */
async function installed(working: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}` };
  return (await execute(bin, args, { cwd: working, env })).stdout;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-package-"));
  // Packing builds anew; other tests run the command that lies in this checkout meanwhile.
  const copy = join(folder, "checkout");
  const left = new Set(["node_modules", "dist", ".git", ".cache"]);
  await mkdir(copy);
  for (const name of readdirSync(root)) {
    if (!left.has(name)) await cp(join(root, name), join(copy, name), { recursive: true });
  }
  await symlink(join(root, "node_modules"), join(copy, "node_modules"));
  await execute("npm", ["pack", "--pack-destination", folder], { cwd: copy });
  tarball = join(
    folder,
    readdirSync(folder).find((name) => name.endsWith(".tgz"))!,
  );
  const prefix = join(folder, "prefix");
  await mkdir(prefix);
  await execute("npm", ["install", "--global", "--prefix", prefix, "--no-audit", "--no-fund", tarball], {
    cwd: folder,
    maxBuffer: 1 << 26,
  });
  bin = join(prefix, "bin", "millrace");
}, 10 * minutes);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the packed tarball, installed elsewhere", () => {
  test("holds what runs, its schema and its licence, and nothing of the tests", async () => {
    const { stdout } = await execute("tar", ["-tzf", tarball]);
    const files = stdout.trim().split("\n");
    for (const name of [
      "bin/millrace.mjs",
      "dist/cli/main.js",
      "dist/index.js",
      "dist/index.d.ts",
      "dist/testing/index.js",
      "dist/testing/index.d.ts",
      "schema/millrace.schema.json",
      "README.md",
      "LICENSE",
    ]) {
      expect(files).toContain(`package/${name}`);
    }
    expect(files.filter((name) => /package\/(test|src|scripts|node_modules|\.ci)\//.test(name))).toEqual([]);
  });

  test("shows help", async () => {
    expect(await installed(folder, "--help")).toContain("millrace run");
  });

  test("makes a lake that works at once: init, run, query, and a second run with nothing new", async () => {
    await installed(folder, "init", "lake-of-mine");
    const lake = join(folder, "lake-of-mine");
    const { runs } = JSON.parse(await installed(lake, "run", "orders", "--json")) as {
      runs: Record<string, unknown>[];
    };
    expect(runs[0]).toMatchObject({
      status: "published",
      version: 1,
      read: 200,
      written: 198,
      rejected: 2,
      filtered: 0,
    });
    const { rows } = JSON.parse(
      await installed(lake, "query", "select count(*) as n, min(price) >= 0 as good from orders", "--json"),
    ) as { rows: unknown[] };
    expect(rows).toEqual([{ n: 198, good: true }]);
    const again = JSON.parse(await installed(lake, "run", "orders", "--json")) as { runs: Record<string, unknown>[] };
    expect(again.runs[0]).toMatchObject({ status: "unchanged" });
  });

  test("is a library as well", async () => {
    const project = join(folder, "project");
    await mkdir(project);
    await installed(folder, "init", "project");
    const script = `
      import { openLake, run } from ${JSON.stringify(join(folder, "prefix", "lib", "node_modules", "millrace", "dist", "index.js"))};
      const report = await run("orders", { folder: ${JSON.stringify(project)} });
      await using lake = await openLake({ folder: ${JSON.stringify(project)} });
      const { rows } = await lake.preview("orders", { rows: 3 });
      console.log(JSON.stringify([report.written, rows.length]));`;
    const { stdout } = await execute(process.execPath, ["--input-type=module", "--eval", script]);
    expect(JSON.parse(stdout)).toEqual([198, 3]);
  });

  test("somebody else's connector is tested with its kits, and typed", async () => {
    const project = join(folder, "connector");
    await cp(join(root, "test", "project", "third-party"), project, { recursive: true });
    await rename(join(project, "memory.kit.ts"), join(project, "memory.test.ts"));
    await writeFile(join(project, "package.json"), JSON.stringify({ name: "connector", type: "module" }));
    const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as Record<
      string,
      Record<string, string>
    >;
    const wanted = ["vitest", "vite", "@types/node"].map((name) => `${name}@${manifest["devDependencies"]![name]}`);
    const install = ["install", "--no-audit", "--no-fund", "--prefer-offline", tarball, ...wanted];
    await execute("npm", install, { cwd: project, maxBuffer: 1 << 26 });
    // Nothing of the run of tests around it: vitest tells its children by their environment.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/VITEST|^(NODE_ENV|TEST|DEV|PROD|MODE)$/.test(name)),
    );
    const vitest = join(project, "node_modules", "vitest", "vitest.mjs");
    const output = join(project, "report.json");
    const kit = [vitest, "run", "--no-color", "--reporter=json", `--outputFile=${output}`];
    const outcome = await execute(process.execPath, kit, { cwd: project, env }).catch((error: unknown) => error);
    const text = await readFile(output, "utf8").catch(() => expect.fail(inspect(outcome)));
    const report = JSON.parse(text) as Record<string, unknown>;
    expect(report).toMatchObject({
      success: true,
      numFailedTests: 0,
      numTotalTestSuites: expect.any(Number) as number,
    });
    expect(report["numPassedTests"]).toBeGreaterThan(9);
    const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2024", "--types", "node"];
    const typed = [...options, "--skipLibCheck", "--allowImportingTsExtensions", "memory.ts", "memory.test.ts"];
    await execute(join(root, "node_modules", ".bin", "tsc"), typed, { cwd: project });
  });

  const older = olderNode();
  test.skipIf(older === undefined)("an older Node gets one clear sentence and exit code 2", async () => {
    const outcome = await execute(older!, [bin, "--help"]).then(
      () => ({ code: 0, stderr: "" }),
      (error: { code: number; stderr: string }) => error,
    );
    expect(outcome.code).toBe(2);
    expect(outcome.stderr).toMatch(/^error: Millrace needs Node 24 or newer, and this is Node \d+/);
  });
});
