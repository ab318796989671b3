import { existsSync, globSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { openInbox, openInboxWriter, type InboxDamage, type InboxEntry, type InboxRow } from "../../src/inbox/index.ts";
import { finish } from "../faults/child.ts";
import { inScratch } from "../faults/sweep.ts";

const mebibyte = 2 ** 20;
const entry = (text: string, topic = "t"): InboxEntry => ({ topic, meta: "{}", body: Buffer.from(text) });
const textOf = ({ body }: InboxRow): string => Buffer.from(body).toString();

async function all(folder: string, from = 1, to = Infinity): Promise<(InboxRow | InboxDamage)[]> {
  await using inbox = openInbox(folder);
  return [...inbox.rows(from, to)].flat();
}

test("rows come back in their order, with what was noted of them, over several files and openings", () =>
  inScratch(async (folder) => {
    const sent: string[] = [];
    for (let opening = 0; opening < 3; opening++) {
      await using writer = await openInboxWriter(folder, { maxBytes: 64 * mebibyte, segmentBytes: 64 * 1024 });
      for (let group = 0; group < 20; group++) {
        const texts = Array.from({ length: 50 }, (_, index) => `${opening}-${group}-${index}`.repeat(20));
        sent.push(...texts);
        const firsts = await Promise.all([
          writer.append(texts.slice(0, 20).map((text) => entry(text, "a"))),
          writer.append(texts.slice(20).map((text) => entry(text, "b"))),
        ]);
        expect(firsts[1]).toBe(firsts[0] + 20);
      }
    }
    const rows = (await all(folder)) as InboxRow[];
    expect(rows.map(textOf)).toEqual(sent);
    expect(rows.map(({ number }) => number)).toEqual(sent.map((_, index) => index + 1));
    expect(rows.map(({ topic }) => topic).slice(18, 22)).toEqual(["a", "a", "b", "b"]);
    expect(Math.abs(rows[0]!.received / 1000 - Date.now())).toBeLessThan(60_000);
    expect(globSync("*.sqlite", { cwd: folder }).length).toBeGreaterThan(3);
    const some = (await all(folder, 1234, 1300)) as InboxRow[];
    expect(some.map(textOf)).toEqual(sent.slice(1233, 1300));
  }));

test("one process writes; another is told so, and may once the first has gone", () =>
  inScratch(async (folder) => {
    const writer = await openInboxWriter(folder, { maxBytes: mebibyte });
    await expect(openInboxWriter(folder, { maxBytes: mebibyte })).rejects.toMatchObject({ code: "conflict" });
    await writer[Symbol.asyncDispose]();
    await using second = await openInboxWriter(folder, { maxBytes: mebibyte });
    expect(await second.append([entry("x")])).toBe(1);
  }));

test("a full inbox refuses, and takes again what fits once a version has the older rows", () =>
  inScratch(async (folder) => {
    await using writer = await openInboxWriter(folder, { maxBytes: mebibyte, segmentBytes: 64 * 1024 });
    const body = Buffer.alloc(16 * 1024, 1);
    let accepted = 0;
    const more = async (): Promise<string> => {
      for (;;) {
        try {
          await writer.append([{ topic: "t", meta: "{}", body }]);
          accepted++;
        } catch (error) {
          const { code, temporary } = error as { code: string; temporary: boolean };
          expect(temporary).toBe(true);
          return code;
        }
      }
    };
    expect(await more()).toBe("full");
    const before = accepted;
    expect(before).toBeGreaterThan(10);
    await using reader = openInbox(folder);
    expect(reader.last()).toBe(before);
    expect(reader.status().bytes).toBeLessThanOrEqual(mebibyte);
    // Two flows read it: what one of them has not yet stays.
    await reader.committed("one", before, { readers: ["one", "two"] });
    expect(await more()).toBe("full");
    expect(accepted).toBe(before);
    await reader.committed("two", before, { readers: ["one", "two"] });
    expect(await more()).toBe("full");
    expect(accepted).toBeGreaterThan(before + 10);
    expect([...reader.rows(before + 1, Infinity)].flat()).toHaveLength(accepted - before);
    expect(() => [...reader.rows(1, 5)]).toThrow(expect.objectContaining({ code: "not-found" }));
  }));

test("rows of a quiet inbox go once they are committed and old enough, and numbers go on", () =>
  inScratch(async (folder) => {
    {
      await using writer = await openInboxWriter(folder, { maxBytes: mebibyte });
      await writer.append([entry("a secret answer"), entry("another")]);
    }
    await using reader = openInbox(folder);
    expect(reader.lag(0)).toEqual({ records: 2, seconds: expect.any(Number) as number });
    expect(reader.lag(2)).toEqual({ records: 0, seconds: 0 });
    await reader.committed("flow", 2, { readers: ["flow"], keepMs: 3_600_000 });
    expect([...reader.rows(1, 2)].flat()).toHaveLength(2);
    await reader.committed("flow", 2, { readers: ["flow"] });
    const files = globSync("*", { cwd: folder, withFileTypes: true }).filter((file) => file.isFile());
    expect(files.some(({ name }) => readFileSync(join(folder, name)).includes("a secret answer"))).toBe(false);
    expect(reader.last()).toBe(2);
    expect(reader.status().committed).toBe(2);
    await using writer = await openInboxWriter(folder, { maxBytes: mebibyte });
    expect(await writer.append([entry("third")])).toBe(3);
    expect(([...reader.rows(3, 3)].flat() as InboxRow[]).map(textOf)).toEqual(["third"]);
  }));

test("who waits is woken by the next row, in this process or another", () =>
  inScratch(async (folder) => {
    await using reader = openInbox(folder);
    expect(reader.last()).toBe(0);
    expect(await reader.wait(0, { milliseconds: 1 })).toBe(false);
    const woken = reader.wait(0, { milliseconds: 30_000 });
    const child = finish({ program: "inbox.ts", args: [folder, "0", "3", "1"] });
    expect(await woken).toBe(true);
    await child;
    expect(await reader.wait(2, { milliseconds: 1 })).toBe(true);
    const stop = new AbortController();
    const stopped = reader.wait(3, { milliseconds: 30_000, signal: stop.signal });
    stop.abort();
    expect(await stopped).toBe(false);
  }));

/** An inbox of one file whose log was not folded back, as a process leaves it that was killed. */
async function killedInbox(folder: string): Promise<{ log: string; file: string; acknowledged: number }> {
  const ended = await finish({
    program: "inbox.ts",
    args: [folder, "0", "40", "1", "1000000"],
    steps: { at: [36], action: "kill", only: "writeSync" },
  });
  expect(ended.killed).toBe(true);
  const [log] = globSync("*.sqlite-wal", { cwd: folder });
  return { log: join(folder, log!), file: join(folder, log!.replace("-wal", "")), acknowledged: ended.lines.length };
}

test(
  "a log that is cut anywhere gives the transactions before the cut; its end is kept, not thrown away",
  { timeout: 120_000 },
  () =>
    inScratch(async (folder) => {
      const place = join(folder, "inbox");
      const { log, file, acknowledged } = await killedInbox(place);
      const [whole, base] = [readFileSync(log), readFileSync(file)];
      expect(acknowledged).toBeGreaterThan(20);
      let [earlier, torn] = [-1, 0];
      const lengths = [
        0,
        16,
        31,
        32,
        ...Array.from({ length: 14 }, (_, index) => Math.floor(((index + 1) * whole.length) / 14) - (index % 3)),
      ];
      for (const length of lengths) {
        rmSync(place, { recursive: true });
        mkdirSync(place);
        writeFileSync(file, base);
        writeFileSync(log, whole);
        truncateSync(log, length);
        {
          await using writer = await openInboxWriter(place, { maxBytes: mebibyte });
          torn += writer.findings.length;
          const isKept = existsSync(join(place, "quarantine"));
          expect(isKept).toBe(writer.findings.length > 0);
          if (isKept) expect(globSync(`${basename(log)}-*`, { cwd: join(place, "quarantine") })).toHaveLength(1);
          await writer.append([entry("after")]);
        }
        const rows = (await all(place)) as InboxRow[];
        expect(textOf(rows.pop()!)).toBe("after");
        expect(rows.map(textOf)).toEqual(rows.map((_, index) => `record ${index} ${"x".repeat(index % 700)}`));
        expect(rows.length).toBeGreaterThanOrEqual(Math.max(0, earlier));
        earlier = rows.length;
      }
      expect(earlier).toBeGreaterThanOrEqual(acknowledged);
      expect(torn).toBeGreaterThan(8);
    }),
);

test(
  "a byte that changed is never read as data: the row is told of, or the transaction and what it took with it",
  { timeout: 120_000 },
  () =>
    inScratch(async (folder) => {
      const place = join(folder, "inbox");
      const { log, file, acknowledged } = await killedInbox(place);
      const [whole, base] = [readFileSync(log), readFileSync(file)];
      const told = { findings: 0, damaged: 0 };
      await openInboxWriter(place, { maxBytes: mebibyte }).then((writer) => writer[Symbol.asyncDispose]());
      const folded = readFileSync(file);
      const flip = async (path: string, at: number): Promise<void> => {
        rmSync(place, { recursive: true, force: true });
        mkdirSync(place);
        writeFileSync(file, path === file ? folded : base);
        if (path === log) writeFileSync(log, whole);
        const bytes = readFileSync(path);
        bytes[at]! ^= 0x55;
        writeFileSync(path, bytes);
        const findings: string[] = [];
        let appended = 0;
        {
          await using writer = await openInboxWriter(place, { maxBytes: mebibyte });
          findings.push(...writer.findings);
          appended = await writer.append([entry("after")]).catch(() => 0);
          if (appended === 0) appended = await writer.append([entry("after")]);
        }
        const rows = await all(place);
        const good = rows.filter((row): row is InboxRow => "body" in row);
        const bad = rows.filter((row) => "problem" in row);
        told.findings += findings.length;
        told.damaged += bad.length;
        for (const row of good) {
          const text = textOf(row);
          if (row.number === appended) expect(text).toBe("after");
          else expect(text).toBe(`record ${row.number - 1} ${"x".repeat((row.number - 1) % 700)}`);
        }
        expect(good.some(({ number }) => number === appended)).toBe(true);
        const missing = acknowledged - (good.length - 1);
        if (missing > 0)
          expect(
            findings.length + bad.length,
            `${missing} missing after a flip at ${at} of ${basename(path)}`,
          ).toBeGreaterThan(0);
      };
      for (let at = 40; at < whole.length; at += Math.floor(whole.length / 9)) await flip(log, at);
      for (let at = 8; at < folded.length; at += 1_999) await flip(file, at);
      expect(told.findings).toBeGreaterThan(5);
      expect(told.damaged).toBeGreaterThan(2);
    }),
);
