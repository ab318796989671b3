import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isMillraceError } from "../../src/core/index.ts";
import { openTable } from "../../src/dataset/index.ts";
import * as fileSystem from "../../src/stores/fs/driver.ts";
import { query } from "../dataset/helpers.ts";

const corpus = join(import.meta.dirname, "../../../shared/corpora/iceberg");

/** Rows of the newest version, or the code of the error that says why not. */
const tables: [folder: string, expected: number | string][] = [
  ["duckdb-iceberg/add_columns_with_defaults_in_struct/default.db/add_columns_with_defaults_in_struct", 2],
  ["duckdb-iceberg/column_mapping/warehouse/default.db/my_table", "unsupported"],
  ["duckdb-iceberg/equality_delete_extra_column/warehouse/ns/t", "unsupported"],
  ["duckdb-iceberg/equality_deletes/warehouse/mydb/mytable", "unsupported"],
  ["duckdb-iceberg/equality_deletes/warehouse/mydb/mytable_partitioned", "unsupported"],
  ["duckdb-iceberg/expression_filter", 3],
  ["duckdb-iceberg/iceberg_v1_deprecated/default/legacy_v1", "unsupported"],
  ["duckdb-iceberg/iceberg_v1_repro/repro/merch_v1", "unsupported"],
  ["duckdb-iceberg/is_null_is_not_null", 8],
  ["duckdb-iceberg/map_stats/default.db/map_stats", 2],
  ["duckdb-iceberg/name_mapping/warehouse_1/mydb/t1", "unsupported"],
  ["duckdb-iceberg/null_stats/default/test_nulls", 9],
  ["duckdb-iceberg/timestamptz_ns", "unsupported"],
  ["duckdb-iceberg/uuid", 10],
  ["icebird/java/bunnies", "unsupported"],
  ["icebird/spark/rename_column", 4],
];

test.skipIf(!existsSync(corpus)).each(tables)("%s gives %s", async (folder, expected) => {
  const store = await fileSystem.open({ path: corpus }, { connection: "corpus", folder: corpus });
  const outcome = async (): Promise<number | string> => {
    try {
      const table = await openTable(store, folder, folder.split("/").at(-1)!);
      const [row] = await query(`SELECT count(*) AS n, count(COLUMNS(*)) FROM ${await table.relation()}`);
      return Number(row!["n"]);
    } catch (error) {
      if (isMillraceError(error)) return `${error.code}`;
      return `${String(error)}`;
    }
  };
  expect(await outcome()).toBe(expected);
});
