import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import describeModule from "../../src/cli/commands/describe.ts";
import type { Context, GlobalFlags } from "../../src/cli/context.ts";
import { registry } from "../../src/registry.ts";
import { millrace } from "./millrace.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-cli-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("help", () => {
  test("lists the verbs and ends with 0, with and without --help", async () => {
    const [bare, long] = await Promise.all([millrace(folder, []), millrace(folder, ["--help"])]);
    expect(bare.code).toBe(0);
    expect(long.stdout).toBe(bare.stdout);
    for (const verb of [
      "init",
      "list",
      "describe",
      "check",
      "discover",
      "run",
      "datasets",
      "show",
      "preview",
      "query",
      "history",
      "diff",
      "tag",
      "rollback",
      "quality",
      "verify",
      "gc",
      "compact",
      "export",
      "replay",
      "schema",
    ]) {
      expect(long.stdout).toMatch(new RegExp(`^  ${verb} +\\S`, "m"));
    }
  });

  test("of a verb shows its flags", async () => {
    const { code, stdout } = await millrace(folder, ["run", "--help"]);
    expect(code).toBe(0);
    for (const flag of ["--json", "--config", "--quiet", "--all", "--full"]) expect(stdout).toContain(flag);
  });

  test("--version is that of the package", async () => {
    const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    expect((await millrace(folder, ["--version"])).stdout.trim()).toBe(version);
  });
});

describe("wrong usage ends with 2, in lines that say what helps", () => {
  const cases: [name: string, args: string[], message: RegExp, hint: RegExp][] = [
    ["a verb that is misspelt", ["dataset"], /there is no command `dataset`/, /did you mean `millrace datasets`/],
    ["a verb that is nothing like one", ["xyzzyplugh"], /there is no command/, /millrace --help/],
    ["a flag that is misspelt", ["run", "--fulll"], /no flag `--fulll`/, /did you mean `--full`/],
    ["an argument too few", ["show"], /<dataset>.*missing/, /--help/],
    ["an argument too many", ["show", "a", "b"], /one argument too many/, /./],
    ["a flag without its value", ["preview", "a", "--rows"], /--rows/, /./],
    ["a number that is none", ["preview", "a", "--rows", "many"], /`many` is not a whole number/, /digits/],
    ["a size that is none", ["compact", "--target", "big"], /`big` is not a size/, /256MB/],
    ["a choice that is none", ["export", "a", "--format", "parqet", "--to", "x"], /`parqet`/, /did you mean `parquet`/],
    ["a kind that is none", ["list", "sorces"], /`sorces` is not a kind/, /did you mean `sources`/],
    ["a module that is none", ["describe", "check", "not-nul"], /no check `not-nul`/, /did you mean `not-null`/],
    ["a module of another kind", ["describe", "source", "not-null"], /no source `not-null`/, /a check of this name/],
    ["no configuration", ["datasets"], /there is no `millrace.yaml`/, /millrace init/],
  ];
  test.each(cases)("%s", async (_name, args, message, hint) => {
    const { code, stdout, stderr } = await millrace(folder, args);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    const lines = stderr.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^error: /);
    expect(lines[0]).toMatch(message);
    expect(lines.at(-1)).toMatch(/^ {2}try: /);
    expect(lines.at(-1)).toMatch(hint);
    expect(lines.length).toBeLessThanOrEqual(3);
  });

  test("for machines it is one line of JSON on the standard error", async () => {
    for (const args of [
      ["datasets", "--json"],
      ["--json", "datasets"],
      ["dataset", "--json"],
      ["show", "--json"],
    ]) {
      const { code, stdout, stderr } = await millrace(folder, args);
      expect(code).toBe(2);
      expect(stdout).toBe("");
      expect((JSON.parse(stderr) as { error: { code: string } }).error.code).toMatch(/^(config|usage)$/);
    }
  });

  test("control characters of what was typed do not reach the terminal", async () => {
    const { stderr } = await millrace(folder, ["describe", "check", "\u001b[31mred\u0007"]);
    expect(stderr).not.toContain("\u001b");
    expect(stderr).toContain("\\u001b[31mred");
  });
});

describe("list and describe", () => {
  test("list knows every module of the registry without loading one", async () => {
    const { code, stdout } = await millrace(folder, ["list", "--json"]);
    expect(code).toBe(0);
    const found = JSON.parse(stdout) as Record<string, { name: string }[]>;
    for (const kind of ["sources", "stores", "formats", "checks"] as const) {
      expect(found[kind]!.map((module) => module.name)).toEqual(Object.keys(registry[kind]));
    }
    const one = await millrace(folder, ["list", "checks"]);
    expect(one.stdout).toContain("not-null");
    expect(one.stdout).not.toContain("Local or mounted file system");
  });

  test("describe shows options with defaults, and examples", async () => {
    const { code, stdout } = await millrace(folder, ["describe", "check", "range"]);
    expect(code).toBe(0);
    for (const text of ["column", "min", "max", "check: range"]) expect(stdout).toContain(text);
    const json = JSON.parse((await millrace(folder, ["describe", "stores", "fs", "--json"])).stdout) as {
      options: object[];
    };
    expect(json.options).toContainEqual(expect.objectContaining({ name: "path", required: true, type: "text" }));
  });

  test("every module can be described", async () => {
    // The command itself, without a process for each of the many.
    const said: { name: string; summary: string }[] = [];
    const context = { output: { json: (value: (typeof said)[number]) => said.push(value) } } as unknown as Context;
    for (const [kind, entries] of Object.entries(registry)) {
      const names = Object.keys(entries as object);
      for (const name of names) {
        await describeModule.call(context, { json: true } as GlobalFlags, kind, name);
        expect(said.at(-1)).toMatchObject({ name, summary: expect.stringMatching(/\w/) as string });
      }
      const [first] = names;
      if (first === undefined) continue;
      const { stdout, stderr, code } = await millrace(folder, ["describe", kind, first, "--json"]);
      expect(`${stderr}${code}`, kind).toBe("0");
      expect((JSON.parse(stdout) as { name: string }).name).toBe(first);
    }
  });
});

test("schema prints the JSON schema that editors use", async () => {
  const { code, stdout } = await millrace(folder, ["schema"]);
  expect(code).toBe(0);
  const schema = JSON.parse(stdout) as { properties: object };
  expect(Object.keys(schema.properties)).toEqual([
    "store",
    "connections",
    "flows",
    "features",
    "lookup",
    "cache",
    "collect",
    "engine",
  ]);
});

test("init does not write over what is there", async () => {
  const target = join(folder, "mine");
  expect((await millrace(folder, ["init", "mine"])).code).toBe(0);
  await writeFile(join(target, "millrace.yaml"), "# mine\nstore: ./lake\n");
  const again = await millrace(folder, ["init", "mine"]);
  expect(again.code).toBe(2);
  expect(await readFile(join(target, "millrace.yaml"), "utf8")).toBe("# mine\nstore: ./lake\n");
});

test("an error of the configuration shows the file as it is seen from here, and its line", async () => {
  const { writeFile: write } = await import("node:fs/promises");
  await write(join(folder, "wrong.yaml"), "store: ./lake\nflow: {}\n");
  const { code, stderr } = await millrace(folder, ["datasets", "--config", "wrong.yaml"]);
  expect(code).toBe(2);
  expect(stderr).toContain("  at: wrong.yaml:2");
  expect(stderr).toMatch(/try: did you mean `flows`/);
});
