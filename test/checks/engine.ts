import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CheckContext, CheckDefinition, Column, Statistics } from "../../src/core/index.ts";
import { openEngine } from "../../src/engine/index.ts";
import { checkSchema, type CheckSpec } from "../../src/pipeline/flow.ts";
import type { CheckResult } from "../../src/pipeline/report.ts";
import { measureChecks, planChecks, type PlannedCheck } from "../../src/quality/index.ts";

/** The real engine, with a list of the statements that it was asked. */
export async function openTestEngine(memoryLimit = "500MB") {
  const folder = mkdtempSync(join(tmpdir(), "millrace-checks-"));
  const engine = await openEngine({ memoryLimit, threads: 2, spillFolder: join(folder, "spill"), allowed: [folder] });
  const scans: string[] = [];
  return {
    scans,
    folder,
    /** Itself; what it is asked is not in `scans`. */
    engine,
    query(sql: string, signal?: AbortSignal): Promise<Record<string, unknown>[]> {
      scans.push(sql);
      return engine.query(sql, signal);
    },
    columnsOf: (relation: string): Promise<Column[]> => engine.columnsOf(`SELECT * FROM ${relation}`),
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
export type TestEngine = Awaited<ReturnType<typeof openTestEngine>>;

export const loadCheck = async (name: string): Promise<CheckDefinition> =>
  ((await import(`../../src/checks/${name}.ts`)) as { default: CheckDefinition }).default;

/** A spec as the configuration gives it; `max` of checks that have their own is not the threshold. */
export function specOf(spec: Record<string, unknown>): CheckSpec {
  const { max, ...rest } = spec;
  const parsed = checkSchema.parse(rest) as Record<string, unknown>;
  return (max === undefined ? parsed : { ...parsed, max }) as CheckSpec;
}

export interface Asked {
  context?: Partial<CheckContext>;
  statistics?: Statistics;
}

export async function plan(
  engine: TestEngine,
  relation: string,
  specs: Record<string, unknown>[],
  asked: Asked = {},
): Promise<PlannedCheck[]> {
  const context: CheckContext = {
    columns: await engine.columnsOf(relation),
    key: [],
    now: Date.parse("2024-06-15T12:00:00Z"),
    dataset(name) {
      throw new Error(`no dataset ${name}`);
    },
    ...asked.context,
  };
  return planChecks(specs.map(specOf), context, loadCheck);
}

/** The result of one check over a relation. */
export async function ask(
  engine: TestEngine,
  relation: string,
  spec: Record<string, unknown>,
  asked: Asked = {},
): Promise<CheckResult> {
  const planned = await plan(engine, relation, [spec], asked);
  const [result] = await measureChecks(planned, {
    relation,
    engine,
    ...(asked.statistics ? { statistics: asked.statistics } : {}),
  });
  return result!;
}
