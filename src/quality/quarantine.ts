import { sqlName, sqlString, type Column, type Sql } from "../core/index.ts";
import { rejectingSql, type PlannedCheck } from "./plan.ts";
import { recordExpression } from "./records.ts";

/** What moves a row out: a predicate over `data` that is never null, and the text that says why. */
export interface RejectRule {
  check: string;
  predicate: Sql;
  /** Text expression over `data`; only read where the predicate is true. */
  reason: Sql;
  /** The predicate needs window functions over all rows that no other rule has moved out. */
  window: boolean;
}

/** The rules of every planned check with `on_fail: reject`. */
export function rejectPredicate(planned: readonly PlannedCheck[]): RejectRule[] {
  return planned.flatMap((check) => {
    if (check.spec.on_fail !== "reject") return [];
    const { row, window } = rejectingSql(check);
    const reason = check.definition.reason?.(check.options, check.context) ?? "'does not hold'";
    const text = `${sqlString(`${check.spec.check}: `)} || coalesce(${reason}, 'does not hold')`;
    const rule = (predicate: Sql | undefined, isWindow: boolean): RejectRule[] =>
      predicate === undefined ? [] : [{ check: check.spec.check, predicate, reason: text, window: isWindow }];
    return [...rule(row, false), ...rule(window, true)];
  });
}

/**
 * The SELECTs that part a relation into rows that stay (`good`: exactly its columns) and rows that go (`bad`: `reason`, `check`,
 * `record`, all text; one row each). Rules over single rows come first; rules over several rows (duplicates) then see only what
 * is left, so that no row goes because of a copy that went itself. `check` is the first check that moved the row out.
 */
export function quarantineSelect(relation: Sql, planned: readonly PlannedCheck[]): { good: Sql; bad: Sql } {
  const columns = planned[0]?.context.columns ?? [];
  const names = columns.map((column) => sqlName(column.name)).join(", ");
  const rules = rejectPredicate(planned);
  const single = rules.filter((rule) => !rule.window);
  const across = rules.filter((rule) => rule.window);
  const any = (list: readonly RejectRule[]): Sql =>
    list.length === 0 ? "false" : list.map((rule) => `(${rule.predicate})`).join(" OR ");

  const all = `WITH data AS (SELECT * FROM ${relation})`;
  const kept =
    single.length === 0
      ? `SELECT ${names === "" ? "*" : names} FROM ${relation}`
      : `${all} SELECT ${names} FROM data WHERE NOT (${any(single)})`;
  if (rules.length === 0) {
    return {
      good: kept,
      bad: 'SELECT NULL::VARCHAR AS reason, NULL::VARCHAR AS "check", NULL::VARCHAR AS record WHERE false',
    };
  }
  const record = recordExpression(columns);
  const refused = (list: readonly RejectRule[], condition: (rule: RejectRule, index: number) => Sql): Sql =>
    `concat_ws('; ', ${list.map((rule, index) => `CASE WHEN ${condition(rule, index)} THEN ${rule.reason} END`).join(", ")}) AS reason, ` +
    `CASE ${list.map((rule, index) => `WHEN ${condition(rule, index)} THEN ${sqlString(rule.check)}`).join(" ")} END AS "check", ${record} AS record`;
  const parts: Sql[] = [];
  if (single.length > 0)
    parts.push(`(${all} SELECT ${refused(single, (rule) => rule.predicate)} FROM data WHERE ${any(single)})`);
  if (across.length > 0) {
    // The flags get names that no column has, because the rows keep their own columns beside them.
    const flag = (index: number): Sql => sqlName(unusedName(columns, `rejected${index}`));
    const flags = across.map((rule, index) => `(${rule.predicate}) AS ${flag(index)}`);
    const anyFlag = across.map((_rule, index) => flag(index)).join(" OR ");
    parts.push(
      `(WITH data AS (${kept}) SELECT ${refused(across, (_rule, index) => flag(index))} ` +
        `FROM (SELECT *, ${flags.join(", ")} FROM data) AS data WHERE ${anyFlag})`,
    );
  }
  const bad = `SELECT reason, "check", record FROM (${parts.join(" UNION ALL ")})`;
  const good =
    across.length === 0 ? kept : `WITH data AS (${kept}) SELECT ${names} FROM data QUALIFY NOT (${any(across)})`;
  return { good, bad };
}

/** A FROM item with the rows that no rule over single rows moves out. */
export function rowsThatStay(relation: Sql, planned: readonly PlannedCheck[]): Sql {
  const single = rejectPredicate(planned).filter((rule) => !rule.window);
  if (single.length === 0) return relation;
  return `(SELECT * FROM ${relation} AS data WHERE NOT (${single.map((rule) => `(${rule.predicate})`).join(" OR ")}))`;
}

function unusedName(columns: readonly Column[], wanted: string): string {
  const taken = new Set(columns.map((column) => column.name.toLowerCase()));
  let name = wanted;
  while (taken.has(name.toLowerCase())) name = `_${name}`;
  return name;
}
