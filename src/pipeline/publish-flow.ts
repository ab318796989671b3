import { asMillraceError } from "../core/index.ts";
import type { LakeHandles } from "./lake.ts";
import { openIfExists } from "./plan.ts";
import { publishDataset } from "./publish-copy.ts";
import type { PublicationOutcome, RunReport } from "./report.ts";
import type { RunOptions } from "./run.ts";

/**
 * Brings the copies that a flow publishes up to the current version. One that fails is told in the report and keeps nothing back: the
 * version stays, and the next run publishes again.
 */
export async function publishAfter(
  lake: LakeHandles,
  flowName: string,
  report: RunReport,
  { onProgress, signal }: RunOptions,
): Promise<RunReport> {
  const { publish } = lake.flow(flowName);
  if (publish === undefined || report.status === "failed") return report;
  const current = (await openIfExists(lake, report.dataset))?.current();
  if (current === undefined) return report;
  const publications: PublicationOutcome[] = [];
  for (const { connection, target = report.dataset } of publish) {
    const started = performance.now();
    const said = { connection, target };
    try {
      const [made] = await publishDataset(lake, `${report.dataset}@${current.number}`, {
        to: connection,
        target,
        ...(onProgress ? { onProgress } : {}),
        ...(signal ? { signal } : {}),
      });
      const { status, rows, seconds } = made!;
      publications.push({ ...said, status, rows, seconds });
    } catch (error) {
      const { code, message, hint } = asMillraceError(error);
      publications.push({
        ...said,
        status: "failed",
        rows: 0,
        seconds: (performance.now() - started) / 1000,
        error: { code, message, ...(hint === undefined ? {} : { hint }) },
      });
    }
  }
  return { ...report, publications };
}
