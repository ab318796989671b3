import { sqlString } from "../core/index.ts";
import type { Engine } from "../engine/index.ts";
import type { Node } from "./statement.ts";

/** Written without parentheses, where no column has the name. */
const words = ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"];

/** An error is one each time. */
const steady = ["error"];

/**
 * What in a transform gives another value when it is asked again, such as `random()`, `now()`, `current_date` or `age(born)`; undefined when
 * there is nothing of the kind. `columns` are the names of its input's columns.
 */
export async function volatileIn(
  engine: Engine,
  transform: string,
  columns: readonly string[],
): Promise<string | undefined> {
  const [row] = await engine.query(`SELECT json_serialize_sql(${sqlString(transform)})::VARCHAR AS tree`);
  const functions = await engine.query(
    "SELECT DISTINCT function_name AS name FROM duckdb_functions() WHERE stability <> 'CONSISTENT' OR macro_definition ILIKE '%current\\_timestamp%' ESCAPE '\\'",
  );
  const names = new Set(functions.map(({ name }) => String(name).toLowerCase()));
  for (const name of steady) names.delete(name);
  const taken = new Set(columns.map((name) => name.toLowerCase()));
  const find = (value: unknown): string | undefined => {
    if (Array.isArray(value)) {
      for (const item of value) {
        const found = find(item);
        if (found !== undefined) return found;
      }
      return undefined;
    }
    if (typeof value !== "object" || value === null) return undefined;
    const node = value as Node;
    if (node["class"] === "FUNCTION") {
      const name = String(node["function_name"]).toLowerCase();
      // With one argument it is the age today.
      if (names.has(name) || (name === "age" && (node["children"] as Node[]).length === 1)) return `${name}()`;
    }
    if (node["class"] === "COLUMN_REF") {
      const [name, ...others] = (node["column_names"] as string[]).map((each) => each.toLowerCase());
      if (others.length === 0 && words.includes(name!) && !taken.has(name!)) return name;
    }
    return find(Object.values(node));
  };
  return find(JSON.parse(String(row!["tree"])));
}
