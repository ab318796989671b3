import { afterEach, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { configFrom } from "../../src/config/index.ts";
import { optionFacts } from "../../src/config/facts.ts";
import type { Definition, RegistryEntry } from "../../src/core/index.ts";
import { registry } from "../../src/registry.ts";
import { sampleConfig } from "../../src/cli/sample.ts";

afterEach(() => {
  vi.unstubAllEnvs();
});

describe("what documentation shows is a configuration that is accepted", () => {
  test("the sample of `init`", async () => {
    await expect(configFrom(parse(sampleConfig), "/", registry)).resolves.toMatchObject({ store: { store: "fs" } });
  });

  for (const kind of ["sources", "stores"] as const) {
    const entries: Record<string, RegistryEntry<Definition>> = registry[kind];
    for (const [name, entry] of Object.entries(entries)) {
      test(`the examples of ${kind}: ${name}`, async () => {
        const { examples } = await entry.load();
        expect(examples.length).toBeGreaterThan(0);
        // Those of a store are resolved at once, those of a connection when it is used.
        for (const [, variable] of examples.flatMap(({ yaml }) => [...yaml.matchAll(/\$\{env:(\w+)\}/g)])) {
          vi.stubEnv(variable!, `value of ${variable}`);
        }
        const documents = examples.map(({ yaml }) => parse(yaml) as { connections?: object });
        // A page names a connection once, and its later examples use it.
        const connections = Object.assign({}, ...documents.map((document) => document.connections));
        for (const [index, { title }] of examples.entries()) {
          await configFrom({ store: "./lake", ...documents[index], connections }, "/", registry).catch(
            (error: unknown) => {
              throw new Error(`${title}: ${String(error)}`);
            },
          );
        }
      });
    }
  }

  test.each(Object.keys(registry.checks))("the examples of the check %s", async (name) => {
    const { examples } = await registry.checks[name]!.load();
    expect(examples.length).toBeGreaterThan(0);
    for (const { title, yaml } of examples) {
      const flow = { from: { path: "a.csv" }, checks: [parse(yaml) as { check: string }] };
      await configFrom({ store: "./lake", flows: { a: flow } }, "/", registry).catch((error: unknown) => {
        throw new Error(`${title}: ${String(error)}`);
      });
    }
  });
});

describe("every option of every module says what it is for", () => {
  for (const [kind, entries] of Object.entries(registry)) {
    for (const [name, entry] of Object.entries(entries as typeof registry.checks)) {
      test(`${kind}: ${name}`, async () => {
        const definition = await entry.load();
        expect(definition.name).toBe(name);
        expect(entry.title).toBe(definition.title);
        expect(entry.summary).toBe(definition.summary);
        for (const option of optionFacts(definition.options)) {
          expect(option.description, option.name).toMatch(/^\S.*[.)]$/s);
        }
      });
    }
  }
});
