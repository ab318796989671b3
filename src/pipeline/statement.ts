import { sqlString } from "../core/index.ts";
import type { Engine } from "../engine/index.ts";

/** A node of the syntax tree that the engine's `json_serialize_sql` gives. */
export interface Node {
  [key: string]: unknown;
}

/** One place at which a statement names a table. */
export interface TableUse {
  /** As it is written there. */
  name: string;
  /** By which columns may be qualified. */
  alias: string;
  /** Which rows are looked at, where the statement says so right there; an expression. */
  where?: Node;
  /** That so many rows are enough, whichever they are. */
  rows?: number;
  /** That nothing is asked but how many rows there are. */
  counted?: true;
}

/** The tables that a SELECT names, at least one use of each, by their names in lower case. */
export type Tables = Map<string, TableUse[]>;

/** What stands in FROM, of which all tables are nodes of their own. */
const plainSources = new Set(["BASE_TABLE", "JOIN", "SUBQUERY", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY"]);

/** Undefined where the tables cannot be told: what is no SELECT, and forms that are not known here. */
export async function tablesOf(engine: Engine, sql: string): Promise<Tables | undefined> {
  const [row] = await engine.query(`SELECT CAST(json_serialize_sql(${sqlString(sql)}) AS VARCHAR) AS tree`);
  const tree = parseTree(String(row!["tree"]));
  if (tree["error"] === true) return undefined;
  const [statement, ...others] = tree["statements"] as Node[];
  if (statement === undefined || others.length > 0) return undefined;
  const reader = new Reader();
  reader.visit(statement);
  if (!reader.isKnown) return undefined;
  // Such a name may mean either.
  for (const name of reader.local) {
    const uses = reader.tables.get(name);
    if (uses !== undefined) reader.tables.set(name, [{ name: uses[0]!.name, alias: uses[0]!.name }]);
  }
  return reader.tables;
}

/** Numbers that a double cannot hold stay text. */
function parseTree(text: string): Node {
  const exact = (_key: string, value: unknown, context: { source?: string }): unknown =>
    typeof value === "number" && !Number.isSafeInteger(value) ? context.source : value;
  return (JSON.parse as (text: string, reviver: typeof exact) => Node)(text, exact);
}

class Reader {
  readonly tables: Tables = new Map();
  /** Names that a WITH of the statement gives to something else. */
  readonly local = new Set<string>();
  isKnown = true;

  visit(value: unknown): void {
    if (Array.isArray(value)) return value.forEach((item) => this.visit(item));
    if (typeof value !== "object" || value === null) return;
    const node = value as Node;
    // Expressions have a class.
    const isSource = node["class"] === undefined && "query_location" in node;
    if (isSource && !plainSources.has(String(node["type"]))) this.isKnown = false;
    if (node["type"] === "BASE_TABLE") this.#add(node, {});
    if (node["type"] === "SELECT_NODE") return this.#select(node);
    if (isNode(node["cte_map"])) this.#with(node["cte_map"]);
    for (const item of Object.values(node)) this.visit(item);
  }

  #select(node: Node): void {
    const from = node["from_table"] as Node;
    this.#with(node["cte_map"] as Node);
    const isPlain = from["type"] === "BASE_TABLE" && [from["sample"], node["sample"]].every((one) => one === null);
    if (isPlain && (from["column_name_alias"] as unknown[]).length === 0 && !isNode(from["at_clause"])) {
      const rows = enoughRows(node);
      this.#add(from, {
        ...(isNode(node["where_clause"]) ? { where: node["where_clause"] } : {}),
        ...(rows === undefined ? {} : { rows }),
        ...(onlyCounts(node) ? { counted: true } : {}),
      });
    } else this.visit(from);
    for (const [key, item] of Object.entries(node)) if (key !== "from_table") this.visit(item);
  }

  #with(map: Node): void {
    for (const { key } of map["map"] as { key: string }[]) this.local.add(key.toLowerCase());
  }

  #add(table: Node, use: Omit<TableUse, "name" | "alias">): void {
    // A table of a schema or of another database is not one of ours.
    if (table["schema_name"] !== "" || table["catalog_name"] !== "") this.isKnown = false;
    const [name, alias] = [table["table_name"] as string, table["alias"] as string];
    const uses = this.tables.get(name.toLowerCase()) ?? [];
    uses.push({ name, alias: alias || name, ...use });
    this.tables.set(name.toLowerCase(), uses);
  }
}

export const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null;

/** No condition and no groups. */
function isUnconditional(node: Node): boolean {
  const absent = ["where_clause", "having", "qualify", "sample"].every((key) => node[key] === null);
  const ungrouped = (node["group_expressions"] as unknown[]).length + (node["group_sets"] as unknown[]).length === 0;
  return absent && ungrouped && node["aggregate_handling"] === "STANDARD_HANDLING";
}

/** `SELECT count(*) FROM t`, also cast. */
function onlyCounts(node: Node): boolean {
  const isCount = (item: Node): boolean =>
    item["type"] === "OPERATOR_CAST"
      ? isCount(item["child"] as Node)
      : item["class"] === "FUNCTION" &&
        item["function_name"] === "count_star" &&
        (item["children"] as unknown[]).length === 0 &&
        item["filter"] === null;
  return (
    isUnconditional(node) &&
    (node["modifiers"] as Node[]).length === 0 &&
    (node["select_list"] as Node[]).every(isCount)
  );
}

/** How many rows of its table a query without any condition asks for, as in `SELECT a, b FROM t LIMIT 10`. */
function enoughRows(node: Node): number | undefined {
  if (!isUnconditional(node)) return undefined;
  const isPlain = (item: Node): boolean =>
    item["class"] === "COLUMN_REF" ||
    (item["class"] === "STAR" && item["expr"] === null && (item["replace_list"] as unknown[]).length === 0);
  if (!(node["select_list"] as Node[]).every(isPlain)) return undefined;
  const [limit, ...others] = node["modifiers"] as Node[];
  if (limit?.["type"] !== "LIMIT_MODIFIER" || others.length > 0) return undefined;
  const [count, offset] = [wholeNumber(limit["limit"]), limit["offset"] === null ? 0 : wholeNumber(limit["offset"])];
  return count === undefined || offset === undefined ? undefined : count + offset;
}

function wholeNumber(value: unknown): number | undefined {
  if (!isNode(value) || value["type"] !== "VALUE_CONSTANT") return undefined;
  const { value: number } = value["value"] as Node;
  return typeof number === "number" && number >= 0 ? number : undefined;
}
