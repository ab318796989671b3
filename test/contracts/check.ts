import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { parse } from "yaml";
import { sqlName, type CheckContext, type CheckDefinition, type Sql } from "../../src/core/index.ts";
import { openEngine, type Engine } from "../../src/engine/index.ts";
import { AlikeRows } from "../../src/pipeline/alike.ts";
import { checkSchema, type CheckSpec } from "../../src/pipeline/flow.ts";
import type { CheckResult } from "../../src/pipeline/report.ts";
import { measureChecks, planChecks, rejectingSql, verifyChecks, type PlannedCheck } from "../../src/quality/index.ts";
import { errorOf } from "./support/observe.ts";
import { naughtyStrings } from "./support/names.ts";
import { runContract, type Fixture, type Rules, type Waivers } from "./support/suite.ts";

/** One column on which a check holds and does not hold. */
export interface CheckContract {
  name: string;
  definition: CheckDefinition;
  /** The type of the column in the engine's SQL. */
  type: Sql;
  /** SQL of values with which the check passes. */
  good: readonly Sql[];
  /** SQL of values with which it fails: the rows of a check about rows, each of them; else all together. */
  bad: readonly Sql[];
  /** How many of `bad` fail, for checks about rows. Default: all. */
  failing?: number;
  /** The check's own options for a column of this name. */
  options(column: string): Record<string, unknown>;
  /** SQL of a second column, from the quoted name of the first, for checks that set columns side by side. */
  beside?(column: Sql): Sql;
  /** What the verdict is about no rows at all. Default `passed`. */
  empty?: "passed" | "warned" | "failed";
  /** Other datasets and versions that the check looks at, for a column of this name. */
  context?(column: string): Partial<CheckContext>;
  waivers?: Waivers;
}

/** Tests that every check passes, through the real engine. */
export function checkContract(contract: CheckContract): void {
  runContract(contract, "check", (rules) => checkRules(contract, rules));
}

