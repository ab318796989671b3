import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MillraceError } from "../src/core/index.ts";
import { openLake } from "../src/index.ts";

function hold(condition: boolean, what: string): void {
  if (!condition) throw new MillraceError("corrupt", `it does not hold that ${what}`);
}

/** Publishes two versions of a small dataset to a sink and looks rows up in it. What is left is a target without rows, which is named. */
export async function smokeSink(name: string, options: Record<string, unknown>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-smoke-"));
  const target = `millrace-smoke-${randomUUID()}`;
  try {
    const flow = {
      from: { path: join(folder, "rows.csv") },
      mode: "replace",
      key: ["id"],
      transform: "SELECT id::BIGINT AS id, text FROM input",
    };
    const config = {
      store: join(folder, "lake"),
      connections: { copy: { ...options, sink: name } },
      flows: { rows: flow },
    };
    const lines = (version: number, count: number): string =>
      ["id,text", ...Array.from({ length: count }, (_, id) => `${id},v${version} ${id}`), ""].join("\n");
    for (const [version, count] of [
      [1, 2_000],
      [2, 1_500],
      [3, 0],
    ] as const) {
      await writeFile(join(folder, "rows.csv"), lines(version, count));
      const configPath = join(folder, "millrace.yaml");
      await writeFile(configPath, JSON.stringify(config));
      await using lake = await openLake({ folder });
      await lake.run("rows", { full: true });
      const publish = async () => (await lake.publish("rows", { to: "copy", target }))[0]!;
      const first = await publish();
      hold(first.status === "published" && first.rows === count, `${count} rows are published`);
      hold((await publish()).status === "unchanged", "the same again writes nothing");
      await using lookup = await lake.lookup(target, { connection: "copy", key: ["id"] });
      const { rows } = await lookup.get([[0n], [1_700n], [-1n]]);
      const found = rows.map((row) => (typeof row?.["text"] === "string" ? row["text"] : "none")).join();
      const expected =
        count === 0 ? "none,none,none" : `v${version} 0,${count > 1_700 ? `v${version} 1700` : "none"},none`;
      hold(found === expected, `rows are found by key: ${found}`);
      console.log(`✓ version ${version}: ${count} rows`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  console.log(`what is left is the target \`${target}\`, without rows`);
}
