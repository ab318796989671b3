import { MillraceError, suggestion } from "../../core/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { createProgress } from "../progress.ts";
import { nextSteps, receipt } from "../receipt.ts";
import { withLake } from "../session.ts";
import { escapeData } from "../text/escape.ts";
import { bytes, counted } from "../text/numbers.ts";

interface Flags extends GlobalFlags {
  readonly entities?: string | undefined;
  readonly at?: string | undefined;
  readonly to?: string | undefined;
  readonly full: boolean;
}

export default async function features(this: Context, flags: Flags, name: string): Promise<void> {
  const { output, signal } = this;
  await withLake(this, flags, async (lake, config) => {
    const known = Object.keys(config.features ?? {});
    if (!known.includes(name)) {
      throw new MillraceError("not-found", `there are no features \`${name}\` in the configuration`, {
        hint:
          known.length === 0
            ? "add `features:` to the configuration; see docs/guide/features.md"
            : suggestion(name, known),
      });
    }
    const choice = {
      ...(flags.entities === undefined ? {} : { entities: flags.entities }),
      ...(flags.at === undefined ? {} : { at: flags.at }),
      signal,
    };
    if (flags.to !== undefined) {
      if (flags.full)
        throw new MillraceError("usage", "--to makes no version, so --full has no meaning", { hint: "leave one out" });
      const made = await lake.exportFeatures(name, { ...choice, to: flags.to });
      if (flags.json) {
        output.json(made);
        return;
      }
      const inputs = made.inputs.map(({ dataset, version }) => `${dataset}@${version}`).join(" + ");
      output.print(
        `${escapeData(made.path)}: ${counted(made.rows, "row")}, ${bytes(made.bytes)}, from ${escapeData(inputs)}`,
      );
      if (made.withoutMoment > 0) output.print(`  ! ${counted(made.withoutMoment, "row")} without a moment left out`);
      return;
    }
    const progress = createProgress(name, output.interactive && !flags.quiet && !flags.json);
    const report = await lake
      .features(name, { ...choice, full: flags.full, onProgress: (state) => progress.show(state) })
      .finally(() => progress.stop());
    if (report.status === "failed") this.process.exitCode = 1;
    if (flags.json) {
      output.json(report);
      return;
    }
    output.print(receipt(output, report));
    if (!flags.quiet && report.status !== "unchanged") output.note(`  ${nextSteps(report)}`);
  });
}
