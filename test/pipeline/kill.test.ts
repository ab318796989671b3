import { spawn } from "node:child_process";
import { mkdtemp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadLake } from "../support/lake.ts";

const bin = join(import.meta.dirname, "../../bin/millrace.mjs");
const files = 12;
const rowsPerFile = 4000;
const kills = 20;

let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "millrace-kill-"));
  await mkdir(join(root, "in"));
  for (let file = 0; file < files; file++) {
    const lines = ["id,grp,price,note"];
    for (let row = 0; row < rowsPerFile; row++) {
      const id = file * rowsPerFile + row;
      // One row in a thousand is refused by a check, and one file in four has a line that cannot be parsed.
      lines.push(`${id},g${id % 97},${id % 1000 === 0 ? -1 : (id % 5000) / 100},"note ${id}, with a comma"`);
    }
    if (file % 4 === 0) lines.push("broken,line");
    await writeFile(join(root, "in", `part-${String(file).padStart(2, "0")}.csv`), `${lines.join("\n")}\n`);
  }
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function makeLake(name: string, mode: string): Promise<string> {
  const folder = join(root, name);
  await mkdir(folder);
  await writeFile(
    join(folder, "millrace.yaml"),
    `store: ./lake
flows:
  orders:
    from: { path: ../in/*.csv, part_bytes: 200000 }
    mode: ${mode}
    key: [id]
    checks:
      - { check: unique, columns: [id] }
      - { check: range, column: price, min: 0, on_fail: reject }
    split: { train: 0.8, validation: 0.1, test: 0.1, key: grp, seed: 7 }
`,
  );
  return folder;
}

/** Runs the flow in a process of its own; resolves to the signal or the exit code it ended with. */
function runProcess(
  folder: string,
  killAfterMs?: number,
): Promise<{ code: number | null; signal: string | null; ms: number; output: string }> {
  return new Promise((resolve) => {
    const started = performance.now();
    const child = spawn(process.execPath, [bin, "run", "orders", "--json"], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfterMs);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, ms: performance.now() - started, output });
    });
  });
}

const facts = `SELECT count(*) AS rows, count(DISTINCT id) AS ids, sum(id) AS ids_sum, sum(price::DECIMAL(18, 2)) AS price,
  sum(('0x' || substr(md5(concat_ws('|', id, grp, price, note, split)), 1, 12))::BIGINT::HUGEINT)::VARCHAR AS checksum FROM `;

async function contents(folder: string): Promise<unknown> {
  await using lake = await loadLake(folder);
  const good = await lake.query(`${facts} orders`);
  const refused = await lake.query(`SELECT count(*) AS rows, count(DISTINCT record) AS records FROM orders__rejected`);
  const problems = (await lake.verify("orders", { deep: true })).problems;
  return { good: good.rows, refused: refused.rows, problems, versions: (await lake.history("orders")).length };
}

describe.each(["append", "merge"])("a run that is killed (%s)", (mode) => {
  test(`at ${kills} random moments gives what one clean run gives`, { timeout: 240_000 }, async () => {
    const clean = await makeLake(`clean-${mode}`, mode);
    const whole = await runProcess(clean);
    expect(whole.code, whole.output).toBe(0);
    const expected = await contents(clean);
    expect(expected).toMatchObject({ problems: [], versions: 1 });

    let fired = 0;
    for (let attempt = 0; fired < kills; attempt++) {
      const folder = await makeLake(`killed-${mode}-${attempt}`, mode);
      // Several kills of the same run, each somewhere in what a whole run takes.
      for (let kill = 0; kill < 4 && fired < kills; kill++) {
        const result = await runProcess(folder, Math.random() * whole.ms);
        if (result.signal === "SIGKILL") fired++;
        else break;
      }
      const last = await runProcess(folder);
      expect(last.code, last.output).toBe(0);
      expect(await contents(folder)).toEqual(expected);
      expect(await readdir(join(folder, "lake/.scratch"))).toEqual([]);
      await rm(folder, { recursive: true });
      expect(attempt).toBeLessThan(kills * 3);
    }
    expect(fired).toBe(kills);
  });
});
