import { MillraceError, sqlName, sqlString, type Column, type Sql } from "../core/index.ts";
import { typeSql, type Engine } from "../engine/index.ts";

/*
 * The join of one dataset of features, so that memory stays bounded whatever the data (each step spills):
 *
 *   1. only key, time and place of each row take part in the comparison of times; values never do
 *   2. of rows with one key and moment all but one are set aside (`losers`)
 *   3. with `known_at` a row counts from v = max(at, known_at) on, and only where no row with a later `at` counted before it.
 *      The rows left grow in `at` as they grow in v, so the newest v not after the entity is the newest `at` that was known
 *   4. one as-of join gives each entity the place of its feature; one join by place brings the values, one more the entities
 *
 * Every step is a file in `folder`, because the steps of one statement would share its memory.
 */

/** One side of the join: a FROM item over Parquet files, or undefined when it has no rows. */
export interface JoinSide {
  relation: Sql | undefined;
  columns: readonly Column[];
}

export interface FeatureSide extends JoinSide {
  /** Pairs of columns that must be equal: of the entities, of the features. */
  key: readonly (readonly [entity: string, feature: string])[];
  at: string;
  knownAt?: string;
  tie?: string;
  ttlSeconds?: number;
  /** Columns to take and the names they get. */
  taken: readonly { column: Column; as: string }[];
}

/** A number that tells rows of the FROM item apart, the same in every scan of it. */
const place = "((file_index::BIGINT << 40) + file_row_number)";

/** Files between steps are read once or twice and then removed. */
export const stepFormat = "FORMAT parquet, COMPRESSION lz4, ROW_GROUP_SIZE_BYTES '16MB'";

const fileRelation = (path: string): Sql => `read_parquet([${sqlString(path)}])`;

/**
 * Writes the entities with the values of one dataset of features beside them; each entity gives exactly one row.
 * `newFile` names a file that does not exist yet and that the caller removes. Returns the file.
 */
export async function joinFeature(
  engine: Pick<Engine, "export">,
  entities: JoinSide & { at: string },
  feature: FeatureSide,
  newFile: () => string,
  signal?: AbortSignal,
): Promise<{ file: string; rows: number }> {
  const write = async (select: Sql): Promise<{ file: string; rows: number }> => {
    const file = newFile();
    return { file, rows: await engine.export(select, file, stepFormat, signal) };
  };
  if (entities.relation === undefined) throw new MillraceError("internal", "there are no entities to join");
  const kept = entities.columns.map(({ name }) => sqlName(name));
  if (feature.relation === undefined) {
    const nulls = feature.taken.map(({ as, column }) => `NULL::${typeSql(column.type)} AS ${sqlName(as)}`);
    return write(`SELECT ${[...kept, ...nulls].join(", ")} FROM ${entities.relation}`);
  }
  const counting = await countingSelect(write, feature);
  const matches = await write(matchSelect(entities, feature, counting));
  const values = feature.taken.map(({ column }, index) => `${sqlName(column.name)} AS f${index}`);
  const found = await write(
    `SELECT entity, f.* EXCLUDE (r) FROM ${fileRelation(matches.file)} AS m ` +
      `JOIN (SELECT ${values.join(", ")}, ${place} AS r FROM ${feature.relation}) AS f ON m.feature = f.r`,
  );
  const output = [
    ...kept.map((name, index) => `e${index} AS ${name}`),
    ...feature.taken.map(({ as }, index) => `f${index} AS ${sqlName(as)}`),
  ];
  return write(
    `SELECT ${output.join(", ")} FROM (SELECT ${kept.map((name, index) => `${name} AS e${index}`).join(", ")}, ${place} AS r ` +
      `FROM ${entities.relation}) AS e LEFT JOIN ${fileRelation(found.file)} AS f ON e.r = f.entity`,
  );
}

