import type { Relation } from "./relations.ts";
import type { Session } from "./session.ts";

/** Pages of a table; `to` is not among them, and without it the range has no end. */
export interface PageRange {
  schema: string;
  table: string;
  from: number;
  to: number | null;
}

/** A table that is stored in pages, or a partition of one. */
interface Heap {
  schema: string;
  table: string;
  pages: number;
  bytes: number;
  rows: number;
}

export interface RangeGroup {
  ranges: PageRange[];
  bytes: number;
  rows: number | undefined;
}

/** Reading by page begins at the page only since this version; before, each part would scan the whole table. */
const tidRangeScanVersion = 140_000;

/**
 * Page ranges of about `partBytes` that together are the whole relation; undefined where it cannot be divided by pages.
 * Sizes are those of now and not of the snapshot, so the last range of every table is open.
 */
export async function pageGroups(
  session: Session,
  relation: Relation,
  partBytes: number,
): Promise<RangeGroup[] | undefined> {
  const [server] = await session.query(
    "SELECT current_setting('server_version_num') AS version, current_setting('block_size') AS block",
  );
  if (Number(server!.version) < tidRangeScanVersion) return undefined;
  const heaps = await heapsOf(session, relation, Number(server!.block));
  return heaps === undefined ? undefined : groupPages(heaps, partBytes, Number(server!.block));
}

/** The heaps that hold the relation's rows; undefined when something else holds some of them. */
async function heapsOf(session: Session, relation: Relation, block: number): Promise<Heap[] | undefined> {
  if (relation.kind !== "table" && relation.kind !== "partitioned" && relation.kind !== "materialized-view")
    return undefined;
  const tree =
    relation.kind === "partitioned"
      ? "SELECT relid FROM pg_partition_tree($1) WHERE isleaf"
      : "SELECT $1::oid AS relid";
  const rows = await session.query(
    `SELECT n.nspname AS schema, c.relname AS table, coalesce(m.amname = 'heap', false) AS heap,
            coalesce(pg_relation_size(c.oid), 0) AS bytes, c.reltuples AS rows,
            has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') AS readable
     FROM (${tree}) AS leaf JOIN pg_catalog.pg_class AS c ON c.oid = leaf.relid
     JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
     ORDER BY 1, 2`,
    [relation.oid],
  );
  if (rows.some((row) => row.heap !== "t")) return undefined;
  const leaves = rows.map((row): Heap => {
    const bytes = Number(row.bytes);
    return { schema: row.schema!, table: row.table!, bytes, pages: Math.ceil(bytes / block), rows: Number(row.rows) };
  });
  if (relation.kind !== "partitioned") return leaves;
  const [security] = await session.query("SELECT row_security_active($1::oid) AS active", [relation.oid]);
  if (security!.active !== "t" && rows.every((row) => row.readable === "t")) return leaves;
  // Only the partitioned table itself may be read. The same pages of all partitions make one range of it.
  const total = (field: "bytes" | "rows"): number => leaves.reduce((sum, leaf) => sum + Math.max(leaf[field], 0), 0);
  const pages = Math.max(0, ...leaves.map((leaf) => leaf.pages));
  return [{ schema: relation.schema, table: relation.name, pages, bytes: total("bytes"), rows: total("rows") }];
}

/** Cuts large heaps and joins small ones. */
function groupPages(heaps: readonly Heap[], partBytes: number, block: number): RangeGroup[] {
  const groups: RangeGroup[] = [];
  let open: RangeGroup = { ranges: [], bytes: 0, rows: 0 };
  const close = (): void => {
    if (open.ranges.length > 0) groups.push(open);
    open = { ranges: [], bytes: 0, rows: 0 };
  };
  for (const { schema, table, pages, bytes, rows } of heaps) {
    // Of a table read through its partitions, one page of a range is a page of each of them.
    const pageBytes = pages === 0 ? block : bytes / pages;
    const step = Math.max(1, Math.floor(partBytes / pageBytes));
    for (let from = 0; from === 0 || from < pages; from += step) {
      const isLast = from + step >= pages;
      const share = Math.min(step, pages - from) * pageBytes;
      if (open.bytes + share > partBytes) close();
      open.ranges.push({ schema, table, from, to: isLast ? null : from + step });
      open.bytes += share;
      open.rows =
        rows < 0 || open.rows === undefined ? undefined : open.rows + Math.round((rows * share) / Math.max(bytes, 1));
    }
  }
  close();
  return groups;
}
