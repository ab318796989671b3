import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Lake, RunReport } from "../../src/pipeline/index.ts";
import { loadLake } from "../support/lake.ts";
import { finish } from "./child.ts";
import { Ledger, type LedgerRow, type Tally } from "./ledger.ts";
import { inScratch } from "./sweep.ts";

/** A lake with one flow whose source is a ledger's records: files that are added to, or a table of a server. */
export interface OracleLake {
  folder: string;
  flow: string;
  ledger: Ledger;
  /** Runs the flow in this process. */
  run(signal?: AbortSignal): Promise<RunReport>;
  /** Holds dataset and rejected records against the ledger, and every file against its checksum. */
  tally(): Promise<Tally>;
  /** Rows of the dataset, 0 before the first version. */
  rows(): Promise<number>;
}

const checks = [
  { check: "unique", columns: ["id"] },
  { check: "range", column: "price", min: 0, on_fail: "reject" },
];

/** Writes the configuration of a flow `events`; `from` says where it reads. */
export function oracleLake(
  folder: string,
  mode: "append" | "merge",
  from: Record<string, unknown>,
  more: Record<string, unknown> = {},
  ledger = new Ledger(1),
): OracleLake {
  const flow = "events";
  mkdirSync(folder, { recursive: true });
  const split = { train: 0.8, test: 0.2, key: "id", seed: 7 };
  const flows = { [flow]: { from, mode, ...(mode === "merge" ? { key: ["id"] } : {}), checks, split } };
  writeFileSync(join(folder, "millrace.yaml"), stringify({ store: "./lake", flows, ...more }));
  const withLake = async <T>(action: (lake: Lake) => Promise<T>): Promise<T> => {
    await using lake = await loadLake(folder);
    return await action(lake);
  };
  return {
    folder,
    flow,
    ledger,
    run: (signal) => withLake((lake) => lake.run(flow, signal === undefined ? {} : { signal })),
    rows: () => withLake(async (lake) => ((await lake.catalog.exists(flow)) ? await rowCount(lake, flow) : 0)),
    tally: () =>
      withLake(async (lake) => {
        const names = await lake.catalog.list();
        const read = async (sql: string): Promise<Record<string, unknown>[]> =>
          (await lake.query(sql, { maximumRows: 10_000_000 })).rows;
        const rows = (await read(`SELECT id::INT AS id, revision::INT AS revision, payload FROM ${flow}`)) as unknown[];
        const refused = names.includes(`${flow}__rejected`)
          ? await read(
              `SELECT CASE WHEN record LIKE '{%' THEN (record->>'id')::INT ELSE regexp_extract(record, 'broken(-\\d+)', 1)::INT END AS id
               FROM ${flow}__rejected`,
            )
          : [];
        const tally = ledger.compare(
          rows as LedgerRow[],
          refused.map((row) => Number(row["id"])),
        );
        const problems = (await lake.verify(flow, { deep: true })).problems.map((problem) => JSON.stringify(problem));
        const left = readdirSync(join(folder, "lake/.scratch")).filter((name) => !name.startsWith(`${process.pid}-`));
        const violations = [
          ...tally.violations,
          ...problems,
          ...left.map((name) => `.scratch/${name} was left behind`),
        ];
        return { ...tally, violations };
      }),
  };
}

async function rowCount(lake: Lake, flow: string): Promise<number> {
  const { dataset } = await lake.dataset(flow).catch(() => ({ dataset: undefined }));
  return dataset?.current()?.rows ?? 0;
}

/** A lake whose flow reads the CSV files of its folder `in`, in small parts. */
export function oracleFiles(folder: string, mode: "append" | "merge", ledger = new Ledger(1)): OracleLake {
  mkdirSync(join(folder, "in"), { recursive: true });
  return oracleLake(folder, mode, { path: "in/*.csv", part_bytes: 8_000 }, {}, ledger);
}

/** Offers records, and a line that cannot be parsed, in a new file; `file` numbers it. */
export function offerFile(lake: OracleLake, file: number, count: number, touched: readonly number[] = []): void {
  const rows = lake.ledger.offer(count, touched);
  const lines = rows.map(({ id, revision, payload, price }) => `${id},${revision},${payload},${price}`);
  lines.push(`broken${lake.ledger.offerBroken()},line`);
  const name = `part-${String(file).padStart(4, "0")}.csv`;
  writeFileSync(join(lake.folder, "in", name), ["id,revision,payload,price", ...lines, ""].join("\n"));
}

/** Steps of a run that takes in one more file of 200 records, by `programs/progress.ts`. */
export function stepsOfRun(mode: "append" | "merge"): Promise<number> {
  return inScratch(async (folder) => {
    const lake = oracleFiles(folder, mode);
    offerFile(lake, 0, 200);
    await lake.run();
    offerFile(lake, 1, 200);
    const ended = await finish({ program: "millrace.ts", args: ["run", lake.flow], cwd: folder });
    if (ended.code !== 0) throw new Error(ended.errors);
    return ended.steps;
  });
}
