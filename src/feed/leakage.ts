import { MillraceError, sqlName, type Column, type Sql } from "../core/index.ts";
import type { Engine } from "../engine/engine.ts";
import type { SplitSpec } from "../pipeline/flow.ts";
import type { CheckResult } from "../pipeline/report.ts";
import { splitKey, splitWithSeed } from "./split.ts";

export interface LeakageRequest {
  /** FROM items that together are the dataset: what is there already, then what is new. Each has the split column. */
  relations: readonly Sql[];
  columns: readonly Column[];
  /** Key columns of the dataset. */
  key: readonly string[];
  signal?: AbortSignal;
}

type Querying = Pick<Engine, "query">;

/** Equal rows that differ in their key only are copies when most rows are unlike all others; else values just repeat. */
const copiesAreRare = 0.05;
const samples = 5;
/** Balance is measured for as many strata as fit a sentence's worth of attention. */
const maxStrata = 1000;

/**
 * What training must not see twice: groups (equal `split.key`) in two splits, and equal rows in two splits. Equal means equal in
 * every column but the split and the key of the dataset. With `stratify`, how evenly the strata are spread as well, which only warns.
 * Gives no result for `leakage: off` and no strata.
 */
export async function leakageChecks(
  spec: SplitSpec,
  request: LeakageRequest,
  engine: Querying,
): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  if (spec.leakage !== "off")
    results.push(await guarded("split-leakage", spec, () => measureLeakage(spec, request, engine), request.signal));
  if (spec.stratify !== undefined && spec.by === "random") {
    results.push(
      await guarded(
        "split-balance",
        { ...spec, leakage: "warn" },
        () => measureBalance(spec, request, engine),
        request.signal,
      ),
    );
  }
  return results;
}

function resultOf(check: string, onFail: "warn" | "fail", rest: Omit<CheckResult, "check" | "options">): CheckResult {
  return { check, options: { check, on_fail: onFail }, ...rest };
}

async function guarded(
  check: string,
  spec: SplitSpec,
  work: () => Promise<Omit<CheckResult, "check" | "options">>,
  signal?: AbortSignal,
): Promise<CheckResult> {
  const onFail = spec.leakage === "fail" ? "fail" : "warn";
  try {
    const found = await work();
    const status = found.status === "failed" && onFail === "warn" ? "warned" : found.status;
    return resultOf(check, onFail, { ...found, status });
  } catch (error) {
    if (signal?.aborted) throw new MillraceError("aborted", "stopped by the caller", { cause: error });
    const message = error instanceof Error ? error.message : String(error);
    return resultOf(check, onFail, {
      status: onFail === "warn" ? "warned" : "failed",
      message: `the check could not be measured: ${message.split("\n")[0]}`,
      measured: {},
      error: message,
    });
  }
}

/** All rows; earlier versions may lack columns, so they are matched by name. */
function allRows(relations: readonly Sql[]): Sql {
  return relations.map((relation) => `SELECT * FROM ${relation}`).join(" UNION ALL BY NAME ");
}

