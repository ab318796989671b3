import type { Lake, RunReport } from "../pipeline/index.ts";
import { flowMetrics, parseAddress, serveMetrics } from "../server/metrics.ts";
import type { Context, GlobalFlags } from "./context.ts";
import { errorJson, exitCodeOf, formatError } from "./errors.ts";
import { paint } from "./output.ts";
import { checkLines } from "./receipt.ts";
import { escapeData } from "./text/escape.ts";
import { count, counted, seconds } from "./text/numbers.ts";

interface Flags extends GlobalFlags {
  readonly every?: string | undefined;
  readonly metrics?: string | undefined;
}

/** Runs flows side by side until somebody stops them. One that fails for good leaves the others going; the exit code is 1 then. */
export async function watchFlows(context: Context, flags: Flags, lake: Lake, flows: readonly string[]): Promise<void> {
  const { output, signal } = context;
  const metrics = flowMetrics(flows);
  await using server =
    flags.metrics === undefined ? undefined : await serveMetrics(() => metrics.text(), parseAddress(flags.metrics));
  if (flags.json) output.json({ watching: flows, ...(server === undefined ? {} : { metrics: server.url }) });
  else if (!flags.quiet) {
    output.note(
      `watching ${flows.join(", ")}; Ctrl-C ends it${server === undefined ? "" : `; figures at ${server.url}`}`,
    );
  }
  const loud = !flags.quiet && !flags.json;
  const begun = performance.now();
  const sums = { versions: 0, rows: 0 };
  await Promise.all(
    flows.map(async (flow) => {
      try {
        await lake.watch(flow, {
          signal,
          ...(flags.every === undefined ? {} : { every: flags.every }),
          onReport(report) {
            metrics.report(report);
            if (report.status === "unchanged") return;
            sums.versions += report.status === "published" ? 1 : 0;
            sums.rows += report.written;
            if (flags.json) output.json(report);
            else output.print(line(context, report));
            if (loud) for (const warning of report.warnings) output.note(`  ! ${escapeData(warning)}`);
          },
          onProblem(error, retryMs) {
            metrics.problem(flow);
            if (flags.json) output.note(errorJson(error));
            else output.note(`${flow}: ${formatError(error)}\n  trying again in ${seconds(retryMs / 1000)}`);
          },
          onLag: (lag) => metrics.lag(flow, lag),
          onTidy(what) {
            if (loud) output.note(`  ${escapeData(what)}`);
          },
        });
      } catch (error) {
        metrics.problem(flow);
        output.note(flags.json ? errorJson(error) : formatError(error));
        context.process.exitCode = Math.max(Number(context.process.exitCode ?? 0), exitCodeOf(error));
      }
    }),
  );
  if (loud) {
    output.note(
      `stopped after ${seconds((performance.now() - begun) / 1000)}: ${counted(sums.rows, "row")} in ${counted(sums.versions, "version")}`,
    );
  }
}

/** `✓ events@12  +1,240 rows, 3 rejected  0.2 s`, and the checks that do not pass. */
function line({ output }: Context, report: RunReport): string {
  const { status, dataset, version, written, rejected, filtered } = report;
  const name = escapeData(dataset);
  const mark = status === "published" ? paint(output, "green", "✓") : paint(output, "red", "✗");
  const what = status === "published" ? `${name}@${version}` : `${name} not published`;
  const amounts = [
    `+${counted(written, "row")}`,
    ...(rejected === 0 ? [] : [`${count(rejected)} rejected`]),
    ...(filtered === 0 ? [] : [`${count(filtered)} filtered`]),
  ];
  const failing = report.checks.filter((check) => check.status !== "passed");
  const head = `${mark} ${paint(output, "bold", what)}  ${amounts.join(", ")}  ${paint(output, "dim", seconds(report.seconds))}`;
  return [head, ...checkLines(output, failing)].join("\n");
}
