/**
 * Renders `docs/trust.md` from what the fault tests wrote into `.cache/trust`. Run by `npm run soak`, whose figures are committed.
 *
 *     npm run soak
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

interface Fault {
  kind: "fault";
  area: string;
  component: string;
  fault: string;
  fired: number;
  violations: number;
  records?: { acknowledged: number; lost: number; duplicated: number };
}
interface Mutant {
  kind: "mutant";
  mutant: string;
  without: string;
  by: string;
  caught: boolean;
}
interface Skip {
  kind: "skip";
  what: string;
  reason: string;
}
interface Results {
  test: string;
  soak: boolean;
  found: (Fault | Mutant | Skip)[];
}

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(root, ".cache/trust");
const results = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .sort()
  .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as Results);
const all = results.flatMap(({ found }) => found);
const faults = all.filter((one) => one.kind === "fault");
const mutants = all.filter((one) => one.kind === "mutant");
const skips = all.filter((one) => one.kind === "skip");

const number = (value: number): string => value.toLocaleString("en");
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** A table of Markdown; columns of numbers stand to the right. */
function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const line = (cells: readonly (string | number)[]): string =>
    `| ${cells.map((cell) => (typeof cell === "number" ? number(cell) : cell.replaceAll("|", "\\|"))).join(" | ")} |`;
  const marks = head.map((_, index) => (typeof rows[0]?.[index] === "number" ? "---:" : "---"));
  return [line(head), line(marks), ...rows.map(line), ""];
}

const areas = [...new Set(faults.map(({ area }) => area))].sort();
const short = results.filter((one) => !one.soak).map((one) => `\`${one.test}\``);
const swept = short.length === 0 ? "the long variants" : `the long variants, and a sample for ${short.join(", ")}`;
const versions = `Linux ${release().split(".").slice(0, 2).join(".")}, ${cpus().length} processors, Node ${process.versions.node}`;
const lines = [
  "# Trust: what was done to Millrace, and what came of it",
  "",
  "Every figure is counted by a test while it ran; `npm run soak` makes this page anew. Each test proves that its",
  "fault struck, looks at the data with a ledger that knows every record, and lets the work go on afterwards. Each safety mechanism",
  "is once taken out of a build, which must then fail.",
  "",
  `Made on ${versions}: ${swept}.`,
  "",
  "## In one look",
  "",
  ...table(
    ["what", "times", "violations"],
    areas.map((area) => {
      const own = faults.filter((one) => one.area === area);
      return [area, sum(own.map(({ fired }) => fired)), sum(own.map((one) => one.violations))];
    }),
  ),
  `${mutants.filter(({ caught }) => caught).length} of ${mutants.length} builds without a mechanism were noticed.`,
  "",
  "## Records",
  "",
  "A record is acknowledged when a run that was to read it has said `published`. Lost: it is not in the version afterwards.",
  "Duplicated: it is there more than once. Records are counted once for each run of faults.",
  "",
  ...table(
    ["component", "fault", "times", "acknowledged", "lost", "duplicated"],
    faults.flatMap(({ component, fault, fired, records }) =>
      records === undefined ? [] : [[component, fault, fired, records.acknowledged, records.lost, records.duplicated]],
    ),
  ),
  ...areas.flatMap((area) => [
    `## ${area}`,
    "",
    ...table(
      ["component", "fault", "times", "violations"],
      faults
        .filter((one) => one.area === area)
        .map(({ component, fault, fired, violations }) => [component, fault, fired, violations]),
    ),
  ]),
  "## Mechanisms taken out",
  "",
  ...table(
    ["a build in which it no longer holds that", "is noticed by", "noticed"],
    mutants.map(({ without, by, caught }) => [without, by, caught ? "yes" : "**no**"]),
  ),
  "## Not tried on this machine",
  "",
  ...(skips.length === 0 ? ["Nothing was skipped."] : skips.map(({ what, reason }) => `- ${what}: ${reason}`)),
  "",
];
writeFileSync(join(root, "docs/trust.md"), lines.join("\n"));
const violations = sum(faults.map((one) => one.violations));
console.log(`docs/trust.md: ${number(sum(faults.map(({ fired }) => fired)))} faults, ${violations} violations`);
