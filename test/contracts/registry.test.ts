import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { moduleKinds } from "../../src/config/find.ts";
import { registry } from "../../src/registry.ts";

const tests = fileURLToPath(new URL("..", import.meta.url));

/** Modules that have no subject yet, and why. A module that has one must not be here. */
const waived: Record<string, string> = {
  "sources/kinesis-video": "as a camera: test/sources/kinesis-video.test.ts",
  "sources/camera": "gives what it sees, so that nobody can put rows into it: test/sources/camera*.test.ts",
};

/** Kinds whose subjects stand in one table, which a test beside it compares with the registry. */
const tables: Partial<Record<(typeof moduleKinds)[number], string>> = {
  formats: "formats/contract.test.ts",
  checks: "checks/contract.test.ts",
};

/** Modules that share their tests. */
const shared: Record<string, string> = {
  "enrichers/image-embedding": "enrichers/embedding.test.ts",
  "enrichers/text-embedding": "enrichers/embedding.test.ts",
};

/** The text of all tests of a module: `test/stores/fs.test.ts`, `test/stores/fs-contract.test.ts`. */
function testsOf(kind: string, name: string): string {
  return globSync(shared[`${kind}/${name}`] ?? `${kind}/${name}{,-*}.test.ts`, { cwd: tests })
    .map((file) => readFileSync(join(tests, file), "utf8"))
    .join("\n");
}

test.each(moduleKinds.flatMap((kind) => Object.keys(registry[kind]).map((name) => [kind, name] as const)))(
  "%s: %s is held to the contract of its kind",
  (kind, name) => {
    const table = tables[kind];
    if (table !== undefined) {
      expect(readFileSync(join(tests, table), "utf8")).toContain(
        `every ${kind.slice(0, -1)} of the registry has a subject`,
      );
      return;
    }
    const text = testsOf(kind, name);
    const isHeld =
      new RegExp(`${kind.slice(1, -1)}Contract\\(`).test(text) && text.includes(`src/${kind}/${name}/index.ts`);
    expect(isHeld).toBe(!Object.hasOwn(waived, `${kind}/${name}`));
  },
);
