import { sqlString } from "../core/index.ts";
import type { Engine } from "../engine/index.ts";
import type { Node } from "./statement.ts";

/**
 * True when a transform makes its rows out of one input row each, so that the parts of a run can go through it one by one.
 * What it cannot tell, and what counts, sorts out or compares rows, is false: it needs all rows of the run at once.
 */
export async function isRowLocal(engine: Engine, transform: string): Promise<boolean> {
  const [row] = await engine.query(`SELECT json_serialize_sql(${sqlString(transform)})::VARCHAR AS tree`);
  const tree = JSON.parse(String(row!["tree"])) as { error: boolean; statements?: { node: Node }[] };
  const statement = tree.statements?.[0]?.node;
  if (tree.error || statement === undefined || tree.statements!.length !== 1) return false;
  const reader = new Reader(await aggregates(engine));
  return reader.uses(statement) === 1 && reader.query(statement);
}

/** Names of functions that take in several rows, macros over such functions included. */
async function aggregates(engine: Engine): Promise<Set<string>> {
  const functions = await engine.query(
    "SELECT DISTINCT function_name AS name, function_type AS type, macro_definition AS definition FROM duckdb_functions() WHERE function_type IN ('aggregate', 'macro')",
  );
  const names = new Set(
    functions.filter((each) => each["type"] === "aggregate").map((each) => String(each["name"]).toLowerCase()),
  );
  const macros = functions
    .filter((each) => each["type"] === "macro")
    .map((each) => ({
      name: String(each["name"]).toLowerCase(),
      calls: new Set(
        String(each["definition"])
          .toLowerCase()
          .match(/[a-z_0-9]+(?=\()/g),
      ),
    }));
  // Macros call macros.
  for (let before = -1; before !== names.size;) {
    before = names.size;
    for (const { name, calls } of macros) if (!calls.isDisjointFrom(names)) names.add(name);
  }
  return names;
}

class Reader {
  readonly #aggregates: ReadonlySet<string>;
  /** Tables that hold rows of the input: itself, and the WITH queries over it. */
  readonly #derived = new Set(["input"]);

  constructor(names: ReadonlySet<string>) {
    this.#aggregates = names;
  }

  /** How often the input is named anywhere below. */
  uses(value: unknown): number {
    if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + this.uses(item), 0);
    if (typeof value !== "object" || value === null) return 0;
    const node = value as Node;
    const own = node["type"] === "BASE_TABLE" && this.#derived.has(String(node["table_name"]).toLowerCase()) ? 1 : 0;
    return Object.values(node).reduce((sum: number, item) => sum + this.uses(item), own);
  }

  query(node: Node): boolean {
    if (node["type"] !== "SELECT_NODE" || node["aggregate_handling"] !== "STANDARD_HANDLING") return false;
    if (isFilled(node["group_expressions"]) || isFilled(node["group_sets"])) return false;
    if (isFilled(node["having"]) || isFilled(node["qualify"]) || isFilled(node["sample"])) return false;
    if (!(node["modifiers"] as Node[]).every((modifier) => modifier["type"] === "ORDER_MODIFIER")) return false;
    for (const { key, value } of (node["cte_map"] as { map: { key: string; value: { query: { node: Node } } }[] })
      .map) {
      if (key.toLowerCase() === "input") return false;
      if (this.uses(value) === 0) continue;
      if (!this.query(value.query.node)) return false;
      this.#derived.add(key.toLowerCase());
    }
    return (
      this.#from(node["from_table"] as Node) &&
      this.#expression(node["select_list"]) &&
      this.#expression(node["where_clause"])
    );
  }

  #from(node: Node): boolean {
    if (this.uses(node) === 0) return true;
    if (isFilled(node["sample"])) return false;
    switch (node["type"]) {
      case "BASE_TABLE":
        return true;
      case "SUBQUERY":
        return this.query((node["subquery"] as { node: Node }).node);
      case "JOIN": {
        const [left, right] = [node["left"] as Node, node["right"] as Node];
        if (!["REGULAR", "CROSS", "NATURAL"].includes(String(node["ref_type"]))) return false;
        const join = String(node["join_type"]);
        const isLeft = this.uses(right) === 0 && ["INNER", "LEFT", "SEMI", "ANTI"].includes(join);
        const isRight = this.uses(left) === 0 && ["INNER", "RIGHT"].includes(join);
        return (isLeft || isRight) && this.#from(isLeft ? left : right) && this.#expression(node["condition"]);
      }
      default:
        return false;
    }
  }

  #expression(value: unknown): boolean {
    if (Array.isArray(value)) return value.every((item) => this.#expression(item));
    if (typeof value !== "object" || value === null) return true;
    const node = value as Node;
    if (node["class"] === "WINDOW") return false;
    // A query over other tables gives every part the same.
    if (node["class"] === "SUBQUERY") return this.uses(node["subquery"]) === 0 && this.#expression(node["child"]);
    if (node["class"] === "FUNCTION" && this.#aggregates.has(String(node["function_name"]).toLowerCase())) return false;
    return Object.values(node).every((item) => this.#expression(item));
  }
}

const isFilled = (value: unknown): boolean => (Array.isArray(value) ? value.length > 0 : value !== null);
