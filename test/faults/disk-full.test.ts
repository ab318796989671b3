import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { isMillraceError, messageOf, type MillraceError } from "../../src/core/index.ts";
import { testWith } from "./needs.ts";
import { offerFile, oracleFiles } from "./oracle-lake.ts";
import { inScratch } from "./sweep.ts";
import { recordFault, soak } from "./trust.ts";

const test = await testWith("tmpfs");

const limits = {
  bytes: (soak ? Array.from({ length: 40 }, (_, index) => 4 + 4 * index) : [4, 16, 32, 48, 64, 96]).map(
    (k) => `size=${k}k`,
  ),
  inodes: (soak ? Array.from({ length: 40 }, (_, index) => 4 + index) : [4, 8, 12, 18, 24, 30]).map(
    (n) => `nr_inodes=${n}`,
  ),
};

test.each(["bytes", "inodes"] as const)(
  "a disk that runs out of %s: said clearly, nothing half, earlier versions readable, and with space the same run completes",
  { timeout: 600_000 },
  (kind) =>
    inScratch(async (folder) => {
      let fired = 0;
      const violations: string[] = [];
      for (const limit of limits[kind]) {
        const place = join(folder, limit.replace("=", "-"));
        const disk = join(place, "disk");
        const lake = oracleFiles(place, "append");
        mkdirSync(disk);
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=64m,nr_inodes=100000", "tmpfs", disk]);
        try {
          // The lake lies on the disk, the source and the configuration do not.
          mkdirSync(join(disk, "lake"));
          symlinkSync(join(disk, "lake"), join(place, "lake"));
          offerFile(lake, 0, 300);
          await lake.run();
          const before = lake.ledger.good;
          offerFile(lake, 1, 300);
          const [used, inodes] = usedOf(disk);
          const [name, extra] = limit.split("=");
          const option =
            name === "size" ? `size=${used + Number.parseInt(extra!) * 1024}` : `nr_inodes=${inodes + Number(extra)}`;
          execFileSync("mount", ["-o", `remount,${option}`, disk]);
          const error: unknown = await lake.run().then(
            () => undefined,
            (problem: unknown) => problem,
          );
          if (error !== undefined) {
            fired++;
            const clear = isMillraceError(error) && error.code === "full" && (error.hint ?? "").includes("space");
            if (!clear)
              violations.push(`${limit}: no clear error but ${(error as MillraceError).code}: ${messageOf(error)}`);
          }
          const rows = await lake.rows();
          if (rows !== (error === undefined ? lake.ledger.good : before))
            violations.push(`${limit}: ${rows} rows are visible`);
          execFileSync("mount", ["-o", "remount,size=64m,nr_inodes=100000", disk]);
          await lake.run();
          violations.push(...(await lake.tally()).violations.map((text) => `${limit}: ${text}`));
        } finally {
          execFileSync("umount", ["-l", disk]);
        }
        rmSync(place, { recursive: true, force: true });
      }
      const finding = { area: "Disk full", component: "run of files, append", fault: `tmpfs without further ${kind}` };
      recordFault({ ...finding, fired, violations: violations.length });
      expect(violations).toEqual([]);
      expect(fired).toBeGreaterThanOrEqual(3);
    }),
);

/** Bytes and inodes in use on a file system. */
function usedOf(place: string): [bytes: number, inodes: number] {
  const numbers = (flags: string[]): number[] => {
    const output = execFileSync("df", [...flags, place], { encoding: "utf8" });
    return output.trim().split("\n").at(-1)!.trim().split(/\s+/).map(Number);
  };
  return [numbers(["--block-size=1", "--output=used"])[0]!, numbers(["--output=iused"])[0]!];
}
