import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openEngine } from "../../src/engine/index.ts";

/** Twice a row group of the engine's own size: 250 MB as rows, and nothing as a file. */
const wide = "SELECT i AS id, repeat('x', 1000) || i AS text FROM range(245760) t(i)";

test("long rows are written within the limit of memory: row groups are bounded in bytes too", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-memory-"));
  try {
    await using engine = await openEngine({
      spillFolder: join(folder, "spill"),
      allowed: [folder],
      threads: 2,
      memoryLimit: "250MB",
    });
    // The same without a bound is refused, or the test would show nothing.
    const unbounded = engine.export(wide, join(folder, "unbounded.parquet"), "FORMAT parquet");
    await expect(unbounded).rejects.toMatchObject({ code: "limit" });
    const columns = [
      { name: "id", type: "long" as const, id: 1 },
      { name: "text", type: "string" as const, id: 2 },
    ];
    const [file] = await engine.write(wide, { columns, folder, prefix: "bounded" });
    expect(file!.rows).toBe(245_760);
    const groups = await engine.query(
      `SELECT count(DISTINCT row_group_id)::INTEGER AS groups FROM parquet_metadata('${file!.path}')`,
    );
    expect(Number(groups[0]!["groups"])).toBeGreaterThan(2);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
