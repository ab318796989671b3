import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { openInbox } from "../../src/inbox/index.ts";
import definition from "../../src/sources/clickstream/index.ts";
import { collecting } from "../support/collecting.ts";
import { testWith } from "./needs.ts";
import { afterPower, cutAt, makeDisk } from "./power.ts";
import { seeded } from "./random.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, soak } from "./trust.ts";

const random = seeded("collect");

/** What is wrong with an inbox whose events were answered with success. */
async function problemsOf(folder: string, acknowledged: readonly number[]): Promise<string[]> {
  await using inbox = openInbox(folder);
  const rows = [...inbox.rows(1, Infinity)].flat();
  const wrong = rows.flatMap((row) => ("problem" in row ? [row.problem] : []));
  const seen = new Map<number, number>();
  for (const row of rows) {
    if ("problem" in row) continue;
    const { messageId, properties } = JSON.parse(Buffer.from(row.body).toString()) as {
      messageId: string;
      properties: { text: string };
    };
    const id = Number(messageId);
    if (properties.text.length !== id % 700) wrong.push(`event ${id} is another than was sent`);
    seen.set(id, (seen.get(id) ?? 0) + 1);
  }
  for (const id of acknowledged)
    if (seen.get(id) !== 1) wrong.push(`event ${id} was acknowledged and is there ${seen.get(id) ?? 0} times`);
  return wrong;
}

const power = await testWith("mkfs.ext4", "loop devices");
power("events that were answered are there after the power was cut", { timeout: 300_000 }, () =>
  inScratch(async (folder) => {
    using disk = makeDisk(folder);
    const at = random.sample(Array(90).keys().toArray(), soak ? 40 : 6).map((step) => step + 4);
    const { cuts } = await cutAt(
      disk,
      {
        program: "collector.ts",
        args: [disk.place, "110", "4"],
        steps: { at: [], action: "pause", only: "writeSync" },
      },
      at.toSorted((left, right) => left - right),
    );
    const violations: string[] = [];
    let most = 0;
    for (const cut of cuts) {
      const acknowledged = cut.lines.map(Number);
      most = Math.max(most, acknowledged.length);
      const found = await afterPower(cut.image, (place) => problemsOf(join(place, "inbox"), acknowledged));
      violations.push(...found.map((text) => `cut before step ${cut.step}: ${text}`));
    }
    recordFault({
      area: "Power cuts",
      component: "collector",
      fault: "power cut between two answers",
      fired: cuts.length,
      violations: violations.length,
      records: { acknowledged: most, lost: violations.length, duplicated: 0 },
    });
    expect(violations).toEqual([]);
    expect(cuts.length).toBeGreaterThanOrEqual(at.length - 2);
    expect(most).toBeGreaterThan(20);
  }),
);

const full = await testWith("tmpfs");
full("a disk that is full is answered with 503, and taken from again once there is room", { timeout: 60_000 }, () =>
  inScratch(async (folder) => {
    const disk = join(folder, "disk");
    mkdirSync(disk);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]);
    try {
      const acknowledged: number[] = [];
      let [id, refused] = [0, 0];
      {
        await using server = await collecting(definition as never, {
          inbox: join(disk, "inbox"),
          keys: { k: { requests_per_second: 100_000 } },
        });
        const offer = async (): Promise<boolean> => {
          const body = { userId: "u", event: "E", messageId: String(id), properties: { text: "x".repeat(id % 700) } };
          const { status } = await server.post("/v1/track", body);
          expect([200, 503]).toContain(status);
          if (status === 200) acknowledged.push(id);
          else refused++;
          id++;
          return status === 200;
        };
        while (await offer());
        for (let index = 0; index < 5; index++) await offer();
        execFileSync("mount", ["-o", "remount,size=16m", disk]);
        for (let index = 0; index < 20; index++) await offer();
        expect(acknowledged.at(-1)).toBe(id - 1);
        expect(server.said[0]).toMatch(/senders are told to come again/);
        expect(server.said.at(-1)).toBe("in: requests are kept again");
      }
      const violations = await problemsOf(join(disk, "inbox"), acknowledged);
      recordFault({
        area: "Disk full",
        component: "collector",
        fault: "no space left on the device",
        fired: refused,
        violations: violations.length,
        records: { acknowledged: acknowledged.length, lost: violations.length, duplicated: 0 },
      });
      expect(violations).toEqual([]);
      expect(refused).toBeGreaterThan(1);
    } finally {
      execFileSync("umount", [disk]);
    }
  }),
);
