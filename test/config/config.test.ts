import { execFile } from "node:child_process";
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import * as z from "zod";
import { configFrom, loadConfig, locateConfig } from "../../src/config/index.ts";
import {
  defineSource,
  forgetSecrets,
  isMillraceError,
  redact,
  type MillraceError,
  type Registry,
} from "../../src/core/index.ts";
import { registry as builtIn } from "../../src/registry.ts";

const shop = defineSource({
  name: "shop",
  title: "Shop",
  summary: "A source of this test.",
  options: z.strictObject({
    url: z.url().meta({ secret: true }).describe("Address."),
    port: z.number().int().optional().describe("Port."),
    batchRows: z.number().int().default(1000).describe("Rows in a batch."),
  }),
  needs: [],
  capabilities: {
    discover: true,
    incremental: false,
    query: false,
    replayable: true,
    snapshot: false,
    deletes: false,
    measure: false,
  },
  examples: [],
  load: () => Promise.reject(new Error("a configuration must not open a source")),
});
const registry: Registry = {
  ...builtIn,
  sources: { shop: { title: shop.title, summary: shop.summary, load: () => Promise.resolve(shop) } },
};

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-config-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
  forgetSecrets();
});

async function load(yaml: string) {
  await writeFile(join(folder, "millrace.yaml"), yaml);
  return loadConfig({ folder, registry });
}

async function refusal(action: Promise<unknown>): Promise<MillraceError> {
  try {
    await action;
  } catch (error) {
    if (isMillraceError(error)) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

/** The names of the flows, loaded by Node itself: the test runner would put its own module loader in between. */
async function inNode(config: string): Promise<string> {
  const source = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
  const script = `
    import { loadConfig } from ${source("config/index.ts")};
    import { registry } from ${source("registry.ts")};
    const { flows } = await loadConfig({ config: ${JSON.stringify(config)}, registry });
    console.log(JSON.stringify(Object.keys(flows)));`;
  return (await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script])).stdout;
}

const flow = "flows:\n  orders:\n    from: { path: a.csv }\n";

describe("what is read", () => {
  test("a plain path is a folder store, and the rest has its defaults", async () => {
    const config = await load(`store: ./lake\n${flow}`);
    expect(config.store).toEqual({ store: "fs", path: "./lake" });
    expect(config.folder).toBe(folder);
    expect(config.flows["orders"]).toMatchObject({ mode: "append", schema: "evolve", checks: [] });
  });

  test("a check keeps its own options beside those of all checks", async () => {
    const config = await load(
      `store: ./lake\n${flow}    checks:\n      - { check: range, column: price, min: 0, max: 99.5, max_rows: 3 }\n      - { check: not-null, column: id, max_rows: 2 }\n`,
    );
    expect(config.flows["orders"]!.checks).toEqual([
      { check: "range", column: "price", min: 0, max: 99.5, max_rows: 3, on_fail: "fail" },
      { check: "not-null", column: "id", max_rows: 2, on_fail: "fail" },
    ]);
  });

  test("the file is found upward from the folder, and named by --config as a file or a folder", async () => {
    await writeFile(join(folder, "millrace.yaml"), "store: ./lake\n");
    await mkdir(join(folder, "a", "b"), { recursive: true });
    const file = join(folder, "millrace.yaml");
    expect(await locateConfig(undefined, join(folder, "a", "b"))).toBe(file);
    expect(await locateConfig("..", join(folder, "a"))).toBe(file);
    expect(await locateConfig("../../millrace.yaml", join(folder, "a", "b"))).toBe(file);
    const error = await refusal(locateConfig("none.yaml", folder));
    expect(error.code).toBe("config");
    expect(error.hint).toContain("millrace init");
  });

  test("a configuration in TypeScript, with defineConfig from wherever Millrace is", async () => {
    await writeFile(
      join(folder, "millrace.ts"),
      `import { defineConfig } from "millrace";
       const name: string = "orders";
       export default defineConfig({ store: "./lake", flows: { [name]: { from: { path: "a.csv" } } } });`,
    );
    expect(JSON.parse(await inNode(folder))).toEqual(["orders"]);
    await writeFile(join(folder, "bad.ts"), `export default { store: "./lake", flow: {} };`);
    const error = await refusal(loadConfig({ folder, config: "bad.ts", registry }));
    expect(error.message).toContain("`flow` is not a known key");
    expect(error.where.file).toBe(join(folder, "bad.ts"));
  });

  test("an object from the SDK", async () => {
    const config = await configFrom({ store: "./lake", flows: {} }, folder, registry);
    expect(config.folder).toBe(folder);
  });
});

