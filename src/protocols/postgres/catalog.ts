import type { Session } from "./session.ts";

/** A type as `pg_type` has it. */
export interface PgType {
  oid: number;
  name: string;
  /** False for types of extensions and users. */
  builtIn: boolean;
  kind: "base" | "composite" | "domain" | "enum" | "pseudo" | "range" | "multirange" | "array";
  /** Of arrays. */
  element: number;
  /** Of domains. */
  base: number;
  baseModifier: number;
  baseDimensions: number;
  /** Of composites. */
  fields: { name: string; type: number; modifier: number; dimensions: number }[];
}

export interface TypeCatalog {
  get(oid: number): PgType | undefined;
  /** Digits after the point of `money` in this database. */
  moneyScale: number;
}

const kinds: Record<string, PgType["kind"]> = {
  b: "base",
  c: "composite",
  d: "domain",
  e: "enum",
  p: "pseudo",
  r: "range",
  m: "multirange",
};

/** The given types and everything they are made of, in one statement. */
export async function loadTypes(session: Session, oids: readonly number[]): Promise<TypeCatalog> {
  const rows = await session.query(
    `WITH RECURSIVE needed(oid) AS (
       SELECT unnest($1::oid[])
       UNION
       SELECT part FROM needed
       JOIN pg_catalog.pg_type AS t ON t.oid = needed.oid
       LEFT JOIN pg_catalog.pg_attribute AS a
         ON t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
       CROSS JOIN LATERAL unnest(ARRAY[t.typelem, t.typbasetype, a.atttypid]) AS part
       WHERE part <> 0
     )
     SELECT t.oid, t.typname AS name, t.typtype AS kind, t.typcategory = 'A' AND t.typelem <> 0 AS array,
            n.nspname = 'pg_catalog' AS built_in, t.typelem AS element,
            t.typbasetype AS base, t.typtypmod AS base_modifier, t.typndims AS base_dimensions,
            (SELECT json_agg(json_build_object('name', a.attname, 'type', a.atttypid::bigint,
                                               'modifier', a.atttypmod, 'dimensions', a.attndims) ORDER BY a.attnum)
             FROM pg_catalog.pg_attribute AS a
             WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS fields
     FROM needed JOIN pg_catalog.pg_type AS t ON t.oid = needed.oid
     JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace`,
    [oids],
  );
  const types = new Map<number, PgType>();
  for (const row of rows) {
    const type: PgType = {
      oid: Number(row.oid),
      name: row.name!,
      builtIn: row.built_in === "t",
      kind: row.array === "t" ? "array" : (kinds[row.kind!] ?? "base"),
      element: Number(row.element),
      base: Number(row.base),
      baseModifier: Number(row.base_modifier),
      baseDimensions: Number(row.base_dimensions),
      fields: row.fields === null || row.fields === undefined ? [] : (JSON.parse(row.fields) as PgType["fields"]),
    };
    types.set(type.oid, type);
  }
  const hasMoney = rows.some((row) => row.name === "money" && row.built_in === "t");
  const scale = hasMoney ? await session.query("SELECT scale('0'::money::numeric) AS scale") : [];
  return { get: (oid) => types.get(oid), moneyScale: Number(scale[0]?.scale ?? 2) };
}
