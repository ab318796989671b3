import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import type { EnricherInput } from "../../src/core/index.ts";
import definition from "../../src/enrichers/command/index.ts";
import { enricherContract } from "../contracts/enricher.ts";

const inputOf = (text: string): EnricherInput => {
  const bytes = Buffer.from(text);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return {
    hash: sha256,
    asset: {
      uri: `${sha256.slice(0, 4)}.txt`,
      mediaType: "text/plain",
      size: bytes.length,
      sha256,
      modified: 0,
      bytes,
    },
  };
};

/** Counts its calls, and says how many letters a file has; it fails for some. */
const program = (log: string): string =>
  `const { appendFileSync, readFileSync } = require("node:fs");
   appendFileSync(${JSON.stringify(log)}, "x\\n");
   const text = readFileSync(process.argv[2], "utf8");
   if (text.startsWith("refuse")) { console.error("no such text"); process.exit(3); }
   if (text.startsWith("rubbish")) { console.log("{"); process.exit(0); }
   if (text.startsWith("sleep")) setInterval(() => undefined, 1000);
   else console.log(JSON.stringify({ letters: text.length, words: text.split(" "), secret: process.env.HOME ?? null }));`;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-command-"));
  await writeFile(join(folder, "count.cjs"), program(join(folder, "log-run")));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

enricherContract({
  name: "command",
  definition: definition as never,
  async start() {
    const place = await mkdtemp(join(tmpdir(), "millrace-command-contract-"));
    const log = join(place, "log");
    await writeFile(log, "");
    await writeFile(join(place, "count.cjs"), program(log));
    const options = {
      command: [process.execPath, join(place, "count.cjs"), "{file}"],
      version: "count 1",
      output: "json",
      columns: { letters: "long", words: "list<string>", secret: "string" },
    };
    return {
      options,
      otherOptions: { ...options, version: "count 2" },
      columns: [{ name: "bytes", type: "binary" }],
      good: ["one", "two words", "three words here"].map(inputOf),
      unfit: ["refuse this", "rubbish"].map(inputOf),
      wrong: [
        {
          what: "a program that there is not",
          options: { ...options, command: ["no-such-program"] },
          code: "unsupported",
        },
        { what: "two columns of one text", options: { ...options, output: "text" }, code: "config" },
      ],
      asked: () => readFileSync(log, "utf8").split("\n").length - 1,
      [Symbol.asyncDispose]: () => rm(place, { recursive: true, force: true }),
    };
  },
});

describe("a program of one's own", () => {
  test("a run adds its columns; what it refuses is rejected; it has no environment but its own", async () => {
    await mkdir(join(folder, "in"));
    for (const [name, text] of Object.entries({ a: "one", b: "two words", c: "refuse it" }))
      await writeFile(join(folder, "in", `${name}.txt`), text);
    const enrich = [
      {
        enricher: "command",
        command: [process.execPath, "count.cjs", "{file}"],
        version: "1",
        output: "json",
        columns: { letters: "long", words: "list<string>", secret: "string" },
      },
    ];
    const from = { path: "in/*.txt", format: "documents" };
    await writeFile(
      join(folder, "millrace.yaml"),
      JSON.stringify({ store: "./lake", flows: { texts: { from, enrich } } }),
    );
    await using lake = await openLake({ folder });
    const report = await lake.run("texts");
    expect(report).toMatchObject({ read: 3, written: 2, rejected: 1 });
    const { rows } = await lake.query("select uri, letters, words, secret from texts order by uri");
    expect(rows).toEqual([
      { uri: "in/a.txt", letters: 3n, words: ["one"], secret: null },
      { uri: "in/b.txt", letters: 9n, words: ["two", "words"], secret: null },
    ]);
    const { rows: refused } = await lake.query("select reason, origin from texts__rejected");
    expect(refused).toEqual([{ reason: "command: it ended with 3: no such text", origin: "in/c.txt" }]);
  });

  test("one that hangs is killed with all that it started", async () => {
    const driver = await definition.load();
    const options = definition.options.parse({
      command: ["/bin/sh", "-c", `echo $$ > ${join(folder, "pid")}; sleep 600 & wait`],
      version: "1",
      timeout_s: 0.5,
    });
    await using enricher = await driver.open(options, { connection: "x", folder });
    await expect(enricher.enrich([inputOf("x")], {})).rejects.toMatchObject({ code: "timeout" });
    const group = Number(readFileSync(join(folder, "pid"), "utf8"));
    await expect.poll(() => isThere(group), { timeout: 10_000 }).toBe(false);
  });
});

/** Whether a process of the group is there. */
function isThere(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch {
    return false;
  }
}
