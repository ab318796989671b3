import type * as z from "zod";
import {
  isMillraceError,
  MillraceError,
  sqlName,
  type Column,
  type EngineView,
  type FileRef,
  type Format,
  type Inferred,
  type Sql,
} from "../../core/index.ts";
import { sameName, selectList, sqlArguments, sqlPaths, unreadable } from "../sql.ts";
import type { parquetOptions } from "./index.ts";

/** Types of the engine that no dataset column can have; their text keeps all they say. */
const foreign = /\b(VARIANT|INTERVAL|GEOMETRY|UNION|BIT|BIGNUM|ENUM)\b/;

export function open(options: z.output<typeof parquetOptions>): Format {
  const read = (files: readonly FileRef[], more: Record<string, boolean> = {}): Sql =>
    `read_parquet(${sqlPaths(files)}${sqlArguments({ binary_as_string: options.binary_as_string, hive_partitioning: false, ...more })})`;
  const variantText = (name: string): Sql => `CAST(CAST(${sqlName(name)} AS JSON) AS VARCHAR)`;
  const asText = (name: string): Sql => `CAST(${sqlName(name)} AS VARCHAR)`;

  return {
    copy: "FORMAT parquet, COMPRESSION zstd",
    native: {
      scan(files, columns) {
        if (columns === undefined) return read(files, { union_by_name: true });
        const inFile = (column: Column): string | undefined =>
          options.names === undefined ? column.name : options.names.find((name) => sameName(name, column.name));
        const list = selectList(columns, (column) => {
          const name = inFile(column);
          if (name === undefined) return undefined;
          if (options.variants?.includes(name)) return variantText(name);
          if (options.text?.includes(name)) return asText(name);
          // Not cast here: only the file's own type tells what a cast would lose.
          return sqlName(name);
        });
        return `(SELECT ${list} FROM ${read(files, { union_by_name: true })})`;
      },
      async infer(file, engine): Promise<Inferred> {
        try {
          return await inferParquet(file, engine);
        } catch (error) {
          if (isMillraceError(error) && error.where.file === file.name) throw error;
          throw unreadable(error, file, "is not Parquet that can be read");
        }
      },
    },
  };

  async function inferParquet(file: FileRef, engine: EngineView): Promise<Inferred> {
    await refuseOddVariants(file, engine);
    const rows = await engine.query(
      `SELECT column_name AS name, column_type AS type FROM (DESCRIBE FROM ${read([file])})`,
    );
    const names = rows.map((row) => String(row.name));
    const typed = rows.map((row) => ({ name: String(row.name), type: String(row.type) }));
    const variants = typed.filter((column) => column.type === "VARIANT").map((column) => column.name);
    const text = typed
      .filter((column) => column.type !== "VARIANT" && foreign.test(column.type))
      .map((column) => column.name);
    const list = names.map((name) => {
      if (variants.includes(name)) return `${variantText(name)} AS ${sqlName(name)}`;
      return text.includes(name) ? `${asText(name)} AS ${sqlName(name)}` : sqlName(name);
    });
    const columns = await engine.describe(`(SELECT ${list.join(", ")} FROM ${read([file])})`);
    return {
      columns,
      options: { names, ...(variants.length === 0 ? {} : { variants }), ...(text.length === 0 ? {} : { text }) },
    };
  }
}

/**
 * Shredded variants whose groups have no `value` (https://github.com/apache/parquet-format/blob/master/VariantShredding.md) end the
 * engine with a fatal error, after which nothing else can be read (DuckDB 1.5.5). So they are found by the schema alone.
 */
async function refuseOddVariants(file: FileRef, engine: EngineView): Promise<void> {
  const nodes = await engine.query(`SELECT name, num_children AS children FROM parquet_schema(${sqlPaths([file])})`);
  let position = 0;
  /** Walks the tree, which lies depth first, and returns whether a variant in it lacks a value. */
  const isOdd = (withinVariant: boolean): boolean => {
    const children = Number(nodes[position++]?.["children"] ?? 0);
    const names: string[] = [];
    let odd = false;
    const variant = withinVariant || (children > 1 && nodes[position]?.["name"] === "metadata");
    for (let child = 0; child < children && position < nodes.length; child++) {
      names.push(String(nodes[position]!["name"]));
      if (isOdd(variant)) odd = true;
    }
    return odd || (variant && names.includes("typed_value") && !names.includes("value"));
  };
  if (isOdd(false)) {
    throw new MillraceError(
      "unsupported",
      `\`${file.name}\` has shredded variants without their \`value\` column, which cannot be read`,
      {
        where: { file: file.name },
        hint: "write the file again without shredding",
      },
    );
  }
}
