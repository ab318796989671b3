import { fork, type ChildProcess } from "node:child_process";
import { globSync } from "node:fs";
import { once } from "node:events";
import { join, relative } from "node:path";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { recordFault } from "../faults/trust.ts";
import { corpora, haveCorpora } from "../formats/landing.ts";
import type { Done, FromHost, ToHost } from "./host.ts";

let host: ChildProcess;
/** Health checks: how many were asked, and how many answered. */
let asked = 0;
let answered = 0;
let pings: NodeJS.Timeout;
let exits = 0;

beforeAll(() => {
  host = fork(fileURLToPath(new URL("./host.ts", import.meta.url)), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  host.on("exit", () => exits++);
  host.on("message", (message: FromHost) => {
    if ("pong" in message) answered++;
  });
  pings = setInterval(() => {
    asked++;
    tell({ ping: asked });
  }, 50);
});
afterAll(async () => {
  clearInterval(pings);
  const ended = once(host, "exit");
  host.disconnect();
  await ended;
});

const tell = (message: ToHost): void => void (host.connected && host.send(message));

/** Sends work, and gives what the host said of it until it said that it has finished. */
async function work(
  order: ToHost,
): Promise<{ messages: FromHost[]; counts: Record<string, number>; turns: number[]; checks: number }> {
  const checks = answered;
  const messages: FromHost[] = [];
  return new Promise((resolve, reject) => {
    const ended = (code: number | null, signal: string | null): void =>
      reject(new Error(`the host ended (${signal ?? code}) after ${JSON.stringify(messages.at(-1))}`));
    host.once("exit", ended);
    const listen = (message: FromHost): void => {
      messages.push(message);
      if (!("finished" in message)) return;
      host.off("message", listen);
      host.off("exit", ended);
      resolve({ messages, counts: message.finished, turns: message.turns, checks });
    };
    host.on("message", listen);
    tell(order);
  });
}

/** Nothing held its event loop for a second, and it answered while it worked. */
function expectHealthy(turns: readonly number[], checks: number): void {
  expect(exits).toBe(0);
  expect(answered - checks).toBeGreaterThan(5);
  expect(turns.length).toBeGreaterThan(20);
  const sorted = turns.toSorted((left, right) => left - right);
  expect(sorted[Math.floor(sorted.length * 0.99)]).toBeLessThan(1_000);
}

test("workers that do their worst die, and their host answers meanwhile", { timeout: 120_000 }, async () => {
  let reached = 0;
  const server = createServer((socket) => {
    reached++;
    socket.destroy();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const expected: [string, string | number, string][] = [
    ["exit", 1, "exit"],
    ["abort", "", "crash"],
    ["kill", "", "crash"],
    ["hang", "", "deadline"],
    ["hoard", "", "memory"],
    ["reject", "", "crash"],
    ["unawaited", "", "crash"],
    ["overflow", "", "parse"],
    ["write", join(tmpdir(), "millrace-outside"), "parse"],
    ["connect", (server.address() as { port: number }).port, "parse"],
    ["count", 100, "data"],
  ];
  const { messages, counts, turns, checks } = await work({
    workers: expected.map(([how, argument]) => [how, argument]),
  });
  server.close();
  const outcomes = messages.flatMap((message) => ("worker" in message ? [message.worker] : []));
  expect(outcomes).toEqual(expected.map(([how, , outcome]) => ({ how, outcome })));
  // Four that crash or exit have three tries each; what cost time or memory, or had given something, has one.
  expect(counts["died"]).toBe(4 * 3 + 3);
  expect(reached).toBe(0);
  expectHealthy(turns, checks);
});

/** Kinds that `test/formats/hostile.test.ts` reads file by file: the engine parses them, and no other process. */
const elsewhere = /^(csv|json|ndjson|croissant-invalid)\//;
/** Nothing in these is a table, so none may give rows; but for a palette of colours, which is text in lines. */
const noTables = /^(pdf|images|video|audio|dicom|orc)\/.*(?<!\.gpl)$/;

test.skipIf(!haveCorpora)(
  "every hostile file ends in data, rejected records or a refusal that names it; nothing that is no table gives rows",
  { timeout: 300_000 },
  async () => {
    const base = join(corpora, "hostile");
    const files = globSync("**/*", { cwd: base, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== "expected.json")
      .map((entry) => relative(base, join(entry.parentPath, entry.name)))
      .filter((file) => !elsewhere.test(file))
      .toSorted();
    expect(files.length).toBeGreaterThan(1_000);
    const { messages, turns, checks } = await work({ files: files.map((file) => join(base, file)) });
    const done = messages.flatMap((message) => ("done" in message ? [message.done] : []));
    expect(done.length).toBe(files.length);
    const name = (each: Done): string => relative(base, each.file);
    const wrong = done.filter(
      (each) =>
        ["thrown", "lost", "internal", "usage", "aborted"].includes(each.outcome) ||
        (!["data", "rejected"].includes(each.outcome) && !each.message.includes(each.file.split("/").at(-1)!)) ||
        (noTables.test(name(each)) && ["data", "rejected"].includes(each.outcome)),
    );
    for (const folder of new Set(files.map((file) => file.split("/")[0]!))) {
      const own = (each: { file: string }): boolean => each.file.startsWith(join(base, folder) + "/");
      recordFault({
        area: "Hostile files",
        component: "one process that stays, and its parsers",
        fault: `files of ${folder}`,
        fired: done.filter(own).length,
        // What went wrong; and the process, had it been lost.
        violations: wrong.filter(own).length + exits,
      });
    }
    expect(wrong.map((each) => `${name(each)}: ${each.outcome}: ${each.message}`)).toEqual([]);
    expectHealthy(turns, checks);
  },
);
