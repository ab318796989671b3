import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openLake } from "../../../src/index.ts";

/** Of each type the values at which writers and readers differ; in the engine's SQL. */
const values: Record<string, [string, string, string]> = {
  BOOLEAN: ["true", "false", "NULL"],
  INTEGER: ["-2147483648", "2147483647", "NULL"],
  BIGINT: ["-9223372036854775808", "9007199254740993", "NULL"],
  "DECIMAL(18,2)": ["'-9999999999999999.99'", "'0.10'", "NULL"],
  "DECIMAL(38,10)": ["'1234567890123456789012345678.0123456789'", "'-0.0000000001'", "NULL"],
  DOUBLE: ["0.1", "1.7976931348623157e308", "NULL"],
  DATE: ["'2024-02-29'", "'0001-01-01'", "NULL"],
  TIME: ["'23:59:59.999999'", "'00:00:00'", "NULL"],
  TIMESTAMP: ["'2024-05-06 07:08:09.123456'", "'1969-12-31 23:59:59.999999'", "NULL"],
  TIMESTAMPTZ: ["'2024-05-06 07:08:09.123456+00'", "'1969-12-31 23:59:59.999999+00'", "NULL"],
  UUID: ["'123e4567-e89b-12d3-a456-426614174000'", "'00000000-0000-0000-0000-000000000000'", "NULL"],
  VARCHAR: ["'naïve, \"quoted\" and' || chr(10) || 'a line'", "'NULL'", "NULL"],
};

export interface RoundTrip {
  type: string;
  /** Text of the values, in the order of the rows. */
  before: (string | null)[];
  after: (string | null)[];
}

/** A dataset with a column of each type, exported, and read again by a flow; what is read is cast to the type it had. */
export async function roundTrip(format: string, folder: string): Promise<RoundTrip[]> {
  await writeFile(join(folder, "seed.ndjson"), '{"i":0}\n{"i":1}\n{"i":2}\n');
  const types = Object.keys(values);
  const list = types.map(
    (type, column) =>
      `CASE i ${values[type]!.map((value, row) => `WHEN ${row} THEN CAST(${value} AS ${type})`).join(" ")} END AS c${column}`,
  );
  await using lake = await openLake({
    folder,
    config: {
      store: "./lake",
      flows: {
        typed: { from: { path: "seed.ndjson" }, mode: "replace", transform: `SELECT i, ${list.join(", ")} FROM input` },
        back: { from: { path: "exported/typed@*", format }, mode: "replace" },
      },
    } as never,
  });
  await lake.run("typed");
  await lake.export("typed", { format, to: join(folder, "exported") });
  await lake.run("back");
  const trips: RoundTrip[] = [];
  for (const [column, type] of types.entries()) {
    const texts = async (dataset: string): Promise<(string | null)[]> => {
      const { rows } = await lake.query(
        `SELECT CAST(TRY_CAST(c${column} AS ${type}) AS VARCHAR) AS v FROM ${dataset} ORDER BY i`,
      );
      return rows.map((row) => row["v"] as string | null);
    };
    trips.push({ type, before: await texts("typed"), after: await texts("back") });
  }
  return trips;
}
