import {
  isMillraceError,
  MillraceError,
  sqlName,
  sqlString,
  type Column,
  type DataType,
  type EngineView,
  type FileRef,
  type Inferred,
  type Sql,
} from "../core/index.ts";
import { limitDepth } from "./json-depth.ts";
import type { JsonOptions } from "./json-options.ts";
import { jsonPointer } from "./json-values.ts";
import { sameName, sqlArguments, sqlColumns, sqlPaths, sqlType, unreadable } from "./sql.ts";

/** The columns of a file by its first records, and whether its values are objects. Throws `parse` or `schema` naming the file. */
export async function inferJson(
  options: JsonOptions,
  file: FileRef,
  engine: EngineView,
  reader: { relation: (records: string, tolerant: boolean) => Sql; raw: Sql; lines: boolean },
): Promise<Inferred> {
  const wrong = (error: unknown): MillraceError => unreadable(error, file, "is not JSON that can be read");
  await limitDepth(file, options.compression, options.sample_rows);
  let mode = options.records === "auto" ? "auto" : options.records === "objects" ? "true" : "false";
  let columns: Column[];
  try {
    columns = await engine.describe(reader.relation(mode, false));
  } catch (error) {
    // Bad lines are rejected when the file is read; the good ones say what the columns are.
    // Where the device failed, not the file, a laxer look would see other columns.
    if (!reader.lines || (isMillraceError(error) && error.temporary)) throw wrong(error);
    columns = await engine.describe(reader.relation(mode, true)).catch(() => {
      throw wrong(error);
    });
  }
  try {
    if (mode === "auto") {
      // `json` is the engine's name for values that are no objects, but may be a key as well.
      mode = "true";
      if (columns.length === 1 && columns[0]!.name === "json") {
        const [row] = await engine.query(
          `SELECT count(*) FILTER (json_type(json) = 'OBJECT' AND json_exists(json, '/json')) AS keyed FROM ${reader.raw}`,
        );
        if (Number(row!.keyed) === 0) mode = "false";
      }
    }
    if (mode === "false") columns = columns.map((column) => ({ ...column, type: "string" }));
    else await refuseRenamedKeys(columns, file, engine, reader.raw);
  } catch (error) {
    throw isMillraceError(error) && error.where.file !== undefined ? error : wrong(error);
  }
  const exact = mode === "false" ? columns : await exactNumbers(columns, file, engine, options, reader.lines);
  const typed = exact.map((column): Column => {
    const wanted = Object.entries(options.types ?? {}).find(([key]) => sameName(key, column.name));
    if (wanted === undefined) return column;
    sqlType(wanted[1] as DataType);
    return { name: column.name, type: wanted[1] as DataType };
  });
  return { columns: typed, options: { records: mode === "false" ? "values" : "objects" } };
}

/**
 * The engine takes some columns of small integers for 128 bits wide, and integers beyond 64 bits for floating point, which rounds
 * them. The text of the sample says what they are.
 */
async function exactNumbers(
  columns: readonly Column[],
  file: FileRef,
  engine: EngineView,
  options: JsonOptions,
  lines: boolean,
): Promise<Column[]> {
  const wide = ["decimal(38,0)", "decimal(20,0)"];
  const doubtful = columns.filter(
    (column) => typeof column.type === "string" && (column.type === "double" || wide.includes(column.type)),
  );
  const narrowed = columns.map((column): Column =>
    typeof column.type === "string" ? column : { ...column, type: narrow(column.type) },
  );
  if (doubtful.length === 0) return narrowed;
  const texts = doubtful.map(({ name }) => ({ name, type: "VARCHAR" }));
  const facts = doubtful.map(({ name }, index) => {
    const column = sqlName(name);
    return `bool_and(regexp_full_match(${column}, '-?[0-9]+')) AS i${index}, bool_and(TRY_CAST(${column} AS BIGINT) IS NOT NULL) FILTER (${column} IS NOT NULL) AS f${index}, max(length(${column})) AS l${index}`;
  });
  const more = {
    format: lines ? "newline_delimited" : "auto",
    maximum_object_size: options.max_object_bytes,
    compression: options.compression === "auto" ? "auto_detect" : options.compression,
    ...(lines ? { ignore_errors: true } : {}),
  };
  const limit = options.sample_rows < 0 ? "" : ` LIMIT ${options.sample_rows}`;
  let row: Record<string, unknown> | undefined;
  try {
    [row] = await engine.query(
      `SELECT ${facts.join(", ")} FROM (SELECT * FROM read_json(${sqlPaths([file])}, columns = ${sqlColumns(texts)}${sqlArguments(more)})${limit})`,
    );
  } catch (error) {
    if (isMillraceError(error) && error.temporary) throw unreadable(error, file, "cannot be read");
    // Records that do not fit any columns (a key twice) are told when the file is read.
    return narrowed;
  }
  return narrowed.map((column) => {
    const index = doubtful.findIndex((each) => each.name === column.name);
    if (index === -1 || row![`i${index}`] !== true) return column;
    if (row![`f${index}`] === true) return { ...column, type: "long" };
    return { ...column, type: Number(row![`l${index}`]) <= 38 ? "decimal(38,0)" : "string" };
  });
}

/** The types within lists and structs. Integers there are 64 bits wide: what is beyond is rejected when it is read. */
function narrow(type: DataType): DataType {
  if (type === "decimal(38,0)" || type === "decimal(20,0)") return "long";
  if (typeof type === "string") return type;
  switch (type.type) {
    case "struct": {
      // Keys that cannot name fields: the object stays JSON text.
      const names = new Set(type.fields.map((field) => field.name.toLowerCase()));
      if (names.has("") || names.size < type.fields.length) return "string";
      return { ...type, fields: type.fields.map((field) => ({ ...field, type: narrow(field.type) })) };
    }
    case "list":
      return { ...type, element: narrow(type.element) };
    case "map":
      return { ...type, value: narrow(type.value) };
  }
}

/**
 * The engine renames the second of `a` and `A` to `A_1`, and the empty key to `C0`: keys that no record has, so that their values
 * would be lost.
 */
async function refuseRenamedKeys(
  columns: readonly Column[],
  file: FileRef,
  engine: EngineView,
  raw: Sql,
): Promise<void> {
  const doubtful = columns.filter(({ name }) => {
    const base = /^(.+)_\d+$/s.exec(name)?.[1]?.toLowerCase();
    return (
      /^C\d+$/.test(name) ||
      (base !== undefined && columns.some((other) => other.name !== name && other.name.toLowerCase() === base))
    );
  });
  if (doubtful.length === 0) return;
  const counts = doubtful
    .map(({ name }, index) => `count(*) FILTER (json_exists(json, ${sqlString(jsonPointer(name))})) AS n${index}`)
    .join(", ");
  const [row] = await engine.query(`SELECT ${counts} FROM ${raw}`);
  const renamed = doubtful.find((_, index) => Number(row![`n${index}`]) === 0);
  if (renamed === undefined) return;
  const key = renamed.name.replace(/_\d+$/, "");
  const problem = /^C\d+$/.test(renamed.name)
    ? "has a key that is empty"
    : `has keys that are \`${key}\` but for upper and lower case`;
  throw new MillraceError("schema", `\`${file.name}\` ${problem}, which cannot be columns of one dataset`, {
    where: { file: file.name, column: key },
    hint: "rename the key in the file, or read it with `options: { records: values }` and take the JSON apart with `transform`",
  });
}
