import { MillraceError } from "../../core/index.ts";
import type { LeakageOptions, LeakageReport } from "../../pipeline/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { paint, type Output } from "../output.ts";
import { checkLines } from "../receipt.ts";
import { selectionOf, type SelectionFlags } from "../selection.ts";
import { withLake } from "../session.ts";
import { escapeData } from "../text/escape.ts";
import { count } from "../text/numbers.ts";
import { table } from "../text/table.ts";

interface Flags extends GlobalFlags, Omit<SelectionFlags, "split"> {
  readonly text?: string | undefined;
  readonly numbers?: string | undefined;
  readonly hash?: string | undefined;
  readonly similarity?: number | undefined;
  readonly distance?: number | undefined;
  readonly bits?: number | undefined;
  readonly maxRows?: number | undefined;
  readonly maxShare?: number | undefined;
}

export default async function leakage(this: Context, flags: Flags, reference: string): Promise<void> {
  const { output, signal } = this;
  await withLake(this, flags, async (lake) => {
    const near = nearOf(flags);
    const report = await lake.leakage(reference, {
      ...selectionOf(flags),
      ...(near === undefined ? {} : { near }),
      ...(flags.maxRows === undefined ? {} : { maxRows: flags.maxRows }),
      ...(flags.maxShare === undefined ? {} : { maxShare: flags.maxShare }),
      signal,
    });
    if (report.status === "failed") this.process.exitCode = 1;
    if (flags.json) {
      output.json(report);
      return;
    }
    const { dataset, version, rows, checks } = report;
    output.print(`${paint(output, "bold", `${escapeData(dataset)}@${version}`)}  ${count(rows)} rows`);
    output.print(checkLines(output, checks).join("\n"));
    const pairs = pairsTable(output, report);
    if (pairs !== undefined) output.print(`\n${pairs}`);
  });
}

const names = (text: string): string[] => text.split(",").map((name) => name.trim());

function nearOf(flags: Flags): LeakageOptions["near"] {
  const { text, numbers, hash, similarity, distance, bits } = flags;
  const parts = [
    [text, similarity, "text", "similarity"],
    [numbers, distance, "numbers", "distance"],
    [hash, bits, "hash", "bits"],
  ] as const;
  for (const [columns, amount, what, flag] of parts) {
    if (columns === undefined && amount !== undefined) {
      throw new MillraceError("usage", `--${flag} is of --${what}, which names no column`, { hint: `add --${what}` });
    }
  }
  const near = [
    ...(text === undefined ? [] : [{ text: names(text), similarity: similarity ?? 0.8 }]),
    ...(numbers === undefined ? [] : [{ numbers: names(numbers), distance: distance ?? 0.01 }]),
    ...(hash === undefined ? [] : [{ hash, bits: bits ?? 4 }]),
  ];
  return near.length === 0 ? undefined : near;
}

function pairsTable(output: Output, { examples }: LeakageReport): string | undefined {
  const rows = examples.flatMap(({ check, columns, pairs }) =>
    pairs.map(({ left, right, value }) => [
      `${check} ${columns.join(", ")}`,
      String(Number(value.toPrecision(3))),
      `${left.split} ${left.origin}`,
      `${right.split} ${right.origin}`,
    ]),
  );
  if (rows.length === 0) return undefined;
  const columns = [
    { title: "pair" },
    { title: "value", align: "right" as const },
    { title: "row" },
    { title: "is like" },
  ];
  return table(
    columns,
    rows.map((row) => row.map(escapeData)),
    output.width,
  );
}
