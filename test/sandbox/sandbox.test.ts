import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { spawnSync } from "node:child_process";
import { expect, onTestFinished, test } from "vitest";
import { isMillraceError, type MillraceError } from "../../src/core/index.ts";
import { runInSandbox, type SandboxJob } from "../../src/sandbox/index.ts";
import { until } from "../contracts/support/observe.ts";

const module = new URL("./work/misbehave.ts", import.meta.url);
const job = (how: string, argument: number | string = "", more: Partial<SandboxJob> = {}): SandboxJob => ({
  module,
  input: [how, argument],
  file: "data/x.bin",
  ...more,
});

async function gather(it: SandboxJob): Promise<{ bytes: number; messages: unknown[] }> {
  const result = { bytes: 0, messages: [] as unknown[] };
  for await (const output of runInSandbox(it)) {
    if (output instanceof Uint8Array) result.bytes += output.length;
    else result.messages.push(output.message);
  }
  return result;
}

async function failure(it: SandboxJob): Promise<MillraceError> {
  try {
    await gather(it);
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

test("bytes and messages arrive whole and in order", async () => {
  expect(await gather(job("count", 5000))).toEqual({ bytes: 5_120_000, messages: [{ begin: 5000 }, { end: 5000 }] });
  expect(await gather(job("print"))).toEqual({ bytes: 7, messages: [] });
});

test("a child that hangs is killed at the deadline, and names the file", async () => {
  const started = performance.now();
  expect(await failure(job("hang", "", { deadlineMs: 300 }))).toMatchObject({
    code: "timeout",
    where: { file: "data/x.bin" },
  });
  expect(performance.now() - started).toBeLessThan(30_000);
});

test("a slow reader is not a hanging child", async () => {
  let bytes = 0;
  for await (const output of runInSandbox(job("count", 3000, { deadlineMs: 1_000 }))) {
    if (!(output instanceof Uint8Array)) continue;
    if (bytes === 0) await new Promise((resolve) => setTimeout(resolve, 1_500));
    bytes += output.length;
  }
  expect(bytes).toBe(3_072_000);
});

test("memory is bounded, on the heap and beside it", async () => {
  const memoryBytes = 256 * 1024 ** 2;
  expect((await gather(job("count", 3, { memoryBytes }))).bytes).toBe(3072);
  expect(await failure(job("hoard", "", { memoryBytes }))).toMatchObject({
    code: "limit",
    where: { file: "data/x.bin" },
  });
  if (existsSync("/usr/bin/prlimit")) {
    expect(await failure(job("allocate", "", { memoryBytes }))).toMatchObject({
      code: "limit",
      where: { file: "data/x.bin" },
    });
  }
});

test("whatever the death, the answer is an error and the next file is read", async () => {
  for (const [how, argument] of [
    ["exit", 0],
    ["exit", 3],
    ["kill", 0],
    ["reject", 0],
  ] as const) {
    expect(`${how}: ${(await failure(job(how, argument))).code}`).toBe(`${how}: parse`);
    expect((await gather(job("count", 2))).bytes).toBe(2048);
  }
});

test("what a parser throws is told, and what it trips over too", async () => {
  expect((await failure(job("throw", "line 3 is bad"))).message).toBe("`data/x.bin`: line 3 is bad");
  expect((await failure(job("trip"))).message).toContain("its structure is damaged");
});

test("an abort ends the work", async () => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 100);
  expect((await failure(job("hang", "", { signal: controller.signal }))).code).toBe("aborted");
  expect((await failure(job("count", 3, { signal: controller.signal }))).code).toBe("aborted");
});

test("a reader that leaves early leaves nothing running", async () => {
  for await (const output of runInSandbox(job("count", 10_000_000))) {
    if (output instanceof Uint8Array) break;
  }
  expect((await gather(job("count", 1))).bytes).toBe(1024);
});

test("a child that is killed with output that nobody reads leaves no folder", async () => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-folders-"));
  const before = process.env["TMPDIR"];
  process.env["TMPDIR"] = folder;
  onTestFinished(() => {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
    rmSync(folder, { recursive: true });
  });
  // A cap of its own, so that no child of another test is taken.
  for await (const output of runInSandbox(job("count", 10_000_000, { memoryBytes: 301 * 1024 ** 2 }))) {
    if (!(output instanceof Uint8Array)) continue;
    expect(readdirSync(folder)).toHaveLength(1);
    // Time for it to fill its pipe.
    await sleep(100);
    break;
  }
  await until(() => readdirSync(folder).length === 0, "the folder going away");
});

test("no environment, no writing, no network", async () => {
  process.env["MILLRACE_SANDBOX_TEST"] = "secret";
  expect((await gather(job("environment"))).messages).toEqual([{ environment: [] }]);
  const folder = mkdtempSync(join(tmpdir(), "millrace-outside-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const target = join(folder, "written");
  await failure(job("write", target));
  expect(existsSync(target)).toBe(false);
  const isolated =
    spawnSync("unshare", ["--net", "true"]).status === 0 ||
    spawnSync("unshare", ["--user", "--map-current-user", "--net", "true"]).status === 0;
  if (!isolated) return;
  const server = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as { port: number };
  expect((await failure(job("connect", port))).code).toBe("parse");
  server.close();
});

const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

test.each(["hang-below", "leave-below"])("programs that a child has started end with it: %s", async (how) => {
  const pids: number[] = [];
  const it = job(how, "", { programs: true, deadlineMs: 2_000 });
  await expect(
    (async () => {
      for await (const output of runInSandbox(it)) {
        if (!(output instanceof Uint8Array)) pids.push((output.message as { pid: number }).pid);
      }
    })(),
  ).rejects.toMatchObject({ code: how === "hang-below" ? "timeout" : "parse" });
  // The fault fired: there was a program.
  expect(pids.length).toBeGreaterThan(0);
  await expect.poll(() => pids.filter(isAlive), { timeout: 20_000 }).toEqual([]);
});

test.skipIf(!existsSync("/usr/bin/prlimit"))("programs have the limits of the child that starts them", async () => {
  const { messages } = await gather(job("limits-below", "", { programs: true, memoryBytes: 512 * 1024 ** 2 }));
  const [{ limits }, { environment }, { interfaces }] = messages as [
    { limits: string },
    { environment: string },
    { interfaces: string },
  ];
  expect(Number(/Max data size\s+(\d+)/.exec(limits)?.[1])).toBeLessThan(2 * 1024 ** 3);
  expect(Number(/Max open files\s+(\d+)/.exec(limits)?.[1])).toBeLessThanOrEqual(256);
  expect(environment).not.toMatch(/PATH|HOME/);
  const canUnshare = spawnSync("unshare", ["--net", "true"]).status === 0;
  if (canUnshare)
    expect(interfaces.split("\n").filter((line) => line.includes(":") && !line.includes("lo:"))).toEqual([]);
});

test("a child that was not meant to start programs cannot", async () => {
  expect((await failure(job("limits-below"))).message).toMatch(/restricted|ERR_ACCESS_DENIED|denied/i);
});
