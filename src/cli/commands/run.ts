import { MillraceError, suggestion } from "../../core/index.ts";
import type { CostEstimate, RunReport } from "../../pipeline/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { errorJson, exitCodeOf, formatError } from "../errors.ts";
import { createProgress } from "../progress.ts";
import { nextSteps, receipt } from "../receipt.ts";
import { withLake } from "../session.ts";

interface Flags extends GlobalFlags {
  readonly all: boolean;
  readonly full: boolean;
  readonly watch: boolean;
  readonly every?: string | undefined;
  readonly metrics?: string | undefined;
}

function chosenFlows(flags: Flags, names: readonly string[], known: readonly string[]): readonly string[] {
  if (flags.all && names.length > 0) {
    throw new MillraceError("usage", "`--all` and names of flows exclude each other", {
      hint: "leave one of them out",
    });
  }
  if (!flags.all && names.length === 0) {
    throw new MillraceError("usage", "no flow is named", { hint: `name one or use --all; ${suggestion("", known)}` });
  }
  for (const name of names) {
    if (!known.includes(name)) {
      throw new MillraceError("not-found", `there is no flow \`${name}\` in the configuration`, {
        hint: suggestion(name, known),
        where: { flow: name },
      });
    }
  }
  return flags.all ? known : names;
}

/** `rekognition asks about 412 inputs, for up to 0.41 USD of at most 10`. */
function costText({ enricher, inputs, cost, currency, maximum }: CostEstimate): string {
  const price = `${Number(cost.toPrecision(3))} ${currency}`;
  return `${enricher} asks about ${inputs} inputs, for up to ${price}${maximum === undefined ? "" : ` of at most ${maximum}`}`;
}

export default async function run(this: Context, flags: Flags, ...names: string[]): Promise<void> {
  const { output, signal } = this;
  await withLake(this, flags, async (lake, config) => {
    const flows = chosenFlows(flags, names, Object.keys(config.flows));
    if (flags.watch) {
      if (flags.full) {
        throw new MillraceError("usage", "--watch reads what is new, --full everything", { hint: "give one of them" });
      }
      const { watchFlows } = await import("../watch.ts");
      return watchFlows(this, flags, lake, flows);
    }
    if (flags.every !== undefined || flags.metrics !== undefined) {
      throw new MillraceError("usage", "--every and --metrics go with --watch", { hint: "add --watch" });
    }
    const runs: unknown[] = [];
    let code = 0;
    for (const [index, flow] of flows.entries()) {
      const progress = createProgress(flow, output.interactive && !flags.quiet && !flags.json);
      let report: RunReport;
      try {
        report = await lake.run(flow, {
          signal,
          full: flags.full,
          onProgress: (state) => progress.show(state),
          onCost(estimate) {
            if (!flags.quiet && !flags.json) output.note(costText(estimate));
          },
        });
      } catch (error) {
        progress.stop();
        // The other flows have nothing to do with it, unless the person wants it all to end.
        if (flows.length === 1 || signal.aborted) throw error;
        code = Math.max(code, exitCodeOf(error));
        runs.push({ flow, ...(JSON.parse(errorJson(error)) as object) });
        output.note(flags.json ? errorJson(error) : formatError(error));
        continue;
      }
      progress.stop();
      runs.push(report);
      const behind = report.publications?.some((copy) => copy.status === "failed") ?? false;
      if (report.status === "failed" || behind) code = Math.max(code, 1);
      if (flags.json) continue;
      if (index > 0) output.print("");
      output.print(receipt(output, report));
      if (!flags.quiet && report.more === true) output.note(`  there is more: run it again, or with --watch`);
      if (!flags.quiet && report.status !== "unchanged") output.note(`  ${nextSteps(report)}`);
    }
    if (flags.json) output.json({ runs });
    if (code !== 0) this.process.exitCode = code;
  });
}
