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
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string[] => [
  `| ${head.join(" | ")} |`,
  `| ${head.map((title) => (title.startsWith("*") ? "---:" : "---")).join(" | ")} |`.replaceAll("*", ""),
  ...rows.map((row) => `| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`),
];

const areas = [...new Set(faults.map(({ area }) => area))].sort();
const lines = [
  "# Trust: what was done to Millrace, and what came of it",
  "",
  "Every figure is counted by a test of `test/faults/` while it ran; `npm run soak` makes this page anew. Each test proves that its",
  "fault happened, and each safety mechanism is once taken out to see that its absence is noticed.",
  "",
  `Made on Linux ${release().split(".").slice(0, 2).join(".")}, ${cpus().length} processors, Node ${process.versions.node}${results.every((one) => one.soak) ? ", all points swept" : ", a sample of the points"}.`,
  "",
  "## In one look",
  "",
  ...table(
    ["what", "*times", "*violations"].map((title) => title),
    areas.map((area) => {
      const own = faults.filter((one) => one.area === area);
      return [area, number(sum(own.map(({ fired }) => fired))), number(sum(own.map(({ violations }) => violations)))];
    }),
  ).map((line) => line.replaceAll("*", "")),
  "",
  ...recordTable(),
  ...areas.flatMap((area) => [
    `## ${area}`,
    "",
    ...table(
      ["component", "fault", "*times", "*violations"],
      faults
        .filter((one) => one.area === area)
        .map((one) => [one.component, one.fault, number(one.fired), number(one.violations)]),
    ).map((line) => line.replaceAll("*", "")),
    "",
  ]),
  "## Mechanisms taken out",
  "",
  "A build without the mechanism must fail the same test that the real one passes.",
  "",
  ...table(
    ["without this", "noticed by", "noticed"],
    mutants.map(({ without, by, caught }) => [without, by, caught ? "yes" : "**no**"]),
  ),
  "",
  "## Not tried on this machine",
  "",
  ...(skips.length === 0 ? ["Nothing was skipped."] : skips.map(({ what, reason }) => `- ${what}: ${reason}`)),
  "",
];
writeFileSync(join(root, "docs/trust.md"), lines.join("\n"));
const violations = sum(faults.map((one) => one.violations));
console.log(`docs/trust.md: ${number(sum(faults.map(({ fired }) => fired)))} faults, ${violations} violations`);

function recordTable(): string[] {
  const counted = faults.filter((one) => one.records !== undefined);
  return [
    "## Records",
    "",
    ...table(
      ["component", "fault", "*times", "*acknowledged", "*lost", "*duplicated"],
      counted.map(({ component, fault, fired, records }) => [
        component,
        fault,
        ...[fired, records!.acknowledged, records!.lost, records!.duplicated].map(number),
      ]),
    ).map((line) => line.replaceAll("*", "")),
    "",
  ];
}
