import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { openInbox, openInboxWriter, type InboxRow } from "../../src/inbox/index.ts";
import { finish, start } from "./child.ts";
import { testWith } from "./needs.ts";
import { afterPower, cutAt, makeDisk } from "./power.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, soak } from "./trust.ts";

const random = seeded("inbox");

/** What is wrong with an inbox in which these were acknowledged. */
async function problemsOf(folder: string, acknowledged: readonly number[], offered: number): Promise<string[]> {
  await using inbox = openInbox(folder);
  const rows = [...inbox.rows(1, Infinity)].flat();
  const wrong = rows.filter((row) => "problem" in row).map(({ problem }) => problem);
  const seen = new Map<number, number>();
  for (const { body } of rows.filter((row): row is InboxRow => "body" in row)) {
    const text = Buffer.from(body).toString();
    const id = Number(/^record (\d+) /.exec(text)?.[1]);
    if (text !== `record ${id} ${"x".repeat(id % 700)}`) wrong.push(`a row reads ${text.slice(0, 40)}`);
    seen.set(id, (seen.get(id) ?? 0) + 1);
  }
  for (const id of acknowledged) if (!seen.has(id)) wrong.push(`record ${id} was acknowledged and is lost`);
  for (const [id, times] of seen) if (times > 1 || id >= offered) wrong.push(`record ${id} is there ${times} times`);
  return wrong;
}

const kills = await testWith();
kills(`a receiver that is killed at random moments loses nothing that it acknowledged`, { timeout: 900_000 }, () =>
  inScratch(async (folder) => {
    const wanted = soak ? 60 : 8;
    const acknowledged: number[] = [];
    const violations: string[] = [];
    let [next, fired] = [0, 0];
    while (fired < wanted) {
      const child = start({ program: "inbox.ts", args: [folder, String(next), "100000", "64"] });
      const until = random.between(100, 1_500);
      await new Promise<void>((resolve) => {
        const look = setInterval(() => {
          if (child.lines().length < until && child.process.exitCode === null) return;
          clearInterval(look);
          resolve();
        }, 1);
      });
      child.process.kill("SIGKILL");
      const ended = await child.ended;
      if (ended.killed) fired++;
      const ids = ended.lines.map(Number);
      acknowledged.push(...ids);
      // It had begun up to 64 more.
      next = Math.max(...ids) + 65;
      violations.push(...(await problemsOf(folder, acknowledged, next)));
      if (violations.length > 0) break;
    }
    recordFault({
      area: "Kills of whole runs",
      component: "inbox",
      fault: "SIGKILL of the receiver at random moments",
      fired,
      violations: violations.length,
      records: { acknowledged: acknowledged.length, lost: violations.length, duplicated: 0 },
    });
    expect(violations).toEqual([]);
    expect(acknowledged.length).toBeGreaterThan(wanted * 100);
  }),
);

const power = await testWith("mkfs.ext4", "loop devices");
power("what was acknowledged is there after the power was cut", { timeout: 300_000 }, () =>
  inScratch(async (folder) => {
    using disk = makeDisk(folder);
    const at = random.sample(Array(160).keys().toArray(), soak ? 40 : 10).map((step) => step + 3);
    const { cuts } = await cutAt(
      disk,
      {
        program: "inbox.ts",
        args: [join(disk.place, "inbox"), "0", "170", "1"],
        steps: { at: [], action: "pause", only: "writeSync" },
      },
      at.toSorted((left, right) => left - right),
    );
    const violations: string[] = [];
    let most = 0;
    for (const cut of cuts) {
      const acknowledged = cut.lines.map(Number).filter((id) => !Number.isNaN(id));
      most = Math.max(most, acknowledged.length);
      const found = await afterPower(cut.image, async (place) => {
        const wrong = await problemsOf(join(place, "inbox"), acknowledged, 170);
        // And it goes on.
        await using writer = await openInboxWriter(join(place, "inbox"), { maxBytes: 2 ** 24 });
        await writer.append([{ topic: "records", meta: "{}", body: Buffer.from("record 169 x") }]);
        return wrong;
      });
      violations.push(...found.map((text) => `cut before step ${cut.step}: ${text}`));
    }
    recordFault({
      area: "Power cuts",
      component: "inbox",
      fault: "power cut between two acknowledgements",
      fired: cuts.length,
      violations: violations.length,
    });
    expect(violations).toEqual([]);
    expect(cuts.length).toBeGreaterThanOrEqual(at.length - 2);
    expect(most).toBeGreaterThan(50);
  }),
);

