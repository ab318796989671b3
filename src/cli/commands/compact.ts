import type { Context, GlobalFlags } from "../context.ts";
import { chosenDatasets, withLake } from "../session.ts";
import { count } from "../text/numbers.ts";
import { table } from "../text/table.ts";

interface Flags extends GlobalFlags {
  readonly target?: number | undefined;
}

export default async function compact(this: Context, flags: Flags, ...names: string[]): Promise<void> {
  const { output } = this;
  await withLake(this, flags, async (lake) => {
    const reports = [];
    for (const name of await chosenDatasets(lake, names)) {
      const { before, after, version } = await lake.compact(
        name,
        flags.target === undefined ? {} : { targetBytes: flags.target },
      );
      reports.push({ dataset: name, before, after, version: version?.number ?? null });
    }
    if (flags.json) {
      output.json(reports);
      return;
    }
    const right = (title: string) => ({ title, align: "right" as const });
    output.print(
      table(
        [{ title: "dataset" }, right("files before"), right("after"), { title: "version" }],
        reports.map((report) => [
          report.dataset,
          count(report.before),
          count(report.after),
          report.version === null ? "unchanged" : `${report.version}`,
        ]),
        output.width,
      ),
    );
  });
}
