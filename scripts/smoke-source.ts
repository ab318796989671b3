import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MillraceError } from "../src/core/index.ts";
import { openLake } from "../src/index.ts";
import { registry } from "../src/registry.ts";

function hold(condition: boolean, what: string): void {
  if (!condition) throw new MillraceError("corrupt", `it does not hold that ${what}`);
}

/** Reads a stream into a lake of its own, which is removed; the stream stays as it was. */
export async function smokeSource(name: string, stream: string, options: Record<string, unknown>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-smoke-"));
  try {
    const config = {
      store: join(folder, "lake"),
      connections: { live: { ...options, source: name } },
      flows: { rows: { from: { connection: "live", stream } } },
    };
    await writeFile(join(folder, "millrace.yaml"), JSON.stringify(config));
    const definition = await registry.sources[name]!.load();
    await using lake = await openLake({ folder });
    const first = await lake.run("rows");
    console.log(`✓ ${first.written} rows are written and ${first.rejected} set aside`);
    if (first.status === "unchanged") {
      console.log("there is nothing in the stream");
      return;
    }
    hold(first.read === first.written + first.rejected + first.filtered, "each record is somewhere");
    hold((await lake.verify("rows", { deep: true })).problems.length === 0, "the dataset is whole");
    console.log("✓ the dataset is whole");
    if (definition.capabilities.incremental) {
      const second = await lake.run("rows");
      console.log(`✓ a second run adds the ${second.written} rows that came since`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
