import { MillraceError } from "../../core/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { nextSteps, receipt } from "../receipt.ts";
import { withLake } from "../session.ts";

interface Flags extends GlobalFlags {
  readonly where?: string | undefined;
  readonly set?: readonly string[] | undefined;
}

function assignments(set: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    set.map((text) => {
      const equals = text.indexOf("=");
      if (equals < 1 || text.slice(equals + 1).trim() === "") {
        throw new MillraceError("usage", `\`--set ${text}\` is not \`column=expression\``, {
          hint: '--set "price=abs(price)"',
        });
      }
      return [text.slice(0, equals).trim(), text.slice(equals + 1).trim()];
    }),
  );
}

export default async function replay(this: Context, flags: Flags, flow: string): Promise<void> {
  const set = assignments(flags.set ?? []);
  await withLake(this, flags, async (lake) => {
    const report = await lake.replay(flow, {
      set,
      signal: this.signal,
      ...(flags.where === undefined ? {} : { where: flags.where }),
    });
    if (flags.json) this.output.json(report);
    else {
      this.output.print(receipt(this.output, report));
      if (!flags.quiet && report.status !== "unchanged") this.output.note(`  ${nextSteps(report)}`);
    }
    if (report.status === "failed") this.process.exitCode = 1;
  });
}