/** The feature rows that can be the answer for some entity: `r`, `k0` …, `v` the moment from which they count, `moment`. */
async function countingSelect(
  write: (select: Sql) => Promise<{ file: string; rows: number }>,
  feature: FeatureSide,
): Promise<Sql> {
  const keys = feature.key.map((_, index) => `k${index}`);
  const groups = [...keys, "v"].join(", ");
  let rows = rowsSelect(feature, []);
  const tied = await write(`SELECT ${groups} FROM (${rows}) GROUP BY ${groups} HAVING count(*) > 1`);
  if (tied.rows > 0) {
    const content = feature.taken.map(({ column }, index) => `c${index} := ${sqlName(column.name)}`);
    // What is taken decides last, so rows that still tie are the same to the reader.
    const order = [
      "moment DESC",
      ...(feature.knownAt === undefined ? [] : ["known DESC"]),
      ...(feature.tie === undefined ? [] : ["tie DESC NULLS LAST"]),
      "content DESC",
    ];
    const losers = await write(
      `SELECT r FROM (${rowsSelect(feature, [
        ...(feature.tie === undefined ? [] : [`${sqlName(feature.tie)} AS tie`]),
        `md5(struct_pack(${content.join(", ")})::VARCHAR) AS content`,
      ])}) SEMI JOIN ${fileRelation(tied.file)} USING (${groups}) ` +
        `QUALIFY row_number() OVER (PARTITION BY ${groups} ORDER BY ${order.join(", ")}) > 1`,
    );
    rows = `SELECT * FROM (${rows}) ANTI JOIN ${fileRelation(losers.file)} USING (r)`;
  }
  if (feature.knownAt === undefined) return rows;
  const partition = keys.length === 0 ? "" : `PARTITION BY ${keys.join(", ")} `;
  const newest = (
    await write(
      `SELECT * EXCLUDE (best) FROM (SELECT *, max(moment) OVER (${partition}ORDER BY v ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS best ` +
        `FROM (${rows})) WHERE best IS NULL OR moment >= best`,
    )
  ).file;
  return `SELECT * FROM ${fileRelation(newest)}`;
}

/** Rows without key, moment or moment of knowledge never count. */
function rowsSelect(feature: FeatureSide, more: readonly Sql[]): Sql {
  const at = sqlName(feature.at);
  const known = feature.knownAt === undefined ? undefined : sqlName(feature.knownAt);
  const keys = feature.key.map(([, name], index) => `${sqlName(name)} AS k${index}`);
  const moments = known === undefined ? [`${at} AS v`] : [`greatest(${at}, ${known}) AS v`, `${known} AS known`];
  const present = [at, ...(known === undefined ? [] : [known]), ...feature.key.map(([, name]) => sqlName(name))];
  return (
    `SELECT ${[`${place} AS r`, ...keys, ...moments, `${at} AS moment`, ...more].join(", ")} ` +
    `FROM ${feature.relation} WHERE ${present.map((name) => `${name} IS NOT NULL`).join(" AND ")}`
  );
}

/** Places of entities beside those of their features. */
function matchSelect(entities: JoinSide & { at: string }, feature: FeatureSide, counting: Sql): Sql {
  const at = sqlName(entities.at);
  const keys = feature.key.map(([name], index) => `${sqlName(name)} AS k${index}`);
  const equal = feature.key.map((_, index) => `e.k${index} = f.k${index}`);
  const fresh =
    feature.ttlSeconds === undefined
      ? ""
      : ` WHERE epoch_us(e.t) - epoch_us(f.moment) <= ${Math.round(feature.ttlSeconds * 1e6)}`;
  return (
    `SELECT e.r AS entity, f.r AS feature FROM ` +
    `(SELECT ${[`${place} AS r`, ...keys, `${at} AS t`].join(", ")} FROM ${entities.relation} WHERE ${at} IS NOT NULL) AS e ` +
    `ASOF JOIN (${counting}) AS f ON ${[...equal, "e.t >= f.v"].join(" AND ")}${fresh}`
  );
}
