import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { MillraceError, sqlName, sqlString, suggestion, type SourceContext } from "../../core/index.ts";
import type { FilesOptions } from "./index.ts";

/** More do not fit into the position of a flow. */
const maximumUrls = 1_000_000;

/**
 * The addresses in a column of a local table, each once, in order: CSV, TSV, NDJSON, JSON or Parquet. Throws `config` when there is no such
 * table or column.
 */
export async function addressesIn(
  { path, column }: NonNullable<FilesOptions["urls"]>,
  { engine, folder, connection }: SourceContext,
): Promise<string[]> {
  const where = { connection, file: path };
  const file = resolve(folder, path);
  if (!existsSync(file)) throw new MillraceError("config", `the list of URLs \`${path}\` does not exist`, { where });
  const relation = relationOf(file);
  if (relation === undefined) {
    throw new MillraceError("config", `\`${path}\` is no table that a list of URLs can be read from`, {
      where,
      hint: "write it as .csv, .tsv, .ndjson, .json or .parquet",
    });
  }
  const columns = (await engine.describe(relation)).map(({ name }) => name);
  if (!columns.includes(column)) {
    throw new MillraceError("config", `\`${path}\` has no column \`${column}\``, {
      where,
      hint: suggestion(column, columns),
    });
  }
  const url = `trim(CAST(${sqlName(column)} AS VARCHAR))`;
  const rows = await engine.query(
    `SELECT DISTINCT ${url} AS url FROM ${relation} WHERE ${url} <> '' ORDER BY 1 LIMIT ${maximumUrls + 1}`,
  );
  if (rows.length > maximumUrls) {
    throw new MillraceError("limit", `\`${path}\` has more than ${maximumUrls.toLocaleString("en")} URLs`, {
      where,
      hint: "split it into several lists, each with a flow `into` the same dataset",
    });
  }
  return rows.map((row) => row["url"] as string);
}

function relationOf(file: string): string | undefined {
  const [, ending = ""] = /\.(\w+)(?:\.(?:gz|zst))?$/.exec(file.toLowerCase()) ?? [];
  const literal = sqlString(file);
  if (ending === "parquet") return `read_parquet(${literal})`;
  if (ending === "csv" || ending === "tsv") return `read_csv(${literal}, all_varchar = true)`;
  return ["ndjson", "jsonl", "json"].includes(ending) ? `read_json(${literal})` : undefined;
}
