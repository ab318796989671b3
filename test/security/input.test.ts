import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseYaml } from "../../src/config/document.ts";
import { isMillraceError, type MillraceError } from "../../src/core/index.ts";
import { millrace } from "../cli/millrace.ts";
import { openBench, type Bench } from "../formats/landing.ts";
import { makePlace, published, type Place } from "../pipeline/place.ts";

let bench: Bench;
let place: Place;
let outside: string;
beforeAll(async () => {
  [bench, place, outside] = await Promise.all([openBench(), makePlace(), mkdtemp(join(tmpdir(), "millrace-outside-"))]);
  writeFileSync(join(outside, "secret.csv"), "id\n1\n");
});
afterAll(async () => {
  await bench[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
  await rm(outside, { recursive: true, force: true });
});

async function refusal(action: () => Promise<unknown>): Promise<MillraceError> {
  try {
    await action();
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

/** After PayloadsAllTheThings, "Directory Traversal". */
const traversals = [
  "..",
  "../",
  "../../etc/passwd",
  "../../../../../../../../etc/passwd",
  "..\\..\\windows\\win.ini",
  "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
  "%252e%252e%252fetc",
  "..%2fetc",
  "..%c0%af..%c0%afetc",
  "..%00/etc",
  "....//....//etc",
  "..;/..;/etc",
  "/etc/passwd",
  "//etc/passwd",
  "\\\\server\\share",
  "C:\\windows",
  "file:///etc/passwd",
  "./../x",
  "a/../../x",
  "a/./b",
  "a//b",
  "a\0b",
  "a\nb",
  "\u001b[2Ja",
  "\uff0e\uff0e/\uff0e\uff0e/etc",
  "\u2025/etc",
  "~/x",
  "$HOME",
  "${env:HOME}",
  "`id`",
  "$(id)",
  "|id",
  ";id",
  "CON",
  "NUL.csv",
  "a ",
  ".hidden",
  "-rf",
  "a'b",
  'a"b',
  "a;drop table x",
  "x".repeat(300),
];
/** Ordinary names, though odd in other systems: they stay names. */
const harmless = new Set(["CON", "NUL.csv"]);

describe("names and paths", () => {
  test("names of flows, datasets and tags never become paths", async () => {
    await place.put("in.csv", ["id", "1"]);
    await using lake = await place.open({ good: { from: { path: "in.csv" } } });
    await published(lake.run("good"));
    const wrong: string[] = [];
    for (const name of traversals) {
      if (harmless.has(name)) continue;
      for (const [what, action] of Object.entries({
        flow: () => place.open({ [name]: { from: { path: "in.csv" } } }),
        dataset: () => place.open({ good: { from: { path: "in.csv" }, into: name } }),
        run: () => lake.run(name),
        open: () => lake.dataset(name),
        tag: () => lake.tag("good", name),
      })) {
        const error = await refusal(action).catch(String);
        if (typeof error === "string" || !["config", "usage", "not-found"].includes(error.code))
          wrong.push(`${what} ${JSON.stringify(name)}: ${typeof error === "string" ? error : error.code}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(readdirSync(place.folder).toSorted()).toEqual(["in.csv", "lake"]);
  });

  test("a stream stays below the path of its connection", async () => {
    await bench.file("box/a.csv", "id\n1\n");
    await bench.file("boxed/b.csv", "id\n2\n");
    for (const stream of [
      "../boxed/b.csv",
      "../../etc/passwd",
      "/etc/passwd",
      `${outside}/secret.csv`,
      "a/../../boxed/*.csv",
      "../box/../boxed/b.csv",
    ]) {
      const error = await bench.refusal({ path: "box" }, { request: { stream } });
      expect(`${stream}: ${error.code}`).toBe(`${stream}: permission`);
    }
    expect((await bench.land({ path: "box" }, { request: { stream: "a.csv" } })).written).toBe(1);
  });

  test("links out of a folder are refused, of files and of the folders above them", async () => {
    mkdirSync(join(bench.folder, "links"));
    symlinkSync(join(outside, "secret.csv"), join(bench.folder, "links/a.csv"));
    expect((await bench.refusal({ path: "links" })).code).toBe("permission");
    mkdirSync(join(bench.folder, "deep"));
    symlinkSync(outside, join(bench.folder, "deep/link"));
    const error = await refusal(() => bench.land({ path: "deep/**/*.csv" }));
    expect(["permission", "not-found"]).toContain(error.code);
  });
});

describe("names in data", () => {
  test("`__proto__` and its like are columns and keys like any other", async () => {
    const names = ["__proto__", "constructor", "prototype", "toString", "hasOwnProperty", "valueOf"];
    const row = names.map((_, index) => index).join(",");
    await bench.file("pollute.csv", `${names.join(",")}\n${row}\n`);
    const object = `{${names.map((name, index) => `${JSON.stringify(name)}:${index}`).join(",")}}`;
    await bench.file("pollute.ndjson", `${object}\n`);
    await bench.file("pollute.json", `[${object}]`);
    for (const path of ["pollute.csv", "pollute.ndjson", "pollute.json"]) {
      const landing = await bench.land({ path });
      expect(`${path}: ${landing.columns.map((column) => column.name).join()}`).toBe(`${path}: ${names.join()}`);
      expect(landing.written).toBe(1);
      const [counted] = await bench.engine.query(`SELECT "__proto__" + "constructor" AS sum FROM ${landing.relation}`);
      expect(Number(counted!["sum"])).toBe(1);
    }
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
  });

  test("a configuration cannot change what objects are", () => {
    const yaml =
      "__proto__: { polluted: true }\nconstructor: { prototype: { polluted: true } }\n<<: { __proto__: { polluted: true } }\n";
    try {
      parseYaml(yaml, "millrace.yaml");
    } catch (error) {
      expect(isMillraceError(error)).toBe(true);
    }
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  test("a whole run over a table with such columns", async () => {
    await place.put("proto.csv", ["__proto__,constructor,id", "1,2,3"]);
    await using lake = await place.open({ proto: { from: { path: "proto.csv" } } });
    await published(lake.run("proto"));
    const { rows } = await lake.query("select * from proto");
    expect(Object.entries(rows[0]!).map(([name, value]) => `${name}=${String(value)}`)).toEqual([
      "__proto__=1",
      "constructor=2",
      "id=3",
    ]);
  });

  test("JSON that is nested deep ends in data or an error, and quickly", async () => {
    for (const [name, text] of [
      ["deep.json", `${"[".repeat(100_000)}${"]".repeat(100_000)}`],
      ["deep.ndjson", `{"a":${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}}\n`],
    ] as const) {
      await bench.file(name, text);
      const outcome = await bench.land({ path: name }).then(
        () => "data",
        (error: unknown) => (isMillraceError(error) ? error.code : "thrown"),
      );
      expect(`${name}: ${outcome}`).toMatch(/: (data|parse|limit|schema)$/);
    }
  });
});

describe("YAML", () => {
  const bomb = `a0: &a0 [x]\n${Array.from({ length: 12 }, (_, index) => `a${index + 1}: &a${index + 1} [${Array(10).fill(`*a${index}`).join(", ")}]`).join("\n")}\n`;
  test.each([
    ["aliases that multiply", bomb],
    ["a nesting of 100,000", "[".repeat(100_000)],
    ["a nesting of mappings", Array.from({ length: 20_000 }, () => "{a: ").join("")],
    ["a tag that makes code", "a: !!js/function 'function () { return 1 }'"],
    ["two equal keys", "a: 1\na: 2\n"],
    ["an alias of nothing", "a: *b"],
  ])("%s is refused as a configuration", async (_, text) => {
    const folder = await mkdtemp(join(tmpdir(), "millrace-yaml-"));
    writeFileSync(join(folder, "millrace.yaml"), text);
    const { code, stderr } = await millrace(folder, ["datasets"]);
    expect(code).toBe(2);
    expect(stderr).toContain("millrace.yaml");
    expect(stderr).not.toMatch(/RangeError|Maximum call stack|\n\s+at /);
    await rm(folder, { recursive: true });
  });
});

describe("the terminal", () => {
  const evil = "a\u001b[2J\u001b]0;owned\u0007\r\nFAKE: all is well\u009b31m\u202eb";
  // Colours of our own are none here: the output is no terminal.
  const steers = /[^\P{Cc}\t\n]|[\u202a-\u202e\u2066-\u2069]/u;

  test("names and values cannot steer it", { timeout: 120_000 }, async () => {
    const name = evil.replaceAll(/[\r\n]/g, "");
    await place.put(`${name}.csv`, [`"${name}",id`, `"${name}",1`]);
    writeFileSync(
      join(place.folder, "millrace.yaml"),
      `store: ./lake\nconnections:\n  box: { source: files, path: . }\nflows:\n  evil:\n    from: { path: "*.csv" }\n    mode: replace\n    into: evil\n  lost: { from: { path: ${JSON.stringify(`no/${evil}.csv`)} } }\n`,
    );
    let seen = 0;
    for (const command of [
      ["run", "evil"],
      ["show", "evil"],
      ["preview", "evil"],
      ["query", "select * from evil"],
      ["query", "select * from evil", "--csv"],
      ["discover", "box"],
      ["run", "lost"],
      ["run", evil.replaceAll("\0", "")],
      ["show", evil],
      ["query", `select "${evil}"`],
    ]) {
      const { stdout, stderr } = await millrace(place.folder, command);
      for (const text of [stdout, stderr]) {
        // CSV for a program is data as it is.
        if (command.includes("--csv") && text === stdout) continue;
        expect(`${command.join(" ")}: ${JSON.stringify(steers.exec(text)?.[0])}`).toBe(
          `${command.join(" ")}: undefined`,
        );
        expect(text).not.toMatch(/^FAKE/m);
        if (text.includes("\\u001b")) seen++;
      }
    }
    // The names were shown, escaped.
    expect(seen).toBeGreaterThan(4);
    expect(existsSync(join(place.folder, `${name}.csv`))).toBe(true);
  });
});
