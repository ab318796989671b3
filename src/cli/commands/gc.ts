import type { Context, GlobalFlags } from "../context.ts";
import { chosenDatasets, withLake } from "../session.ts";
import { bytes, count } from "../text/numbers.ts";
import { table } from "../text/table.ts";

interface Flags extends GlobalFlags {
  readonly dryRun: boolean;
  readonly olderThan?: number | undefined;
  readonly keep?: number | undefined;
  readonly minimumAge?: number | undefined;
}

export default async function gc(this: Context, flags: Flags, ...names: string[]): Promise<void> {
  const { output } = this;
  await withLake(this, flags, async (lake) => {
    const reports = [];
    for (const name of await chosenDatasets(lake, names)) {
      const report = await lake.gc(name, {
        dryRun: flags.dryRun,
        ...(flags.olderThan === undefined ? {} : { expireOlderThanMs: flags.olderThan }),
        ...(flags.keep === undefined ? {} : { keepVersions: flags.keep }),
        ...(flags.minimumAge === undefined ? {} : { minimumAgeMs: flags.minimumAge }),
      });
      reports.push({ dataset: name, ...report });
    }
    if (flags.json) {
      output.json({ dryRun: flags.dryRun, datasets: reports });
      return;
    }
    const right = (title: string) => ({ title, align: "right" as const });
    output.print(
      table(
        [{ title: "dataset" }, right("versions expired"), right("files removed"), right("freed"), right("files kept")],
        reports.map((report) => [
          report.dataset,
          count(report.expired.length),
          count(report.removed.length),
          bytes(report.bytes),
          count(report.kept),
        ]),
        output.width,
      ),
    );
    for (const { dataset, leased } of reports) {
      for (const { version, by, host, pid, until } of leased) {
        const end = new Date(until).toISOString().slice(0, 19);
        output.note(
          `${dataset}@${version} stays: \`${by}\` reads it (process ${pid} on ${host}, until ${end}Z or longer)`,
        );
      }
    }
    if (flags.dryRun) output.note("nothing was removed: --dry-run only says what would go");
  });
}
