import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { appendFile, cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { millrace, millraceArguments } from "./millrace.ts";

let parent: string;
let lake: string;
beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "millrace-lake-"));
  lake = join(parent, "my-lake");
  const made = await millrace(parent, ["init", "my-lake"]);
  expect(made.stderr).toContain("millrace run orders");
  expect(made.code).toBe(0);
});
afterAll(() => rm(parent, { recursive: true, force: true }));

async function json<Result>(...args: string[]): Promise<Result> {
  const { code, stdout, stderr } = await millrace(lake, [...args, "--json"]);
  expect(stderr, args.join(" ")).toBe("");
  expect(code, args.join(" ")).toBe(0);
  return JSON.parse(stdout) as Result;
}

async function text(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await millrace(lake, args);
  expect(`${code} ${stderr.includes("error:") ? stderr : ""}`, args.join(" ")).toBe("0 ");
  return stdout;
}

describe("a lake from the command line, in the order in which people use it", () => {
  test("init writes a configuration that is valid, with its schema for editors", async () => {
    expect((await readdir(lake)).sort()).toEqual([".gitignore", ".millrace", "data", "millrace.yaml"]);
    expect(await readFile(join(lake, "millrace.yaml"), "utf8")).toMatch(
      /^# yaml-language-server: \$schema=\.\/\.millrace\/schema\.json/,
    );
    expect(existsSync(join(lake, ".millrace", "schema.json"))).toBe(true);
    expect(await json("datasets")).toEqual([]);
  });

  test("check reaches the source of the flow and moves nothing", async () => {
    expect(await text("check")).toMatch(/✓ flow orders/);
    const wrong = await millrace(lake, ["check", "order"]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain("did you mean `orders`?");
    expect(await json("datasets")).toEqual([]);
  });

  test("run publishes the first version and prints a receipt, without a bar when there is no terminal", async () => {
    const { code, stdout, stderr } = await millrace(lake, ["run", "orders"]);
    expect(stderr).toBe(
      "  next: millrace preview orders · millrace quality orders · millrace preview orders__rejected\n",
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^✓ orders@1 published$/m);
    expect(stdout).toMatch(/^ {2}read +200 /m);
    expect(stdout).toMatch(/^ {2}written +198$/m);
    expect(stdout).toMatch(/^ {2}rejected +2 +with reasons in orders__rejected$/m);
    expect(stdout).toMatch(/^ {2}splits +.*train \d+/m);
    expect(stdout).toMatch(/^ {2}✓ not-null id, customer_id/m);
    expect(stdout).toMatch(/^ {2}[✓!] range price .*in 2 of 200 rows.*rejected$/m);
  });

  test("a second run finds nothing new and makes no version", async () => {
    expect(await text("run", "orders")).toMatch(/^✓ orders unchanged: nothing new since orders@1/);
    const { runs } = await json<{ runs: { status: string }[] }>("run", "--all");
    expect(runs.map((run) => run.status)).toEqual(["unchanged"]);
  });

  test("another file makes another version, of what is new only", async () => {
    await writeFile(
      join(lake, "data", "orders-2.csv"),
      "id,customer_id,item,price,quantity,ordered_at\n201,1,lamp,5.00,2,2026-02-01T00:00:00Z\n",
    );
    const { runs } = await json<{ runs: object[] }>("run", "orders");
    expect(runs[0]).toMatchObject({ status: "published", version: 2, base: 1, read: 1, written: 1, rejected: 0 });
  });

  test("datasets, show and history agree", async () => {
    const datasets = await json<{ name: string; rows: number; version: number }[]>("datasets");
    expect(datasets).toContainEqual(expect.objectContaining({ name: "orders", rows: 199, version: 2 }));
    expect(datasets).toContainEqual(expect.objectContaining({ name: "orders__rejected", rows: 2 }));
    const shown = await json<{ version: { number: number; rows: number }; columns: { name: string }[] }>(
      "show",
      "orders@2",
    );
    expect(shown.version).toMatchObject({ number: 2, rows: 199 });
    expect(shown.columns.map((column) => column.name)).toEqual([
      "id",
      "customer_id",
      "item",
      "price",
      "quantity",
      "ordered_at",
      "total",
      "split",
    ]);
    const versions = await json<{ number: number; rows: number }[]>("history", "orders");
    expect(versions.map((version) => [version.number, version.rows])).toEqual([
      [1, 198],
      [2, 199],
    ]);
    expect(await text("datasets")).toMatch(/^orders +2 +199 /m);
    expect(await text("show", "orders")).toContain("orders@2");
    expect(await text("history", "orders")).toMatch(/^ *2 .* append /m);
  });

  test("query: a table, JSON, CSV, a version by its number, and from the input", async () => {
    const rows = await json<{ rows: object[] }>(
      "query",
      'select (select count(*) from orders) as now, (select count(*) from "orders@1") as before',
    );
    expect(rows.rows).toEqual([{ now: 199, before: 198 }]);
    expect(await text("query", "select id, item from orders where id = 201", "--csv")).toBe("id,item\n201,lamp\n");
    expect(await text("query", "select 1 as a")).toBe("a\n─\n1\n");
    const piped = await millrace(lake, ["query", "-", "--csv"], { input: "select max(id) as m from orders;\n" });
    expect(piped.stdout).toBe("m\n201\n");
    const many = await millrace(lake, ["query", "select * from orders", "--rows", "5"]);
    expect(many.stdout.trimEnd().split("\n")).toHaveLength(7);
    expect(many.stderr).toContain("only the first 5 rows");
  });

  test("query: what is wrong is said in the engine's words, and nothing outside the lake can be read", async () => {
    const wrong = await millrace(lake, ["query", "select nope from orders"]);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain("nope");
    const outside = await millrace(lake, ["query", "select * from read_csv('/etc/passwd')"]);
    expect(outside.code).not.toBe(0);
    expect(outside.stdout).toBe("");
    const unknown = await millrace(lake, ["query", "select * from ordrs"]);
    expect(unknown.code).toBe(2);
  });

  test("preview of a split, of chosen columns, of what was rejected and why", async () => {
    const { rows } = await json<{ rows: { split: string }[] }>(
      "preview",
      "orders@1",
      "--split",
      "train",
      "--rows",
      "3",
    );
    expect(rows.map((row) => row.split)).toEqual(["train", "train", "train"]);
    expect(await text("preview", "orders", "--columns", "id,item", "--rows", "1", "--quiet")).toMatch(/^ *id {2}item/);
    const rejected = await json<{ rows: { reason: string; record: string }[] }>("preview", "orders__rejected");
    expect(rejected.rows).toHaveLength(2);
    for (const row of rejected.rows) {
      expect(row.reason).toMatch(/price/);
      expect(row.record).toContain("-1");
    }
  });

  test("tag, diff, rollback and back again", async () => {
    expect(await text("tag", "orders@1", "gold")).toContain("orders@gold is now version 1");
    expect((await json<{ version: { number: number } }>("show", "orders@gold")).version.number).toBe(1);
    const diff = await json<object>("diff", "orders@gold", "orders");
    expect(diff).toMatchObject({
      before: 1,
      after: 2,
      rowsBefore: 198,
      rowsAfter: 199,
      rowsAdded: 1,
      rowsRemoved: 0,
      schema: [],
    });
    expect(await text("diff", "orders@1", "orders@2")).toMatch(/rows +198 → 199 \(\+1\)/);
    expect((await millrace(lake, ["rollback", "orders"])).code).toBe(2);
    await text("rollback", "orders@1");
    expect(await json<object>("query", "select count(*) as n from orders")).toMatchObject({ rows: [{ n: 198 }] });
    await text("rollback", "orders@2");
    expect(await json<object>("query", "select count(*) as n from orders")).toMatchObject({ rows: [{ n: 199 }] });
    await text("tag", "orders", "gold", "--remove");
    expect((await millrace(lake, ["show", "orders@gold"])).code).toBe(2);
  });

  test("quality: verdicts, a profile, and a page that stands alone", async () => {
    const shown = await text("quality", "orders@1");
    expect(shown).toMatch(/✓ not-null/);
    expect(shown).toContain("customer_id");
    await text("quality", "orders@1", "--html", "quality.html");
    const page = await readFile(join(lake, "quality.html"), "utf8");
    expect(page).toMatch(/<svg/);
    expect(page).not.toMatch(/(src|href)="https?:/);
    // The history says of each version what its run found.
    expect(page.slice(page.indexOf("History"))).toMatch(/✓ passed|! warned/);
  });

  test("export to each format, with a checksum", async () => {
    for (const format of ["parquet", "csv", "jsonl", "arrow"]) {
      const report = await json<{ rows: number; to: string; files: { path: string; sha256: string }[] }>(
        "export",
        "orders@2",
        "--format",
        format,
        "--to",
        `out/${format}`,
      );
      expect(report.rows).toBe(199);
      for (const file of report.files) {
        expect(existsSync(join(report.to, file.path))).toBe(true);
        expect(file.sha256).toMatch(/^[0-9a-f]{64}$/);
      }
    }
  });

  test("replay puts mended records back", async () => {
    const refused = await millrace(lake, ["replay", "orders", "--set", "price"]);
    expect(refused.code).toBe(2);
    const report = await json<object>("replay", "orders", "--set", "price=abs(price)", "--where", "reason is not null");
    expect(report).toMatchObject({ status: "published", read: 2, written: 2, rejected: 0 });
    expect(await json<object>("query", "select count(*) as n from orders where price = 1")).toMatchObject({
      rows: [{ n: 2 }],
    });
  });

  test("compact, gc and verify: fewer files, the same rows, all of them sound", async () => {
    const [compacted] = await json<{ before: number; after: number }[]>("compact", "orders");
    expect(compacted!.before).toBeGreaterThan(compacted!.after);
    expect(await json<object>("query", "select count(*) as n from orders")).toMatchObject({ rows: [{ n: 201 }] });
    const dry = await json<{ dryRun: boolean }>("gc", "--dry-run", "--minimum-age", "0s");
    expect(dry.dryRun).toBe(true);
    await json("gc", "--minimum-age", "0s");
    const verified = await json<{ sound: boolean }>("verify", "--deep");
    expect(verified.sound).toBe(true);
  });

  test("erase asks, says what would go, takes it out of every version, and proves it", async () => {
    const rows = ["--where", "customer_id = 1"];
    const nobody = await millrace(lake, ["erase", "orders", ...rows]);
    expect(nobody).toMatchObject({ code: 2, stderr: expect.stringContaining("--yes") });
    const wrong = await millrace(lake, ["erase", "orders", "--yes", "--where", "customer = 1"]);
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("`customer_id`") });
    expect((await millrace(lake, ["erase", "orders", ...rows, "--verify"])).code).toBe(1);
    expect(await text("erase", "orders", ...rows, "--yes", "--reason", "request 17")).toMatch(/^✓ erased: \d+ rows/m);
    expect(await text("erase", "orders", ...rows, "--verify")).toMatch(/✓ orders: no file of any version/);
    expect(await text("show", "orders")).toMatch(/erased +\d+ rows of \d+ versions.*: request 17/);
  });

  test("verify finds a file that was damaged and ends with 1", async () => {
    const copy = join(parent, "damaged");
    await cp(lake, copy, { recursive: true });
    const files = (await readdir(join(copy, "lake"), { recursive: true })).filter(
      (name) => name.startsWith("orders/") && name.endsWith(".parquet"),
    );
    await appendFile(join(copy, "lake", files[0]!), "x");
    const { code, stdout } = await millrace(copy, ["verify", "orders"]);
    expect(stdout).toMatch(/✗ orders: .*1 problem/);
    expect(code).toBe(1);
  });
});

