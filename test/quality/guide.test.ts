import { readFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { foldOf } from "../../src/feed/folds.ts";
import { splitExpression, splitOf } from "../../src/feed/split.ts";
import { flowProblems, flowSchema, splitSchema } from "../../src/pipeline/flow.ts";
import { planChecks } from "../../src/quality/index.ts";
import type { Column } from "../../src/core/index.ts";
import { loadCheck } from "../checks/engine.ts";

const guide = (name: string): string => readFileSync(new URL(`../../docs/guide/${name}.md`, import.meta.url), "utf8");
const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, "g"))].map((match) => match[1]!);

/** The columns that the guides speak of. */
const columns: Column[] = [
  ...["id", "customer_id", "patient_id", "scan_id", "station", "phash", "width"].map((name) => ({
    name,
    type: "long" as const,
  })),
  ...["email", "diagnosis", "churned", "text", "uri"].map((name) => ({ name, type: "string" as const })),
  ...["ordered_at", "measured_at", "received_at", "shipped_at"].map((name) => ({ name, type: "timestamptz" as const })),
  { name: "day", type: "date" },
  ...["brightness", "contrast", "sharpness"].map((name) => ({ name, type: "double" as const })),
  ...["price", "paid", "due"].map((name) => ({ name, type: "decimal(10,2)" as const })),
];

test.each(["quality", "splits"])("the YAML of the guide %s is accepted as written", async (name) => {
  const found = blocks(guide(name), "yaml");
  expect(found.length).toBeGreaterThan(2);
  for (const text of found) {
    const { flows } = parse(text) as { flows: Record<string, unknown> };
    for (const flow of Object.values(flows)) {
      const parsed = flowSchema.parse(flow);
      expect(flowProblems(parsed)).toEqual([]);
      const context = {
        columns,
        key: parsed.key ?? [],
        now: 0,
        dataset: (dataset: string) => dataset,
        alike: () => ({ value: "NULL", found: "NULL" }),
      };
      expect(await planChecks(parsed.checks, context, loadCheck)).toHaveLength(parsed.checks.length);
      if (parsed.split) expect(splitExpression(parsed.split, columns, parsed.key ?? [])).toContain("train");
    }
  }
});

const python = spawnSync("python3", ["--version"]).status === 0;

test.skipIf(!python)("the Python of the guide gives what Millrace gives", () => {
  const [code, folds] = blocks(guide("splits"), "python");
  const names = ["4711", "Zoë", "", "🚆", null];
  const script = `${code}\n${folds}\nfor i in range(500): print(split(7, i))\nfor v in ["4711", "Zoë", "", "🚆", None]: print(split(-3, v, "b", train=0.7, validation=0.1))\nfor i in range(500): print(fold(7, 6, i, None))`;
  const result = spawnSync("python3", ["-c", script], { encoding: "utf8", env: { ...process.env, PYTHONUTF8: "1" } });
  expect(result.stderr).toBe("");
  const spec = splitSchema.parse({ train: 0.8, validation: 0.1, test: 0.1, seed: 7 });
  const other = splitSchema.parse({ train: 0.7, validation: 0.1, test: 0.2, seed: -3 });
  const own = [
    ...Array.from({ length: 500 }, (_, id) => splitOf(spec, [String(id)])),
    ...names.map((value) => splitOf(other, [value, "b"])),
    ...Array.from({ length: 500 }, (_, id) => String(foldOf(spec, 6, [String(id), null]))),
  ];
  expect(result.stdout.trim().split("\n")).toEqual(own);
});