describe("secrets", () => {
  const yaml = `store: ./lake\nconnections:\n  one: { source: shop, url: "\${env:MILLRACE_TEST_URL}", port: "\${env:MILLRACE_TEST_PORT}" }\n  two:\n    source: shop\n    url: "\${env:MILLRACE_TEST_ABSENT}"\n`;

  test("are resolved for the connection that is used, and only then; numbers arrive as numbers", async () => {
    process.env["MILLRACE_TEST_URL"] = "http://reader:hunter22@db.example/shop";
    process.env["MILLRACE_TEST_PORT"] = "5433";
    const config = await load(yaml);
    const one = config.connections["one"];
    const resolved = typeof one === "function" ? await one() : one;
    expect(resolved?.options).toEqual({ url: "http://reader:hunter22@db.example/shop", port: 5433 });
    expect(redact("password hunter22 is wrong")).not.toContain("hunter22");
  });

  test("an absent variable is named with file and line, when its connection is used", async () => {
    const config = await load(yaml);
    const two = config.connections["two"] as () => Promise<unknown>;
    const error = await refusal(two());
    expect(error.message).toContain("MILLRACE_TEST_ABSENT");
    expect(error.where).toMatchObject({ connection: "two", line: 6, file: join(folder, "millrace.yaml") });
  });

  test("a file beside the configuration", async () => {
    await writeFile(join(folder, "url.txt"), "http://u:from-a-file@h/\n");
    const config = await load(`store: ./lake\nconnections:\n  one: { source: shop, url: "\${file:url.txt}" }\n`);
    const one = config.connections["one"] as () => Promise<{ options: unknown }>;
    expect((await one()).options).toEqual({ url: "http://u:from-a-file@h/" });
  });

  test("a value that is written down is never repeated in an error", async () => {
    const error = await refusal(
      load("store: ./lake\nconnections:\n  one: { source: shop, url: hunter22-is-no-url }\n"),
    );
    expect(JSON.stringify(error)).not.toContain("hunter22");
  });
});

