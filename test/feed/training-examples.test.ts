import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { torchEnvironment } from "../services/torch.ts";
import { loadLake } from "../support/lake.ts";

const root = resolve(".");
let folder: string;
let programs: string;

/** A copy of the examples beside our packages, and the commands that their guides name, from the sources. */
beforeAll(async () => {
  const { python } = await torchEnvironment();
  folder = await mkdtemp(join(tmpdir(), "millrace-examples-"));
  programs = join(folder, "programs");
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  await cp(join(root, "package.json"), join(folder, "package.json"));
  await mkdir(programs);
  const command = async (name: string, line: string): Promise<void> => {
    await writeFile(join(programs, name), `#!/bin/sh\n${line}\n`);
    await chmod(join(programs, name), 0o755);
  };
  await command("npx", `shift; exec "${process.execPath}" "${join(root, "test/faults/programs/millrace.ts")}" "$@"`);
  await command("python", `exec "${python}" "$@"`);
}, 600_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What the commands print; all that they started is gone afterwards. */
async function shell(commands: string, cwd: string): Promise<string> {
  const child = spawn("bash", ["-euo", "pipefail", "-c", commands], {
    cwd,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      PATH: [programs, dirname(process.execPath), process.env["PATH"]].join(delimiter),
      PYTHONPATH: join(root, "python"),
      XDG_CACHE_HOME: join(folder, "cache"),
      NODE_COMPILE_CACHE: join(root, ".cache/compile"),
    },
  });
  let [output, errors] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
  try {
    const [code] = (await once(child, "exit")) as [number | null];
    expect(code, `${output}\n${errors}`).toBe(0);
    return output;
  } finally {
    try {
      process.kill(-child.pid!, "SIGKILL");
    } catch {
      // Nothing of it is left.
    }
  }
}

test.each([
  ["image-classifier", "charts", 4],
  ["text-classifier", "passages", 1],
])(
  "%s: what its guide says makes a checked dataset without leaks, and a model that knows what it has never seen",
  { timeout: 180_000 },
  async (name, flow, rejected) => {
    const example = join(folder, "examples", name);
    await cp(join(root, "examples", name), example, {
      recursive: true,
      filter: (path) => !/\/(incoming|lake)$/.test(path),
    });
    const guide = await readFile(join(example, "README.md"), "utf8");
    const commands = /```sh\n(.*?)```/s.exec(guide)![1]!.replace(/^pip install .*$/m, "");
    const output = await shell(commands, example);
    const losses = [...output.matchAll(/^epoch \d+: loss ([\d.]+)$/gm)].map(([, loss]) => Number(loss));
    expect(losses.length).toBeGreaterThan(4);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 2);
    const held = /^held out: accuracy ([\d.]+) of (\d+), chance ([\d.]+)$/m.exec(output)!;
    const [accuracy, samples, chance] = held.slice(1).map(Number) as [number, number, number];
    expect(samples).toBeGreaterThan(40);
    expect(accuracy - chance).toBeGreaterThan(0.25);
    await using lake = await loadLake(example);
    const { checks } = await lake.leakage(flow);
    expect(checks.map(({ check, status }) => [check, status])).toEqual([
      ["split-leakage", "passed"],
      [flow === "charts" ? "near-hash" : "near-text", "passed"],
    ]);
    const { rows } = await lake.query(`select count(*)::int as n from ${flow}__rejected`);
    expect(rows[0]!["n"]).toBeGreaterThanOrEqual(rejected);
  },
);
