import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { withReadCache } from "../../src/dataset/index.ts";
import fs from "../../src/stores/fs/index.ts";
import { testWith } from "../faults/needs.ts";
import { elsewhere } from "../support/store.ts";

const test = await testWith("tmpfs");

test("a cache on a full disk says so, leaves nothing, and goes on when there is space", async () => {
  const root = mkdtempSync(join(tmpdir(), "millrace-cache-disk-"));
  const disk = join(root, "disk");
  mkdirSync(disk);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "tmpfs", disk]);
  try {
    const driver = await fs.load();
    const store = elsewhere(await driver.open({ path: join(root, "store") }, { connection: "store", folder: root }));
    const bytes = Buffer.alloc(1_000_000, "content");
    await store.write("d/data/a", bytes);
    const folder = join(disk, "objects");
    const cache = withReadCache(store, { folder, use: join(disk, "use"), maxBytes: 1e9 });
    const file = { path: "d/data/a", bytes: bytes.length };
    await expect(cache.fetch!([file])).rejects.toMatchObject({
      code: "full",
      hint: expect.stringContaining("cache.path") as string,
    });
    expect(readdirSync(folder)).toEqual([]);
    execFileSync("mount", ["-o", "remount,size=4m", disk]);
    await cache.fetch!([file]);
    expect(readdirSync(folder)).toHaveLength(2);
  } finally {
    execFileSync("umount", ["-l", disk]);
    rmSync(root, { recursive: true, force: true });
  }
});