describe("errors name line, key and what is allowed", () => {
  const cases: [name: string, yaml: string, line: number, message: RegExp, hint: RegExp][] = [
    [
      "unknown key",
      "store: ./lake\nflow: {}\n",
      2,
      /`flow` is not a known key of the configuration/,
      /did you mean `flows`.*`connections`/s,
    ],
    [
      "unknown key inside a flow",
      `store: ./lake\nflows:\n  orders:\n    from: { path: a.csv }\n    chekcs: []\n`,
      5,
      /`chekcs` is not a known key of `flows.orders`/,
      /did you mean `checks`.*`transform`/s,
    ],
    ["missing store", "flows: {}\n", 1, /`store` is missing|`store` must be/, /.*/],
    ["wrong type", `store: ./lake\n${flow}    key: id\n`, 5, /`flows.orders.key` must be a list, not text/, /.*/],
    [
      "wrong choice",
      `store: ./lake\n${flow}    mode: merg\n`,
      5,
      /one of `append`, `replace`, `merge`/,
      /did you mean `merge`/,
    ],
    ["rules across fields", `store: ./lake\n${flow}    mode: merge\n`, 5, /`mode` is `merge`, but `key`/, /.*/],
    [
      "unknown source",
      "store: ./lake\nconnections:\n  a:\n    source: shopp\n",
      4,
      /there is no source `shopp`/,
      /did you mean `shop`/,
    ],
    [
      "unknown option",
      'store: ./lake\nconnections:\n  a:\n    source: shop\n    url: "http://h"\n    batchrows: 5\n',
      6,
      /`batchrows`/,
      /did you mean `batchRows`/,
    ],
    [
      "unknown option with a secret in it",
      'store: ./lake\nconnections:\n  a:\n    source: shop\n    url: "http://h"\n    ulr: "${env:X}"\n',
      6,
      /`ulr`/,
      /did you mean `url`/,
    ],
    [
      "option of another type",
      'store: ./lake\nconnections:\n  a: { source: shop, url: "http://h",\n    port: "x" }\n',
      4,
      /`connections.a.port` must be a number, not text/,
      /.*/,
    ],
    ["unknown store", "store: { store: tape }\n", 1, /there is no store `tape`/, /`fs`/],
    ["address of an unknown store", "store: gopher://a/b\n", 1, /gopher:\/\//, /`fs`/],
    [
      "unknown connection",
      'store: ./lake\nflows:\n  a:\n    from:\n      connection: shp\n      stream: t\nconnections: { shop: { source: shop, url: "http://h" } }\n',
      5,
      /there is no connection `shp`/,
      /did you mean `shop`/,
    ],
    [
      "unknown check",
      `store: ./lake\n${flow}    checks:\n      - { check: not-nul, column: a }\n`,
      6,
      /there is no check `not-nul`/,
      /did you mean `not-null`/,
    ],
    [
      "unknown option of a check",
      `store: ./lake\n${flow}    checks:\n      - check: range\n        column: a\n        minn: 0\n        min: 0\n`,
      8,
      /`minn` is not a known key/,
      /did you mean `min`/,
    ],
    [
      "a tolerance that is no count",
      `store: ./lake\n${flow}    checks:\n      - { check: not-null, column: a,\n          max_rows: 1.5 }\n`,
      7,
      /max_rows/,
      /.*/,
    ],
    [
      "rows rejected by a check of the whole",
      `store: ./lake\n${flow}    checks:\n      - { check: row-count, min: 1, on_fail: reject }\n`,
      6,
      /about all rows together/,
      /`warn` or `fail`/,
    ],
    ["bad name", "store: ./lake\nflows:\n  a/b: { from: { path: x } }\n", 3, /a name has letters/, /.*/],
    [
      "reference where none works",
      'store: ./lake\nflows:\n  a: { from: { path: "${env:X}.csv" } }\n',
      3,
      /has a `\$\{…:…\}` reference/,
      /`store` and `connections` only/,
    ],
    ["broken YAML", "store: ./lake\nflows: [\n", 3, /./, /.*/],
    ["key given twice", "store: ./lake\nstore: ./other\n", 2, /unique/i, /.*/],
  ];
  test.each(cases)("%s", async (_name, yaml, line, message, hint) => {
    const error = await refusal(load(yaml));
    expect(error.code).toBe("config");
    expect(error.message).toMatch(message);
    expect(error.hint ?? "").toMatch(hint);
    expect(error.where).toMatchObject({ file: join(folder, "millrace.yaml"), line });
  });

  test("several problems are listed at once, each with its line", async () => {
    const error = await refusal(load(`store: ./lake\n${flow}    mode: merg\n    chekcs: []\n    key: id\n`));
    expect(error.message).toMatch(/3 problems/);
    expect(error.message).toMatch(/line 5: .*mode/);
    expect(error.message).toMatch(/line 6: .*chekcs/);
    expect(error.message).toMatch(/line 7: .*key/);
  });

  test("bytes that are not UTF-8, aliases that explode, a value that is no mapping", async () => {
    await writeFile(join(folder, "millrace.yaml"), Uint8Array.of(0x73, 0xff, 0xfe));
    expect((await refusal(loadConfig({ folder, registry }))).message).toContain("UTF-8");
    const bomb = [
      "a: &a [x, x, x, x, x, x, x, x, x]",
      ...["b", "c", "d", "e", "f", "g"].map(
        (name, index) => `${name}: &${name} [${Array(9).fill(`*${"abcdef"[index]}`).join(", ")}]`,
      ),
    ].join("\n");
    expect((await refusal(load(bomb))).code).toBe("config");
    expect((await refusal(load("just text\n"))).message).toContain("must be a set of keys, not text");
    expect((await refusal(load(""))).code).toBe("config");
  });
});
