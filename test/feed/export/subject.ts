import { join } from "node:path";
import { makePlace, published, type Place } from "../../pipeline/place.ts";
import type { Lake } from "../../../src/pipeline/index.ts";

/** Values that formats are known to lose: extremes, nulls, empty ones, nesting, bytes, other scripts than Latin. */
export const everyType = (rows: number): string => `
  SELECT i::BIGINT AS id,
    CASE i WHEN 1 THEN 9223372036854775807 WHEN 2 THEN -9223372036854775808 WHEN 3 THEN NULL ELSE i * 1234567891 - 100 END::BIGINT AS long,
    (i * 31 - 5000)::INTEGER AS n,
    CASE WHEN i % 5 = 0 THEN NULL ELSE i % 2 = 0 END AS b,
    (i / 8.0)::FLOAT AS f,
    CASE WHEN i % 7 = 0 THEN NULL WHEN i % 7 = 1 THEN 'nan'::DOUBLE WHEN i % 7 = 2 THEN '-infinity'::DOUBLE ELSE i / 7 END AS d,
    CASE WHEN i % 9 = 0 THEN NULL ELSE i * 1.01 - 2000 END::DECIMAL(18,4) AS dec,
    (i * 12345678901234567890)::DECIMAL(38,2) AS wide,
    CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'a "quoted", line' || chr(10) || 'ö 😀 ' || i ELSE chr(65279) || 'plain' END AS s,
    CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN ''::BLOB ELSE ('\\x00\\xFF' || repeat('x', (i % 40)::INTEGER))::BLOB END AS raw,
    TIMESTAMP '1969-01-01 00:00:00.000001' + INTERVAL (i) HOUR AS ts,
    TIMESTAMPTZ '2024-01-01 00:00:00+02' + INTERVAL (i) MINUTE AS zone,
    DATE '2024-02-28' - i::INTEGER AS day,
    TIME '00:00:00.000001' + INTERVAL (i) SECOND AS tm,
    md5(i::VARCHAR)::UUID AS u,
    [i / 2, i / 3, 0.1]::FLOAT[] AS vec,
    CASE WHEN i % 6 = 0 THEN NULL WHEN i % 6 = 1 THEN [] ELSE [i, -i] END::BIGINT[] AS ints,
    CASE WHEN i % 4 = 1 THEN [1, NULL] ELSE [i] END::INTEGER[] AS gaps,
    ['a' || i, 'ü'] AS tags,
    CASE WHEN i % 9 = 0 THEN NULL ELSE {lat: i / 3.0::DOUBLE, price: (i * 1.5)::DECIMAL(9,2), raw: 'x'::BLOB, deep: [{k: i}]} END AS place,
    MAP {'k' || i: i::INTEGER} AS attrs,
    [i / 2]::DOUBLE[] AS dbl
  FROM range(${rows}) t(i)`;

export interface Subject extends AsyncDisposable {
  place: Place;
  lake: Lake;
  /** The Parquet file that the data set `t` was made of. */
  source: string;
  /** A path below the folder of the test. */
  at(name: string): string;
  /** The ids as they lie in the one data file. */
  stored(): Promise<number[]>;
}

export async function makeSubject(rows: number): Promise<Subject> {
  const place = await makePlace();
  const source = join(place.folder, "t.parquet");
  {
    await using engine = await place.engine();
    await engine.export(everyType(rows), source, "FORMAT parquet");
  }
  const split = { train: 0.8, test: 0.2, key: "id", seed: 3 };
  const lake = await place.open({ t: { from: { path: "t.parquet" }, split } });
  await published(lake.run("t"));
  return {
    place,
    lake,
    source,
    at: (name) => join(place.folder, name),
    async stored() {
      const [file, ...others] = await place.dataFiles("t");
      if (others.length > 0) throw new Error("the order of several files is not known");
      await using engine = await place.engine();
      const path = join(place.folder, "lake/t/data", file!);
      const rows = await engine.query(
        `SELECT id FROM read_parquet('${path}', file_row_number = true) ORDER BY file_row_number`,
      );
      return rows.map(({ id }) => Number(id));
    },
    async [Symbol.asyncDispose]() {
      await lake[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}
