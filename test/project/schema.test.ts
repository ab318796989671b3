import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { sampleConfig } from "../../src/cli/sample.ts";
import { registry } from "../../src/registry.ts";
import { pythonEnvironment } from "../services/python.ts";

const schemaFile = fileURLToPath(new URL("../../schema/millrace.schema.json", import.meta.url));

/** Problems that an independent validator finds in each document. */
function validate(documents: readonly unknown[]): string[][] {
  const program = `
import json, sys
from jsonschema import Draft202012Validator
schema = json.load(open(${JSON.stringify(schemaFile)}))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
def leaves(error):
    return [error.message] if not error.context else [message for inner in error.context for message in leaves(inner)]
print(json.dumps([[message for error in validator.iter_errors(document) for message in leaves(error)] for document in json.load(sys.stdin)]))
`;
  return JSON.parse(
    execFileSync(python, ["-c", program], { input: JSON.stringify(documents), encoding: "utf8" }),
  ) as string[][];
}

let python: string;
beforeAll(async () => {
  ({ python } = await pythonEnvironment(["jsonschema==4.26.0"]));
}, 240_000);

const from = { path: "a.csv" };
const withCheck = (check: object): object => ({ store: "./lake", flows: { a: { from, checks: [check] } } });

describe("the schema for editors, held to an independent validator", () => {
  test("accepts what `init` writes, and what is right", () => {
    const right: unknown[] = [
      parse(sampleConfig),
      { store: { store: "fs", path: "./lake" } },
      { store: { store: "fs", path: "${env:LAKE}" }, engine: { memoryLimit: "2GB", threads: 2 } },
      withCheck({ check: "range", column: "a", min: 0, max: 99.5, max_rows: 3, on_fail: "reject" }),
      withCheck({ check: "not-null", columns: ["a"], max_rows: 2 }),
    ];
    expect(validate(right)).toEqual(right.map(() => []));
  });

  test("refuses what is wrong", () => {
    const wrong: unknown[] = [
      {},
      { store: "./lake", flow: {} },
      { store: { store: "fs" } },
      { store: { store: "nope" } },
      { store: "./lake", connections: { a: { source: "nope" } } },
      { store: "./lake", flows: { a: { from, mode: "merg" } } },
      withCheck({ check: "nope" }),
      withCheck({ check: "range", column: "a", minn: 0 }),
      withCheck({ check: "not-null", column: "a", on_fail: "explode" }),
    ];
    for (const [index, problems] of validate(wrong).entries())
      expect(problems, JSON.stringify(wrong[index])).not.toEqual([]);
  });

  test("accepts the examples of every module", async () => {
    const documents: { name: string; document: unknown }[] = [];
    for (const entry of Object.values(registry.checks)) {
      const { name, examples } = await entry.load();
      for (const example of examples) documents.push({ name, document: withCheck(parse(example.yaml) as object) });
    }
    const complete = async (entries: typeof registry.sources | typeof registry.stores): Promise<void> => {
      for (const entry of Object.values(entries)) {
        const { name, examples } = await entry.load();
        for (const example of examples)
          documents.push({ name, document: { store: "./lake", ...(parse(example.yaml) as object) } });
      }
    };
    await complete(registry.sources);
    await complete(registry.stores);
    const problems = validate(documents.map(({ document }) => document));
    const found = problems.flatMap((list, index) =>
      list.length === 0
        ? []
        : [`${documents[index]!.name}: ${list.join("; ")}: ${JSON.stringify(documents[index]!.document)}`],
    );
    expect(found).toEqual([]);
  });
});