describe("when it does not go well", () => {
  test("a check that fails publishes nothing, says so, and ends with 1", async () => {
    const folder = join(parent, "failing");
    await millrace(parent, ["init", "failing"]);
    const config = await readFile(join(folder, "millrace.yaml"), "utf8");
    await writeFile(join(folder, "millrace.yaml"), config.replace("on_fail: reject", "on_fail: fail"));
    const { code, stdout, stderr } = await millrace(folder, ["run", "orders"]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^✗ orders not published: 1 of 3 checks failed/m);
    expect(stderr).toContain("mend the data");
    const { stdout: list } = await millrace(folder, ["datasets", "--json"]);
    expect(
      (JSON.parse(list) as { name: string; version: unknown }[]).filter(
        (item) => item.name === "orders" && item.version !== null,
      ),
    ).toEqual([]);
  });

  test("a flow that breaks does not keep the others from running", async () => {
    const folder = join(parent, "two");
    await millrace(parent, ["init", "two"]);
    await appendFile(join(folder, "millrace.yaml"), "  broken:\n    from: { path: nowhere/*.csv }\n");
    const { code, stdout, stderr } = await millrace(folder, ["run", "broken", "orders"]);
    expect(stdout).toContain("✓ orders@1 published");
    expect(stderr).toMatch(/^error: /m);
    expect(code).toBeGreaterThan(0);
  });

  test("looking at datasets needs no secret of a connection, using the connection does", async () => {
    const folder = join(parent, "secret");
    await millrace(parent, ["init", "secret"]);
    await appendFile(
      join(folder, "millrace.yaml"),
      'connections:\n  shop: { source: postgres, url: "${env:MILLRACE_TEST_NOT_SET}" }\n',
    );
    expect((await millrace(folder, ["datasets"])).code).toBe(0);
    const { code, stderr } = await millrace(folder, ["discover", "shop"]);
    expect(code).toBe(2);
    expect(stderr).toContain("`MILLRACE_TEST_NOT_SET` is not set");
    expect(stderr).toMatch(/at: millrace.yaml:\d+, connection shop/);
  });

  test("a reader that has gone is no error", async () => {
    const child = spawn(
      process.execPath,
      millraceArguments(["query", "select range as n, repeat('x', 1000) as t from range(10000)", "--csv"]),
      { cwd: lake },
    );
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    child.stdout.once("data", () => child.stdout.destroy());
    const code = await new Promise((resolve) => child.on("close", resolve));
    expect(stderr.replace(/^only the first.*\n/m, "")).toBe("");
    expect(code).toBe(0);
  });

  test("Ctrl-C ends a run with 130 and one clear line, and the next run goes on", async () => {
    const folder = join(parent, "stopped");
    await millrace(parent, ["init", "stopped"]);
    const rows = Array.from(
      { length: 400_000 },
      (_, index) => `${index},${index % 97},lamp,5.00,2,2026-02-01T00:00:00Z`,
    );
    for (const part of [1, 2, 3, 4]) {
      await writeFile(
        join(folder, "data", `orders-${part}.csv`),
        `id,customer_id,item,price,quantity,ordered_at\n${rows.join("\n")}\n`,
      );
    }
    const child = spawn(process.execPath, millraceArguments(["run", "orders"]), { cwd: folder });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
    const runs = join(folder, "lake", "runs");
    // The plan is written: the run is under way.
    while (
      child.exitCode === null &&
      !(existsSync(runs) && (await readdir(runs, { recursive: true })).some((name) => name.endsWith("plan.json")))
    ) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    child.kill("SIGINT");
    const code = await new Promise((resolve) => child.on("close", resolve));
    expect(code).toBe(130);
    expect(stderr).toMatch(/^error: stopped/);
    const { stdout, code: second } = await millrace(folder, ["run", "orders", "--json"]);
    expect(second).toBe(0);
    expect((JSON.parse(stdout) as { runs: object[] }).runs[0]).toMatchObject({
      status: "published",
      version: 1,
      read: 1_600_200,
    });
  });
});
