import type { Reporter, TestModule } from "vitest/node";

interface Row {
  held: number;
  broken: number;
  notes: string[];
}

/** At the end of a run: for each module that was held to a contract, how many rules hold, and which were skipped or waived, and why. */
export default class ContractReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const rows = new Map<string, Row>();
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const suite = test.parent.type === "suite" ? test.parent.name : "";
        if (!/^.+: \w+ contract$/.test(suite)) continue;
        const row = rows.get(suite) ?? { held: 0, broken: 0, notes: [] };
        rows.set(suite, row);
        const { state } = test.result();
        if (state === "passed") row.held++;
        else if (state === "failed") row.broken++;
        const isNoted = / \((skipped|waived): /.test(test.name) && state !== "pending";
        if (isNoted) row.notes.push(test.name);
      }
    }
    if (rows.size === 0) return;
    const lines = [...rows]
      .toSorted(([left], [right]) => (left < right ? -1 : 1))
      .map(([suite, { held, broken, notes }]) => {
        const counts = `${held} rules hold${broken === 0 ? "" : `, ${broken} broken`}`;
        const unmet = notes.length === 0 ? "" : `; ${notes.length} skipped or waived`;
        return [` ${suite}: ${counts}${unmet}`, ...notes.map((note) => `   - ${note}`)].join("\n");
      });
    console.log(`\n Contracts\n${lines.join("\n")}\n`);
  }
}
