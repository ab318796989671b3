import { DuckDBDecimalValue, DuckDBInstance } from "@duckdb/node-api";
import type { CheckContext, CheckDefinition, Column, DataType, Statistics } from "../../src/core/index.ts";
import { checkSchema, type CheckSpec } from "../../src/pipeline/flow.ts";
import type { CheckResult } from "../../src/pipeline/report.ts";
import { measureChecks, planChecks, type PlannedCheck } from "../../src/quality/index.ts";

/** The engine's SQL without its lock-down: what checks need of it. */
export async function openTestEngine(memoryLimit = "500MB", spill?: string) {
  const instance = await DuckDBInstance.create(":memory:", {
    memory_limit: memoryLimit,
    threads: "2",
    ...(spill === undefined ? {} : { temp_directory: spill }),
  });
  const connection = await instance.connect();
  await connection.run("SET TimeZone = 'UTC'");
  const scans: string[] = [];
  return {
    /** Every statement that was run. */
    scans,
    async query(sql: string): Promise<Record<string, unknown>[]> {
      scans.push(sql);
      const rows = (await connection.runAndReadAll(sql)).getRowObjects();
      return rows.map((row) =>
        Object.fromEntries(
          Object.entries(row).map(([name, value]) => [
            name,
            value instanceof DuckDBDecimalValue ? value.toString() : value,
          ]),
        ),
      ) as Record<string, unknown>[];
    },
    async columnsOf(relation: string): Promise<Column[]> {
      const described = await connection.runAndReadAll(`DESCRIBE SELECT * FROM ${relation}`);
      return described
        .getRowObjects()
        .map((row) => ({ name: String(row["column_name"]), type: typeOf(String(row["column_type"])) }));
    },
    [Symbol.dispose]() {
      connection.closeSync();
      instance.closeSync();
    },
  };
}
export type TestEngine = Awaited<ReturnType<typeof openTestEngine>>;

const types: Record<string, DataType> = {
  BOOLEAN: "boolean",
  INTEGER: "int",
  BIGINT: "long",
  FLOAT: "float",
  DOUBLE: "double",
  DATE: "date",
  TIME: "time",
  TIMESTAMP: "timestamp",
  "TIMESTAMP WITH TIME ZONE": "timestamptz",
  VARCHAR: "string",
  UUID: "uuid",
  BLOB: "binary",
  "VARCHAR[]": { type: "list", element: "string" },
  "DOUBLE[]": { type: "list", element: "double" },
  "MAP(VARCHAR, INTEGER)": { type: "map", key: "string", value: "int" },
  "STRUCT(a DECIMAL(10,2), b DOUBLE)": {
    type: "struct",
    fields: [
      { name: "a", type: "decimal(10,2)" },
      { name: "b", type: "double" },
    ],
  },
};

function typeOf(name: string): DataType {
  const type = name.startsWith("DECIMAL") ? (name.toLowerCase() as DataType) : types[name];
  if (type === undefined) throw new Error(`the tests do not know the type ${name}`);
  return type;
}

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
