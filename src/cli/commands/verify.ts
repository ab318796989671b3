import type { VerifyReport } from "../../dataset/index.ts";
import type { SourceComparison } from "../../pipeline/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { paint } from "../output.ts";
import { chosenDatasets, withLake } from "../session.ts";
import { escapeData } from "../text/escape.ts";
import { bytes, count, counted } from "../text/numbers.ts";
import { table } from "../text/table.ts";

interface Flags extends GlobalFlags {
  readonly deep: boolean;
  readonly source: boolean;
}

const mark = (ok: boolean, output: { colour: boolean }): string =>
  ok ? paint(output, "green", "✓") : paint(output, "red", "✗");

function printFiles(context: Context, name: string, report: VerifyReport): void {
  const { output } = context;
  const sound = report.problems.length === 0;
  output.print(
    `${mark(sound, output)} ${name}: ${counted(report.versions, "version")}, ${counted(report.files, "file")}, ${counted(report.rows, "row")}, ${bytes(report.bytes)}${
      sound ? "" : `; ${counted(report.problems.length, "problem")}`
    }`,
  );
  for (const problem of report.problems)
    output.print(`  version ${problem.version}: ${escapeData(problem.file)}: ${escapeData(problem.problem)}`);
}

function printSource(context: Context, flow: string, report: SourceComparison): void {
  const { output } = context;
  const rowsSame = report.rows.source === report.rows.dataset;
  output.print(
    `${mark(report.same, output)} ${flow}: ${count(report.rows.source)} rows in the source, ${count(report.rows.dataset)} in ${report.dataset}@${report.version}`,
  );
  const different = report.columns.filter((column) => !column.same);
  if (different.length > 0) {
    const facts = (value: unknown): string => (value === undefined ? "" : String(value as string | number));
    output.print(
      table(
        [
          { title: "column" },
          { title: "" },
          { title: "nulls", align: "right" },
          { title: "min" },
          { title: "max" },
          { title: "checksum" },
        ],
        different.flatMap(({ name, source, dataset }) => [
          [name, "source", facts(source.nulls), facts(source.min), facts(source.max), facts(source.checksum)],
          ["", "dataset", facts(dataset.nulls), facts(dataset.min), facts(dataset.max), facts(dataset.checksum)],
        ]),
        output.width,
      ),
    );
  } else if (rowsSame)
    output.print(`  ${count(report.columns.length)} columns agree in nulls, minimum, maximum and checksum`);
}

export default async function verify(this: Context, flags: Flags, ...names: string[]): Promise<void> {
  const { output, signal } = this;
  await withLake(this, flags, async (lake, config) => {
    const files: object[] = [];
    const sources: object[] = [];
    let sound = true;
    if (flags.source) {
      for (const flow of names.length > 0 ? names : Object.keys(config.flows)) {
        const report = await lake.verifySource(flow, signal);
        sound &&= report.same;
        sources.push({ flow, ...report });
        if (!flags.json) printSource(this, flow, report);
      }
    } else {
      for (const name of await chosenDatasets(lake, names)) {
        const report = await lake.verify(name, { deep: flags.deep });
        sound &&= report.problems.length === 0;
        files.push({ dataset: name, ...report });
        if (!flags.json) printFiles(this, name, report);
      }
    }
    if (flags.json) output.json({ sound, ...(flags.source ? { sources } : { datasets: files }) });
    if (!sound) this.process.exitCode = 1;
  });
}
