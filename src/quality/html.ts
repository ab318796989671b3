import type { CheckResult, RunReport } from "../pipeline/report.ts";
import type { ColumnProfile, Profile } from "./profile.ts";
import { escapeHtml } from "./escape.ts";
import { columnPlot, historyPlot } from "./plots.ts";
import { compactNumber, compactShare } from "./profile-text.ts";

/** One version as the history of the page shows it. */
export interface HistoryEntry {
  version: number;
  /** Milliseconds since the epoch. */
  time: number;
  rows: number;
  tags?: readonly string[];
  /** Verdict of its run, when its report is known. */
  report?: RunReport;
}

export interface QualityPage {
  dataset: string;
  version: number;
  /** Report of the run that made the version. */
  report?: RunReport | undefined;
  profile: Profile;
  history?: readonly HistoryEntry[];
}

export const pageStyle = `
:root { color-scheme: light dark; --ink: #1b2530; --soft: #5b6875; --line: #d5dce3; --back: #fbfcfd; --card: #ffffff;
  --bar: #2f6f9f; --good: #1a7f4b; --warn: #9a6400; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --soft: #9aa7b4; --line: #36424e; --back: #14191f; --card: #1b222a;
  --bar: #6fb1de; --good: #62c892; --warn: #e0b04c; --bad: #f28b82; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1rem 4rem; max-width: 72rem; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; } p { margin: .4rem 0; }
.soft { color: var(--soft); } .scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .92rem; } caption { text-align: left; padding: .5rem .7rem; color: var(--soft); }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; white-space: nowrap; } tbody th { font-weight: 600; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.passed { color: var(--good); } .warned { color: var(--warn); } .failed { color: var(--bad); } .verdict { font-weight: 600; white-space: nowrap; }
svg { display: block; } svg .bar { fill: var(--bar); } svg .line { fill: none; stroke: var(--bar); stroke-width: 2; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
dl { display: flex; flex-wrap: wrap; gap: .6rem 2rem; margin: 1rem 0; } dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
code { font: .9em ui-monospace, monospace; }
@media print { body { max-width: none; } .scroll { overflow: visible; } }
`;

const marks = { passed: "✓ passed", warned: "! warned", failed: "✗ failed" } as const;