/** The rules themselves, for a run of them outside of a suite. */
export function checkRules(contract: CheckContract, { rule, ruleIf }: Rules): Fixture {
  const { definition, good, bad, failing = bad.length } = contract;
  const notRows = definition.capabilities.rows ? undefined : "the check is about all rows together";
  let engine: Engine;
  let folder: string;
  const searches = new AsyncDisposableStack();

  const relationOf = (values: readonly Sql[], column = "value"): Sql => {
    const list = values.map((value) => `CAST(${value} AS ${contract.type})`);
    const rows = `SELECT unnest([${list.join(", ")}]::${contract.type}[]) AS ${sqlName(column)}`;
    const beside = contract.beside?.(sqlName(column));
    return beside === undefined ? `(${rows})` : `(SELECT *, ${beside} AS beside_it FROM (${rows}))`;
  };
  const planned = async (relation: Sql, column: string, common: Record<string, unknown>): Promise<PlannedCheck> => {
    const rows = searches.use(new AlikeRows(engine, { folder }));
    const context: CheckContext = {
      columns: await engine.columnsOf(`SELECT * FROM ${relation}`),
      key: [],
      alike: rows.alike,
      now: Date.parse("2024-06-15T12:00:00Z"),
      dataset: (name) => expect.fail(`the check asked for the dataset ${name}`),
      ...contract.context?.(column),
    };
    const own = contract.options(column);
    const spec = { ...checkSchema.parse({ check: definition.name, ...common }), ...own } as CheckSpec;
    const [check] = await planChecks([spec], context, async () => definition);
    await verifyChecks([check!], engine);
    await rows.search(() => relation, "'another row'");
    return check!;
  };
  const judge = async (
    values: readonly Sql[],
    common: Record<string, unknown> = {},
    column = "value",
  ): Promise<CheckResult> => {
    const relation = relationOf(values, column);
    const check = await planned(relation, column, common);
    const [result] = await measureChecks([check], { relation, engine });
    expect(result!.error).toBeUndefined();
    expect(result!.message).not.toBe("");
    expect(JSON.parse(JSON.stringify(result!.measured))).toEqual(result!.measured);
    if (definition.capabilities.rows) {
      // What is counted and what quarantine would move are the same rows, each with a reason.
      const { row = "false", window } = rejectingSql(check);
      const where = `(${row})${window === undefined ? "" : ` QUALIFY (${window})`}`;
      const every = `WITH data AS (SELECT * FROM ${relation}) SELECT * FROM data`;
      const moved = window === undefined ? `${every} WHERE ${where}` : `${every} QUALIFY (${row}) OR (${window})`;
      const [count] = await engine.query(`SELECT count(*)::INT AS n FROM (${moved})`);
      expect(result!.failing).toBe(count!["n"]);
    }
    return result!;
  };

  rule("it holds on what is good, and not on what is bad", async () => {
    expect(await judge(good)).toMatchObject({ status: "passed" });
    const wrong = await judge(bad);
    expect(wrong.status).toBe("failed");
    if (notRows === undefined) expect(wrong.failing).toBe(failing);
    expect((await judge([...bad].toReversed())).status).toBe("failed");
    expect((await judge(bad, { on_fail: "warn" })).status).not.toBe("passed");
  });

  rule("no rows at all have a verdict", async () => {
    expect(await judge([])).toMatchObject({ status: contract.empty ?? "passed" });
  });

  rule("null, NaN and infinities are judged like everything else", async () => {
    const odd = contract.type === "DOUBLE" ? ["NULL", "'nan'", "'inf'", "'-inf'", "-0.0"] : ["NULL"];
    for (const values of [odd, [...odd, ...odd], [...good, ...odd], [...bad, ...odd]]) {
      const { status, failing: count = 0 } = await judge(values);
      expect(["passed", "warned", "failed"]).toContain(status);
      expect(count).toBeLessThanOrEqual(values.length);
    }
    expect((await judge([...bad, ...bad, ...odd])).status).toBe("failed");
  });

  ruleIf(notRows, "as many rows may fail as `max_rows` and `max_share` say, and no more", async () => {
    const all = good.length + bad.length;
    const mixed = [...good, ...bad];
    const count = (await judge(mixed)).failing!;
    expect(count).toBeGreaterThan(0);
    expect((await judge(mixed, { max_rows: count })).status).toBe("passed");
    expect((await judge(mixed, { max_rows: count - 1 })).status).toBe("failed");
    expect((await judge(mixed, { max_share: count / all })).status).toBe("passed");
    expect((await judge(mixed, { max_share: count / all - 0.001 })).status).toBe("failed");
    expect((await judge(mixed, { on_fail: "reject" })).failing).toBe(count);
  });

  ruleIf(
    definition.capabilities.mask === true ? undefined : "the check has nothing to mask",
    "masked rows pass, and all else stays as it was",
    async () => {
      for (const column of ["value", 'a"b']) {
        const relation = relationOf([...good, ...bad], column);
        const { definition: check, options, context } = await planned(relation, column, { on_fail: "mask" });
        const masks = Object.entries(check.mask!(options, context));
        expect(masks.map(([name]) => name)).toEqual([column]);
        const replaced = masks.map(([name, sql]) => `${sql} AS ${sqlName(name)}`).join(", ");
        const masked = `(WITH data AS (SELECT * FROM ${relation}) SELECT * REPLACE (${replaced}) FROM data)`;
        const again = await measureChecks([await planned(masked, column, {})], { relation: masked, engine });
        expect(again[0]).toMatchObject({ status: "passed" });
        const all = (from: Sql): Promise<unknown> => engine.query(`SELECT * FROM ${from} LIMIT ${good.length}`);
        expect(await all(masked)).toEqual(await all(relation));
      }
    },
  );

  ruleIf(
    definition.capabilities.rows ? "the check is about rows" : undefined,
    "it refuses limits and actions on rows",
    async () => {
      for (const common of [{ max_rows: 1 }, { max_share: 0.5 }, { on_fail: "reject" }]) {
        expect((await errorOf(() => planned(relationOf(good), "value", common))).code).toBe("config");
      }
    },
  );

  rule("a naughty string is the name of the column", async () => {
    const names = [...new Set(naughtyStrings().map((name) => name.normalize()))].filter(
      (name, index) => index % 25 === 0 && name.trim() !== "" && name.isWellFormed() && !name.includes("\0"),
    );
    expect(names.length).toBeGreaterThan(2);
    for (const name of [...names, 'a"b', "a'b", "a;--", "SELECT", "rows", "data", "failing", "*"]) {
      expect([name, (await judge(good, {}, name)).status]).toEqual([name, "passed"]);
      expect([name, (await judge(bad, {}, name)).status]).toEqual([name, "failed"]);
    }
  });

  rule("a column that is not there, or an option that is none, is named", async () => {
    const own = { ...contract.options("value"), no_such_option: 1 };
    expect(definition.options.safeParse(own).success).toBe(false);
    if (!JSON.stringify(contract.options("value")).includes("value")) return;
    const outcome: unknown = await planned(relationOf(good, "other"), "value", {}).catch((error: unknown) => error);
    // A contract about columns is the only one that is about their absence.
    if (outcome instanceof Error)
      expect(outcome).toMatchObject({ code: expect.stringMatching(/config|not-found/) as string });
    else expect(definition.name).toBe("columns");
  });

  rule("its examples are accepted as written", async () => {
    expect(definition.examples.length).toBeGreaterThan(0);
    for (const { yaml } of definition.examples) {
      const { check, on_fail, max_rows, max_share, ...own } = parse(yaml) as Record<string, unknown>;
      expect(check).toBe(definition.name);
      checkSchema.parse({
        check,
        ...Object.fromEntries(
          Object.entries({ on_fail, max_rows, max_share }).filter(([, value]) => value !== undefined),
        ),
      });
      definition.options.parse(own);
    }
  });

  return {
    async start() {
      folder = await mkdtemp(join(tmpdir(), "millrace-contract-"));
      engine = await openEngine({ spillFolder: join(folder, "spill"), allowed: [folder], memoryLimit: "300MB" });
    },
    async stop() {
      await searches.disposeAsync();
      await engine[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