async function measureLeakage(
  spec: SplitSpec,
  request: LeakageRequest,
  engine: Querying,
): Promise<Omit<CheckResult, "check" | "options">> {
  const split = sqlName(spec.into);
  const groups = spec.key === undefined ? [] : splitKey(spec, request.columns, request.key);
  // A stated group stays part of the content: the same values of two customers are two facts.
  const identity = new Set([
    spec.into,
    ...request.key.filter((name) => !groups.some((column) => column.name === name)),
  ]);
  const content = request.columns.filter((column) => !identity.has(column.name));
  const data = `WITH data AS NOT MATERIALIZED (${allRows(request.relations)})`;
  const measured: Record<string, number> = {};
  const problems: string[] = [];
  const notes: string[] = [];
  let failing = 0;

  if (groups.length > 0) {
    const names = groups.map((column) => sqlName(column.name)).join(", ");
    const text = `left(concat_ws(', ', ${groups.map((column) => `coalesce(CAST(${sqlName(column.name)} AS VARCHAR), 'NULL')`).join(", ")}), 60)`;
    const shared = `SELECT ${text} AS g, count(*) AS n FROM data GROUP BY ${names} HAVING min(${split}) <> max(${split})`;
    const [row] = await engine.query(
      `${data} SELECT count(*) AS shared, coalesce(sum(n), 0)::BIGINT AS "rows", (SELECT CAST(to_json(list(g)) AS VARCHAR) FROM (SELECT g FROM (${shared}) ORDER BY g LIMIT ${samples})) AS examples FROM (${shared})`,
      request.signal,
    );
    const count = Number(row?.["shared"]);
    measured["shared_groups"] = count;
    if (count > 0) {
      failing += Number(row?.["rows"]);
      const examples = JSON.parse(String(row?.["examples"])) as string[];
      const by = groups.map((column) => `\`${column.name}\``).join(", ");
      problems.push(
        `${count} group${count === 1 ? "" : "s"} of ${by} ${count === 1 ? "is" : "are"} in more than one split (${examples.map((text) => `\`${text}\``).join(", ")}${count > samples ? " …" : ""})`,
      );
    }
  }

  if (content.length > 0) {
    const names = content.map((column) => sqlName(column.name)).join(", ");
    // Only rows whose hash is in two splits can be equal to a row of another split; those few are then compared in full.
    const candidates = `SELECT h FROM (SELECT hash(${names}) AS h, ${split} AS s FROM data) GROUP BY h HAVING min(s) <> max(s)`;
    const [row] = await engine.query(
      `${data} SELECT (SELECT count(*) FROM data) AS "rows", count(*) AS contents, coalesce(sum(n), 0)::BIGINT AS copies FROM ` +
        `(SELECT count(*) AS n FROM data WHERE hash(${names}) IN (${candidates}) GROUP BY ${names} HAVING min(${split}) <> max(${split}))`,
      request.signal,
    );
    const [rows, contents, copies] = [Number(row?.["rows"]), Number(row?.["contents"]), Number(row?.["copies"])];
    Object.assign(measured, { rows, duplicate_contents: contents, duplicate_rows: copies });
    if (contents > 0) {
      const said = `${copies} of ${rows} rows are equal to a row of another split${request.key.length > 0 ? ", their key aside" : ""}`;
      if (copies / rows > copiesAreRare) {
        notes.push(`${said}; so many that the columns seem to repeat by themselves`);
      } else {
        failing = Math.max(failing, copies);
        problems.push(`${said}: drop copies with the check \`duplicates\`, or keep them together with \`split.key\``);
      }
    }
  }

  const message = [...problems, ...notes].join("; ");
  if (problems.length > 0) return { status: "failed", message, failing, measured };
  if (notes.length > 0) return { status: "warned", message, measured };
  const said =
    groups.length > 0 ? `no group of ${groups.map((column) => `\`${column.name}\``).join(", ")} and no row` : "no row";
  return { status: "passed", message: `${said} is in two splits`, failing: 0, measured };
}

function strataOf(spec: SplitSpec): string[] {
  return typeof spec.stratify === "string" ? [spec.stratify] : (spec.stratify ?? []);
}

function sharesOf(spec: SplitSpec): Record<string, number> {
  return Object.fromEntries(
    (["train", "validation", "test"] as const).flatMap((name) => (spec[name] ? [[name, spec[name]]] : [])),
  );
}

/**
 * A pure function of the key cannot see how many rows a stratum has, so a small one may come out uneven by chance. This says
 * where, and which seed would do better.
 */
async function measureBalance(
  spec: SplitSpec,
  request: LeakageRequest,
  engine: Querying,
): Promise<Omit<CheckResult, "check" | "options">> {
  const names = strataOf(spec);
  const stratum = `left(concat_ws(', ', ${names.map((name) => `coalesce(CAST(${sqlName(name)} AS VARCHAR), 'NULL')`).join(", ")}), 60)`;
  const rows = await engine.query(
    `WITH data AS NOT MATERIALIZED (${allRows(request.relations)}) SELECT ${stratum} AS stratum, ${sqlName(spec.into)} AS split, count(*) AS n ` +
      `FROM data GROUP BY ALL ORDER BY 1, 2 LIMIT ${3 * maxStrata + 1}`,
    request.signal,
  );
  const strata = new Map<string, Record<string, number>>();
  for (const row of rows) {
    const own = strata.get(String(row["stratum"])) ?? {};
    own[String(row["split"])] = Number(row["n"]);
    strata.set(String(row["stratum"]), own);
  }
  if (strata.size > maxStrata) {
    return {
      status: "warned",
      message: `${names.map((name) => `\`${name}\``).join(", ")} has more than ${maxStrata} strata, too many to balance`,
      measured: {},
    };
  }
  const shares = sharesOf(spec);
  const uneven: string[] = [];
  let worst = 0;
  for (const [name, counts] of strata) {
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    for (const [split, share] of Object.entries(shares)) {
      const found = counts[split] ?? 0;
      const off = Math.abs(found - share * total);
      worst = Math.max(worst, off / total);
      // One row is what rounding takes; a fifth of what was wished for is what training notices.
      if (off > 1 && off > 0.2 * share * total)
        uneven.push(`\`${name}\` has ${found} of ${total} rows in ${split}, not ${Math.round(share * total)}`);
    }
  }
  const measured: Record<string, number> = { strata: strata.size, uneven: uneven.length, largest_deviation: worst };
  if (uneven.length === 0) return { status: "passed", message: `${strata.size} strata are spread as wished`, measured };
  const seed = await suggestSeed(spec, request, engine);
  if (seed !== undefined) measured["suggested_seed"] = seed;
  const hint = seed === undefined ? "" : `; \`seed: ${seed}\` would spread them better`;
  return {
    status: "failed",
    message: `${uneven.slice(0, samples).join("; ")}${uneven.length > samples ? ` and ${uneven.length - samples} more` : ""}${hint}`,
    measured,
  };
}

