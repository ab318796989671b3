import type { CheckResult, RunReport } from "../pipeline/index.ts";
import { paint, type Output } from "./output.ts";
import { displayWidth, escapeData, fit } from "./text/escape.ts";
import { bytes, count, seconds } from "./text/numbers.ts";

const marks = { passed: ["✓", "green"], warned: ["!", "yellow"], failed: ["✗", "red"] } as const;

function checkName(result: CheckResult): string {
  const { column, columns } = result.options as { column?: unknown; columns?: unknown };
  const about = typeof column === "string" ? column : Array.isArray(columns) ? columns.join(", ") : "";
  return escapeData(about === "" ? result.check : `${result.check} ${about}`);
}

/** One line a check: its mark, what it is about, what it found. */
export function checkLines(output: Output, checks: readonly CheckResult[]): string[] {
  const names = checks.map(checkName);
  const width = Math.min(40, Math.max(0, ...names.map(displayWidth)));
  return checks.map((result, index) => {
    const [mark, colour] = marks[result.status];
    const name = fit(names[index]!, width);
    const said = result.error ?? result.message;
    // Most checks say so themselves.
    const rejected = result.rejected && !said.includes("rejected") ? `; ${count(result.rejected)} rejected` : "";
    const message = `${escapeData(said)}${rejected}`;
    const text = `${name}${" ".repeat(width - displayWidth(name))}  ${message}`;
    return `  ${paint(output, colour, mark)} ${output.width === undefined ? text : fit(text, output.width - 4)}`;
  });
}

function headline(output: Output, report: RunReport): string {
  const { dataset, version, base } = report;
  const name = escapeData(dataset);
  switch (report.status) {
    case "published":
      return `${paint(output, "green", "✓")} ${paint(output, "bold", `${name}@${version}`)} published${
        base === undefined ? "" : `, after ${name}@${base}`
      }${report.resumed ? "; an unfinished run was taken up" : ""}`;
    case "unchanged":
      return `${paint(output, "green", "✓")} ${paint(output, "bold", name)} unchanged: nothing new${
        report.version === undefined ? "" : ` since ${name}@${report.version}`
      }`;
    case "failed": {
      const failed = report.checks.filter((check) => check.status === "failed").length;
      return `${paint(output, "red", "✗")} ${paint(output, "bold", name)} not published: ${failed} of ${report.checks.length} checks failed${
        base === undefined ? "" : `; ${name}@${base} stays the current version`
      }`;
    }
  }
}

/** The receipt of a run: what came in, where it went, what the checks say, where to look next. */
export function receipt(output: Output, report: RunReport): string {
  const lines = [headline(output, report)];
  if (report.status === "unchanged" && report.read === 0) {
    const warnings = report.warnings.map((text) => `  ! ${escapeData(text)}`);
    return [...lines, ...warnings, ...publicationLines(output, report)].join("\n");
  }
  const rate = report.seconds > 0 && report.bytesRead > 0 ? `, ${bytes(report.bytesRead / report.seconds)}/s` : "";
  const amounts: [string, number, string][] = [
    ["read", report.read, `${bytes(report.bytesRead)} in ${seconds(report.seconds)}${rate}`],
    ["written", report.written, report.updated ? `${count(report.updated)} of them replaced earlier rows` : ""],
    ["rejected", report.rejected, report.rejected > 0 ? `with reasons in ${report.dataset}__rejected` : ""],
    ["filtered", report.filtered, filteredRemark(report)],
  ];
  if (report.deleted) amounts.push(["deleted", report.deleted, "earlier rows are gone from the dataset"]);
  const width = Math.max(...amounts.map(([, amount]) => count(amount).length));
  for (const [name, amount, remark] of amounts) {
    lines.push(
      `  ${name.padEnd(9)} ${count(amount).padStart(width)}${remark === "" ? "" : `  ${paint(output, "dim", escapeData(remark))}`}`,
    );
  }
  for (const { enricher, rows, asked, cost } of report.enriched ?? []) {
    const known = rows > asked ? `, ${count(rows - asked)} known already` : "";
    const paid = cost > 0 ? `, cost ${cost.toFixed(4)}` : "";
    lines.push(`  enriched  ${count(rows)} by ${escapeData(enricher)}${known}${paid}`);
  }
  if (report.splits !== undefined) {
    const order = ["train", "validation", "test"];
    const splits = Object.entries(report.splits)
      .sort(([left], [right]) => order.indexOf(left) - order.indexOf(right))
      .map(([name, rows]) => `${escapeData(name)} ${count(rows)}`);
    lines.push(`  splits    ${splits.join(" · ")}`);
  }
  lines.push(...checkLines(output, report.checks));
  for (const warning of report.warnings) lines.push(`  ${paint(output, "yellow", "!")} ${escapeData(warning)}`);
  lines.push(...publicationLines(output, report));
  return lines.join("\n");
}

function filteredRemark({ superseded, deletions, filtered }: RunReport): string {
  if (filtered < 0) return "the transform makes more rows than it reads";
  const said = [
    ...(superseded ? [`${count(superseded)} of them superseded by a later row`] : []),
    ...(deletions ? [`${count(deletions)} of them deletions`] : []),
  ];
  return said.join(", ");
}

/** One line a copy: where it is, and whether it is the version. */
function publicationLines(output: Output, { dataset, publications = [] }: RunReport): string[] {
  return publications.flatMap((copy) => {
    const place = `${escapeData(copy.connection)}: ${escapeData(copy.target)}`;
    if (copy.error !== undefined) {
      return [
        `  ${paint(output, "red", "✗")} ${place}  not published: ${escapeData(copy.error.message)}`,
        `    try: ${escapeData(copy.error.hint ?? `millrace publish ${dataset} --to ${copy.connection}`)}`,
      ];
    }
    const said = copy.status === "unchanged" ? "is this version already" : `${count(copy.rows)} rows published`;
    return [`  ${paint(output, "green", "✓")} ${place}  ${said}`];
  });
}

/** What to type next. */
export function nextSteps(report: RunReport): string {
  const { dataset } = report;
  const steps =
    report.status === "failed"
      ? [
          "mend the data or the checks, then run again",
          ...(report.rejected > 0 ? [`millrace preview ${dataset}__rejected`] : []),
        ]
      : [
          `millrace preview ${dataset}`,
          `millrace quality ${dataset}`,
          ...(report.rejected > 0 ? [`millrace preview ${dataset}__rejected`] : []),
        ];
  return `next: ${steps.join(" · ")}`;
}
