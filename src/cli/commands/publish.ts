import type { Publication } from "../../pipeline/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { paint } from "../output.ts";
import { createProgress } from "../progress.ts";
import { withLake } from "../session.ts";
import { escapeData } from "../text/escape.ts";
import { count, seconds } from "../text/numbers.ts";

interface Flags extends GlobalFlags {
  readonly to?: string | undefined;
  readonly key?: string | undefined;
  readonly mode?: "replace" | "merge" | undefined;
  readonly target?: string | undefined;
}

export default async function publish(this: Context, flags: Flags, reference: string): Promise<void> {
  const { output, signal } = this;
  await withLake(this, flags, async (lake) => {
    const progress = createProgress(reference, output.interactive && !flags.quiet && !flags.json);
    let published: Publication[];
    try {
      published = await lake.publish(reference, {
        signal,
        onProgress: (state) => progress.show(state),
        ...(flags.to === undefined ? {} : { to: flags.to }),
        ...(flags.key === undefined ? {} : { key: flags.key.split(",").map((name) => name.trim()) }),
        ...(flags.mode === undefined ? {} : { mode: flags.mode }),
        ...(flags.target === undefined ? {} : { target: flags.target }),
      });
    } finally {
      progress.stop();
    }
    if (flags.json) {
      output.json({ publications: published });
      return;
    }
    for (const one of published) {
      const version = paint(output, "bold", `${escapeData(one.dataset)}@${one.version}`);
      const place = `${escapeData(one.connection)}: ${escapeData(one.target)}`;
      const mark = paint(output, "green", "✓");
      if (one.status === "unchanged") {
        output.print(`${mark} ${place} is ${version} already`);
        continue;
      }
      output.print(`${mark} ${version} ${one.mode === "merge" ? "merged into" : "published to"} ${place}`);
      const key = one.key.length === 0 ? "without a key" : `key ${one.key.map(escapeData).join(", ")}`;
      output.print(`  ${count(one.rows)} rows in ${seconds(one.seconds)}, ${key}`);
    }
  });
}
