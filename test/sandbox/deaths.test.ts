import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { isMillraceError, type MillraceError } from "../../src/core/index.ts";
import { deathReason, runInSandbox, sandboxCounts, type SandboxJob } from "../../src/sandbox/index.ts";
import { residentBytes, watchMemory } from "../../src/sandbox/memory.ts";

const module = new URL("./work/misbehave.ts", import.meta.url);
const folder = mkdtempSync(join(tmpdir(), "millrace-deaths-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let number = 0;
/** Each job is an input of its own, so that strikes of one test do not reach another. */
const job = (how: string, argument: number | string = "", more: Partial<SandboxJob> = {}): SandboxJob => ({
  module,
  input: [how, argument, number++],
  file: `data/${how}.bin`,
  ...more,
});

async function messages(it: SandboxJob): Promise<unknown[]> {
  const result: unknown[] = [];
  for await (const output of runInSandbox(it)) if (!(output instanceof Uint8Array)) result.push(output.message);
  return result;
}

async function failure(it: SandboxJob): Promise<MillraceError> {
  try {
    await messages(it);
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

const memoryBytes = 192 * 1024 ** 2;

describe("what a worker does, and what it is said to have died of", () => {
  test.each([
    ["exit", 3, "exit", "parse", {}],
    ["exit", 0, "exit", "parse", {}],
    ["abort", "", "crash", "parse", {}],
    ["kill", "", "crash", "parse", {}],
    ["reject", "", "crash", "parse", {}],
    ["unawaited", "", "crash", "parse", {}],
    ["forge", "", "crash", "parse", {}],
    ["hang", "", "deadline", "timeout", { deadlineMs: 300 }],
    ["hoard", "", "memory", "limit", { memoryBytes }],
  ] as const)("%s %s: %s", async (how, argument, reason, code, more) => {
    const before = sandboxCounts().died;
    const error = await failure(job(how, argument, more));
    expect({ reason: deathReason(error), code: error.code, file: error.where.file }).toEqual({
      reason,
      code,
      file: `data/${how}.bin`,
    });
    expect(error.message).toContain(`data/${how}.bin`);
    expect(sandboxCounts().died).toBeGreaterThan(before);
  });

  test("an error that the worker survives is no death", async () => {
    for (const [how, argument] of [
      ["overflow", ""],
      ["gigabytes", ""],
      ["spawn", ""],
      ["fetch", "http://127.0.0.1:1/"],
      ["write", join(folder, "outside")],
      ["read", "/etc/hostname"],
    ] as const) {
      const before = sandboxCounts().died;
      const error = await failure(job(how, argument, { memoryBytes }));
      // Without a limit of the kernel four gigabytes are a matter of the watch, and that kills.
      if (how === "gigabytes" && sandboxCounts().died > before) expect(deathReason(error)).toBe("memory");
      else expect(`${how}: ${deathReason(error)}`).toBe(`${how}: undefined`);
      expect(["parse", "limit"]).toContain(error.code);
    }
    expect(existsSync(join(folder, "outside"))).toBe(false);
  });
});

test("three strikes, then the input is set aside and starts no further process; mended, it is read again", async () => {
  const path = join(folder, "poison.bin");
  writeFileSync(path, "poison");
  const poison = { ...job("abort"), path };
  const before = sandboxCounts();
  expect((await failure(poison)).message).toContain("(3 times)");
  expect(sandboxCounts().died - before.died).toBe(3);
  const again = await failure(poison);
  expect(again.message).toContain("(3 times)");
  expect(deathReason(again)).toBe("crash");
  expect(sandboxCounts().died - before.died).toBe(3);
  utimesSync(path, 1, 1);
  await failure(poison);
  expect(sandboxCounts().died - before.died).toBe(6);
});

test("one that is overdue is not tried again at once: that would cost the deadline each time", async () => {
  const slow = job("hang", "", { deadlineMs: 200 });
  for (const deaths of [1, 1, 1, 0]) {
    const before = sandboxCounts().died;
    expect(deathReason(await failure(slow))).toBe("deadline");
    expect(sandboxCounts().died - before).toBe(deaths);
  }
});

test("a warm child is used again, and only for the folder that it may read", async () => {
  const path = join(folder, "a.bin");
  writeFileSync(path, "content of a");
  const read = (file: string, of: string): SandboxJob => ({ module, input: ["read", of], file, path: file });
  const bytes = async (it: SandboxJob): Promise<string> => {
    let text = "";
    for await (const output of runInSandbox(it))
      if (output instanceof Uint8Array) text += Buffer.from(output).toString();
    return text;
  };
  expect(await bytes(read(path, path))).toBe("content of a");
  const before = sandboxCounts();
  for (let index = 0; index < 5; index++) expect(await bytes(read(path, path))).toBe("content of a");
  expect(sandboxCounts().reused - before.reused).toBe(5);
  expect(sandboxCounts().started).toBe(before.started);
  const elsewhere = mkdtempSync(join(tmpdir(), "millrace-deaths-"));
  writeFileSync(join(elsewhere, "b.bin"), "content of b");
  expect((await failure(read(path, join(elsewhere, "b.bin")))).message).toMatch(/restricted|permission/i);
  expect(await bytes(read(join(elsewhere, "b.bin"), join(elsewhere, "b.bin")))).toBe("content of b");
  rmSync(elsewhere, { recursive: true });
});

test("a folder with a comma or a star in its name can be read", async () => {
  const odd = join(folder, "a,b*c");
  const path = join(odd, "x.bin");
  mkdirSync(odd);
  writeFileSync(path, "odd");
  let text = "";
  for await (const output of runInSandbox({ module, input: ["read", path], file: path, path }))
    if (output instanceof Uint8Array) text += Buffer.from(output).toString();
  expect(text).toBe("odd");
});

test("what one file did to the prototypes is gone for the next", async () => {
  const [polluted] = (await messages(job("pollute"))) as { polluted: number }[];
  const [next] = (await messages(job("who"))) as { pid: number; polluted: boolean }[];
  expect(next!.polluted).toBe(false);
  expect(next!.pid).not.toBe(polluted!.polluted);
});

test("a child works in a folder of its own, which is gone with it, also when its parent is killed", async () => {
  const [own] = (await messages(job("own"))) as { cwd: string; text: string }[];
  expect(own!.text).toBe("mine");
  expect(own!.cwd).not.toBe(process.cwd());
  const script = `
    import { runInSandbox } from ${JSON.stringify(new URL("../../src/sandbox/index.ts", import.meta.url).href)};
    const job = { module: new URL(${JSON.stringify(module.href)}), input: ["own"], file: "x" };
    for await (const output of runInSandbox(job)) console.log(output.message.cwd);
    setInterval(() => undefined, 1000);`;
  const parent = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const theirs = line.toString().trim();
  expect(existsSync(theirs)).toBe(true);
  parent.kill("SIGKILL");
  await expect.poll(() => existsSync(theirs), { timeout: 20_000 }).toBe(false);
});

test("no socket of the file system is reached either", async () => {
  const path = join(folder, "socket");
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.destroy();
  }).listen(path);
  await once(server, "listening");
  expect((await failure(job("pipe", path))).message).toContain("network");
  server.close();
  expect(connections).toBe(0);
});

test("the memory of a process is watched where the kernel sets no limit", async () => {
  const hoarder = spawn(process.execPath, [
    "-e",
    "const hoard = []; setInterval(() => hoard.push(Buffer.alloc(32 * 1024 * 1024, 1)), 10)",
  ]);
  const ended = once(hoarder, "close");
  const stop = watchMemory(hoarder.pid!, 128 * 1024 ** 2, () => hoarder.kill("SIGKILL"));
  expect((await ended)[1]).toBe("SIGKILL");
  stop();
  expect(await residentBytes(process.pid)).toBeGreaterThan(10_000_000);
  expect(await residentBytes(hoarder.pid!)).toBeUndefined();
});