/**
 * The seed among `tries` that spreads the strata most evenly, when it is better than the one that is set. Rows that are added
 * later are spread by the same function, so what a seed gives is kept. For data of at most 200 000 rows: above, seeds hardly differ.
 */
export async function suggestSeed(
  spec: SplitSpec,
  { relations, columns, key, signal }: LeakageRequest,
  engine: Querying,
  tries = 2000,
): Promise<number | undefined> {
  const keys = splitKey(spec, columns, key);
  const names = strataOf(spec).map(sqlName);
  const data = `WITH data AS NOT MATERIALIZED (${allRows(relations)})`;
  const [size] = await engine.query(`${data} SELECT count(*) AS n FROM data`, signal);
  const total = Number(size?.["n"]);
  if (total === 0 || total > 200_000 || names.length === 0) return undefined;
  const seeds = Math.max(10, Math.min(tries, Math.floor(2_000_000 / total)));
  const shares = Object.entries(sharesOf(spec));
  // Groups are hashed once a seed, however many rows they have; strata are counted in rows.
  const assigned = splitWithSeed(spec, columns, key, "seed");
  const off = shares.map(([split, share]) => `abs(sum(n) FILTER (WHERE s = '${split}') - ${share} * sum(n))`);
  const missing = shares.map(([, share], index) => `coalesce(${off[index]}, ${share} * sum(n))`);
  const rows = await engine.query(
    `${data}, groups AS MATERIALIZED (SELECT ${[...new Set([...keys.map((column) => sqlName(column.name)), ...names])].join(", ")}, count(*) AS n FROM data GROUP BY ALL), ` +
      `seeds AS (SELECT ${spec.seed} AS seed UNION SELECT range FROM range(${seeds})), ` +
      `assigned AS (SELECT seed, [${names.map((name) => `CAST(${name} AS VARCHAR)`).join(", ")}] AS stratum, n, ${assigned} AS s FROM groups, seeds), ` +
      `strata AS (SELECT seed, (${missing.join(" + ")}) / sqrt(sum(n)) AS off FROM assigned GROUP BY seed, stratum) ` +
      `SELECT seed, sum(off) AS off FROM strata GROUP BY seed ORDER BY off, seed`,
    signal,
  );
  const best = rows[0];
  const current = rows.find((row) => Number(row["seed"]) === spec.seed);
  if (best === undefined || current === undefined || Number(best["off"]) >= Number(current["off"])) return undefined;
  return Number(best["seed"]);
}
