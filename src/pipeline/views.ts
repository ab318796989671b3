import { sqlName, type Column, type Sql } from "../core/index.ts";
import { splitReference, type LakeHandles } from "./lake.ts";

/** Names in a statement that could be datasets: words, and quoted names such as `"orders@7"`. */
function candidates(sql: string): Set<string> {
  const found = new Set<string>();
  for (const match of sql.matchAll(/"((?:[^"]|"")+)"|[A-Za-z_][A-Za-z0-9_]*/g))
    found.add(match[1]?.replaceAll('""', '"') ?? match[0]);
  return found;
}

/** What a view of a dataset shows instead of all its rows as they are. */
export type Reshape = (dataset: string, columns: readonly Column[], relation: Sql) => Sql;

/**
 * Makes a view for each dataset (`orders`, `"orders@7"`, `"orders@gold"`) that the statement may mean.
 * Names in `taken` are not datasets there.
 */
export async function viewsFor(
  lake: LakeHandles,
  sql: string,
  taken: readonly string[] = [],
  reshape: Reshape = (_dataset, _columns, relation) => relation,
): Promise<void> {
  const engine = await lake.engine();
  const datasets = new Map((await lake.catalog.list()).map((name) => [name.toLowerCase(), name]));
  for (const reference of candidates(sql)) {
    const { name, version } = splitReference(reference);
    const known = datasets.get(name.toLowerCase());
    if (known === undefined || taken.includes(name)) continue;
    const dataset = await lake.catalog.open(known);
    const chosen = version === undefined ? undefined : dataset.version(version);
    const relation = reshape(dataset.name, dataset.columns(chosen), await dataset.relation(chosen));
    await engine.run(`CREATE OR REPLACE VIEW ${sqlName(reference)} AS SELECT * FROM ${relation}`);
  }
}