const full = await testWith("tmpfs");
full("a disk that is full refuses, acknowledges nothing, and takes more once there is room", { timeout: 60_000 }, () =>
  inScratch(async (folder) => {
    const disk = join(folder, "disk");
    mkdirSync(disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]);
    try {
      const place = join(disk, "inbox");
      const acknowledged: number[] = [];
      let refused = 0;
      let id = 0;
      {
        await using writer = await openInboxWriter(place, { maxBytes: 2 ** 30 });
        const offer = async (): Promise<boolean> => {
          const body = Buffer.from(`record ${id} ${"x".repeat(id % 700)}`);
          try {
            await writer.append(Array.from({ length: 1 }, () => ({ topic: "records", meta: "{}", body })));
            acknowledged.push(id++);
            return true;
          } catch (error) {
            expect(error).toMatchObject({ temporary: true });
            expect(["full", "unknown-outcome"]).toContain((error as { code: string }).code);
            refused++;
            id++;
            return false;
          }
        };
        while (await offer());
        for (let index = 0; index < 5; index++) await offer();
        execFileSync("mount", ["-o", "remount,size=16m", disk]);
        for (let index = 0; index < 20; index++) await offer();
        expect(refused).toBeGreaterThan(1);
        expect(acknowledged.at(-1)).toBe(id - 1);
      }
      const violations = await problemsOf(place, acknowledged, id);
      recordFault({
        area: "Full disks",
        component: "inbox",
        fault: "no space left on the device",
        fired: refused,
        violations: violations.length,
        records: { acknowledged: acknowledged.length, lost: violations.length, duplicated: 0 },
      });
      expect(violations).toEqual([]);
    } finally {
      execFileSync("umount", [disk]);
    }
  }),
);

const crashed = await testWith("strace", "ptrace");
crashed(
  "a receiver that is killed at any of its calls that make files durable loses nothing",
  { timeout: 300_000 },
  () =>
    inScratch(async (folder) => {
      const violations: string[] = [];
      let fired = 0;
      const numbers = soak ? Array.from({ length: 30 }, (_, index) => index + 1) : [1, 4];
      for (const call of ["fdatasync,fsync", "pwrite64", "unlink", "openat"]) {
        for (const number of call === "unlink" ? numbers.slice(0, 1) : numbers) {
          const place = join(folder, `${call.slice(0, 4)}-${number}`);
          const first = await finish({ program: "inbox.ts", args: [place, "0", "60", "4", "1000000"] });
          const acknowledged = first.lines.map(Number);
          const inject = `inject=${call}:signal=SIGKILL:when=${number}`;
          const ended = await finish({
            program: "inbox.ts",
            args: [place, "100", "60", "4", "1000000"],
            strace: [
              "-e",
              `trace=${call}`,
              "-e",
              inject,
              "-P",
              join(place, "0000000000000001.sqlite"),
              "-P",
              join(place, "0000000000000001.sqlite-wal"),
            ],
          });
          if (ended.killed) fired++;
          acknowledged.push(...ended.lines.map(Number));
          violations.push(...(await problemsOf(place, acknowledged, 200)).map((text) => `${call} ${number}: ${text}`));
        }
      }
      recordFault({
        area: "Crashes",
        component: "inbox",
        fault: "SIGKILL at the n-th sync, write, unlink or open of a file",
        fired,
        violations: violations.length,
      });
      expect(violations).toEqual([]);
      expect(fired).toBeGreaterThan(numbers.length + 1);
    }),
);