/** Back-quoted names in messages become code. Escapes first, so nothing of the data is ever markup. */
function prose(text: string): string {
  return escapeHtml(text).replace(/`([^`]+)`/g, "<code>$1</code>");
}

function verdictOf(checks: readonly CheckResult[]): keyof typeof marks {
  if (checks.some((check) => check.status === "failed")) return "failed";
  return checks.some((check) => check.status === "warned") ? "warned" : "passed";
}

function optionsText(check: CheckResult): string {
  const { check: _name, on_fail, ...rest } = check.options;
  const parts = Object.entries(rest).map(
    ([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return [...parts, `on_fail: ${on_fail}`].join(", ");
}

function checksTable(report: RunReport | undefined): string {
  if (report === undefined) return `<p class="soft">The report of the run that made this version is not there.</p>`;
  if (report.checks.length === 0) return `<p class="soft">The flow has no checks.</p>`;
  const rows = report.checks.map(
    (check) =>
      `<tr><td class="verdict ${check.status}">${check.error === undefined ? marks[check.status] : "✗ not measured"}</td>` +
      `<th scope="row">${escapeHtml(check.check)}<br><span class="soft">${escapeHtml(optionsText(check))}</span></th>` +
      `<td>${prose(check.message)}</td><td class="number">${check.failing ?? ""}</td><td class="number">${check.rejected ?? ""}</td></tr>`,
  );
  return table(
    `Checks of run ${escapeHtml(report.run)}`,
    ["Verdict", "Check", "What was found", "#Failing rows", "#Rejected"],
    rows,
  );
}

/** Heads that begin with `#` are numbers. */
function table(caption: string, heads: readonly string[], rows: readonly string[]): string {
  const cells = heads.map((head) =>
    head.startsWith("#") ? `<th scope="col" class="number">${head.slice(1)}</th>` : `<th scope="col">${head}</th>`,
  );
  return `<div class="scroll" tabindex="0"><table><caption>${caption}</caption><thead><tr>${cells.join("")}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

function factsOf(column: ColumnProfile): string {
  const facts: string[] = [];
  const number = (value: number): string => escapeHtml(compactNumber(value));
  if (column.mean !== undefined) facts.push(`mean ${number(column.mean)}`);
  if (column.stddev !== undefined) facts.push(`standard deviation ${number(column.stddev)}`);
  if (column.quantiles?.["0.5"] !== undefined) facts.push(`median ${number(column.quantiles["0.5"])}`);
  if (column.notFinite !== undefined && column.notFinite > 0) facts.push(`${column.notFinite} not finite`);
  if (column.length !== undefined)
    facts.push(`length ${column.length.min} to ${column.length.max}, mean ${number(column.length.mean)}`);
  return facts.join("<br>");
}

function profileTable(profile: Profile): string {
  const rows = profile.columns.map((column) => {
    const range =
      column.min === undefined || column.max === undefined
        ? ""
        : `${escapeHtml(column.min)}<br>${escapeHtml(column.max)}`;
    return (
      `<tr><th scope="row">${escapeHtml(column.name)}<br><span class="soft">${escapeHtml(column.type)}</span></th>` +
      `<td class="number">${column.nulls}<br><span class="soft">${escapeHtml(compactShare(column.nulls, profile.rows))}</span></td>` +
      `<td class="number">${column.distinct ?? ""}</td><td>${range}</td><td>${factsOf(column)}</td><td>${columnPlot(column, profile.rows)}</td></tr>`
    );
  });
  return table(
    `${profile.columns.length} columns of ${profile.rows} rows; the number of different values is approximate`,
    ["Column", "#Nulls", "#Different values", "Smallest and largest", "Measures", "Distribution"],
    rows,
  );
}

function historyTable(history: readonly HistoryEntry[]): string {
  const rows = history.toReversed().map((entry) => {
    const verdict = entry.report === undefined ? undefined : verdictOf(entry.report.checks);
    return (
      `<tr><th scope="row">${entry.version}${(entry.tags ?? []).map((tag) => ` <span class="soft">${escapeHtml(tag)}</span>`).join("")}</th>` +
      `<td>${escapeHtml(new Date(entry.time).toISOString().replace("T", " ").slice(0, 19))} UTC</td><td class="number">${entry.rows}</td>` +
      `<td class="number">${entry.report?.rejected ?? ""}</td><td class="verdict ${verdict ?? ""}">${verdict === undefined ? "" : marks[verdict]}</td></tr>`
    );
  });
  return (
    historyPlot(history) +
    table("Versions, the newest first", ["Version", "Made", "#Rows", "#Rejected", "Verdict"], rows)
  );
}

/**
 * One page that says whether a version can be trusted: verdicts, profile, history. It needs no network and no script, follows the
 * reader's light or dark setting, and everything that comes from data is escaped.
 */
export function renderQualityHtml({ dataset, version, report, profile, history = [] }: QualityPage): string {
  const title = `${escapeHtml(dataset)}@${version}`;
  const verdict = report === undefined ? undefined : verdictOf(report.checks);
  const numbers: [string, string][] = [["Rows", String(profile.rows)]];
  if (report !== undefined) {
    numbers.push(
      ["Read by the run", String(report.read)],
      ["Written", String(report.written)],
      ["Rejected", String(report.rejected)],
      ["Filtered", String(report.filtered)],
    );
    for (const [split, rows] of Object.entries(report.splits ?? {}))
      numbers.push([`Split ${split}`, `${rows} (${compactShare(rows, report.written)})`]);
  }
  const facts = numbers
    .map(([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`)
    .join("");
  const warnings = (report?.warnings ?? []).map((warning) => `<p class="warned">${prose(warning)}</p>`).join("");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Quality of ${title}</title>
<style>${pageStyle}</style>
</head>
<body>
<header><h1>Quality of ${title}</h1>
${verdict === undefined ? "" : `<p class="verdict ${verdict}">${marks[verdict]}</p>`}
${report === undefined ? "" : `<p class="soft">Run ${escapeHtml(report.run)} of the flow ${escapeHtml(report.flow)}, begun ${escapeHtml(report.startedAt)}</p>`}
<dl>${facts}</dl>${warnings}</header>
<main>
<section><h2>Checks</h2>${checksTable(report)}</section>
<section><h2>Profile</h2>${profileTable(profile)}</section>
${history.length === 0 ? "" : `<section><h2>History</h2>${historyTable(history)}</section>`}
</main>
</body>
</html>
`;
}
