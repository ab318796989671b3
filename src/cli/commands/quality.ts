import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { renderProfileText, renderQualityHtml } from "../../quality/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { paint } from "../output.ts";
import { checkLines } from "../receipt.ts";
import { withLake } from "../session.ts";
import { escapeLines } from "../text/escape.ts";
import { count } from "../text/numbers.ts";

/** Versions in the history of the page. */
const shownVersions = 50;

interface Flags extends GlobalFlags {
  readonly html?: string | undefined;
}

export default async function quality(this: Context, flags: Flags, reference: string): Promise<void> {
  const { output } = this;
  await withLake(this, flags, async (lake) => {
    const { dataset } = await lake.dataset(reference);
    const { report, profile, version, history } = await lake.quality(reference, {
      history: flags.html === undefined ? 0 : shownVersions,
    });
    const name = `${dataset.name}@${version.number}`;
    if (flags.html !== undefined) {
      const page = renderQualityHtml({ dataset: dataset.name, version: version.number, report, profile, history });
      await writeFile(resolve(flags.html), page);
    }
    if (flags.json) {
      output.json({ dataset: dataset.name, version: version.number, report: report ?? null, profile });
      return;
    }
    output.print(`${paint(output, "bold", name)}  ${count(profile.rows)} rows`);
    if (report === undefined) output.print("no report of the run that made this version is kept");
    else if (report.checks.length === 0) output.print("no checks are configured");
    else output.print(checkLines(output, report.checks).join("\n"));
    output.print("");
    output.print(escapeLines(renderProfileText(profile, output.width ?? 120)));
    if (flags.html !== undefined && !flags.quiet) output.note(`\nthe page with plots is in ${flags.html}`);
  });
}
