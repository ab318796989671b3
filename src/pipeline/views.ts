import { sqlName, type Column, type Sql } from "../core/index.ts";
import type { DataFile, Dataset, RowFilter, Version } from "../dataset/index.ts";
import type { Engine } from "../engine/index.ts";
import { splitReference, type LakeHandles } from "./lake.ts";
import { rowFilterOf } from "./row-filters.ts";
import { tablesOf, type Tables, type TableUse } from "./statement.ts";

/** Names in a statement that could be datasets: words, and quoted names such as `"orders@7"`. */
function candidates(sql: string): Set<string> {
  const found = new Set<string>();
  for (const match of sql.matchAll(/"((?:[^"]|"")+)"|[A-Za-z_][A-Za-z0-9_]*/g))
    found.add(match[1]?.replaceAll('""', '"') ?? match[0]);
  return found;
}

/** What a dataset shows instead of all its rows as they are. */
export type Reshape = (dataset: string, columns: readonly Column[], relation: Sql) => Sql;

const asIs: Reshape = (_dataset, _columns, relation) => relation;

/** As the statement spells them: tags tell upper from lower case. */
function namesOf(tables: Tables): string[] {
  return [...tables.values()].map(([first]) => first!.name);
}

/** The datasets that a statement may mean (`orders`, `orders@7`, `orders@gold`), by the names that it gives them. */
export async function* datasetsIn(
  lake: LakeHandles,
  names: Iterable<string>,
): AsyncGenerator<{ name: string; dataset: Dataset; version: Version | undefined }> {
  const datasets = new Map((await lake.catalog.list()).map((name) => [name.toLowerCase(), name]));
  for (const reference of names) {
    const { name, version } = splitReference(reference);
    const known = datasets.get(name.toLowerCase());
    if (known === undefined) continue;
    const dataset = await lake.catalog.open(known);
    yield { name: reference, dataset, version: version === undefined ? undefined : dataset.version(version) };
  }
}

/** The names in a statement that may be datasets, as it spells them; those in `taken` are something else there. */
export async function datasetNames(lake: LakeHandles, sql: string, taken: readonly string[]): Promise<string[]> {
  const tables = await tablesOf(await lake.engine(), sql);
  const names = tables === undefined ? candidates(sql) : namesOf(tables);
  return [...names].filter((name) => !taken.includes(splitReference(name).name));
}

/** Makes a view for each dataset that the statement may mean, with all its files, where its tables cannot be told. */
async function viewsFor(lake: LakeHandles, sql: string, reshape: Reshape = asIs): Promise<void> {
  const engine = await lake.engine();
  for await (const { name, dataset, version } of datasetsIn(lake, await datasetNames(lake, sql, []))) {
    const relation = reshape(dataset.name, dataset.columns(version), await dataset.relation(version));
    await engine.run(`CREATE OR REPLACE VIEW ${sqlName(name)} AS SELECT * FROM ${relation}`);
  }
}

/**
 * A SELECT of the first `enough` rows of a statement, with the datasets that it names: those files of them that it has to look at,
 * where it says so plainly. Nothing of it stays in the engine, so that two statements at once do not meet.
 */
export async function withDatasets(lake: LakeHandles, statement: Sql, enough: number, reshape?: Reshape): Promise<Sql> {
  const engine = await lake.engine();
  const limited = `SELECT * FROM (${statement}) LIMIT ${enough}`;
  const tables = await tablesOf(engine, statement);
  if (tables === undefined) {
    await viewsFor(lake, statement, reshape);
    return limited;
  }
  const relations: string[] = [];
  for await (const { name, dataset, version } of datasetsIn(lake, namesOf(tables))) {
    const uses = tables.get(name.toLowerCase())!;
    const relation =
      reshape === undefined
        ? ((await countedRows(dataset, version, uses)) ??
          (await dataset.relation(version, await neededFiles(engine, dataset, version, uses))))
        : reshape(dataset.name, dataset.columns(version), await dataset.relation(version));
    relations.push(`${sqlName(name)} AS NOT MATERIALIZED (SELECT * FROM ${relation})`);
  }
  return relations.length === 0 ? limited : `WITH ${relations.join(", ")} ${limited}`;
}

/** As many rows as there are, of no columns, where a statement wants nothing but to count them: the manifests know. */
async function countedRows(
  dataset: Dataset,
  version: Version | undefined,
  uses: readonly TableUse[],
): Promise<Sql | undefined> {
  if (!uses.every(({ counted }) => counted)) return undefined;
  const rows = (await dataset.files(version)).reduce((sum, file) => sum + file.rows, 0);
  return `range(${rows})`;
}

/** The files that hold all rows that the uses want. */
async function neededFiles(
  engine: Engine,
  dataset: Dataset,
  version: Version | undefined,
  uses: readonly TableUse[],
): Promise<DataFile[]> {
  const all = await dataset.files(version);
  const columns = dataset.columns(version);
  const needed = new Set<string>();
  for (const use of uses) {
    let filter: RowFilter | undefined;
    if (use.where !== undefined) filter = await rowFilterOf(engine, use.where, columns, use.alias);
    const some = filter === undefined ? all : await dataset.files(version, filter);
    for (const { path } of use.rows === undefined ? some : enoughFiles(some, use.rows)) needed.add(path);
    if (needed.size === all.length) break;
  }
  return all.filter(({ path }) => needed.has(path));
}

/** As many files as hold so many rows: those of a store that is elsewhere have to be fetched. */
export function enoughFiles(files: readonly DataFile[], rows: number): DataFile[] {
  let held = 0;
  return files.filter((file) => {
    if (held >= rows) return false;
    held += file.rows;
    return true;
  });
}
