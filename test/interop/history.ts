import { type Column, type PrimitiveType, sqlName } from "../../src/core/index.ts";
import { type Dataset, compactDataset, mergeChange } from "../../src/dataset/index.ts";
import { type Workplace, append, engine, query, stage } from "../dataset/helpers.ts";
import { openCatalog } from "../../src/dataset/index.ts";

/** Every type of a dataset. Spark has no time of day, so it can be left out. */
function firstColumns(withTime: boolean): Column[] {
  const columns: [string, Column["type"]][] = [
    ["id", "long"],
    ["qty", "int"],
    ["price", "float"],
    ["amount", "decimal(9,2)"],
    ["big", "decimal(38,4)"],
    ["at", "timestamptz"],
    ["local", "timestamp"],
    ["day", "date"],
    ["name", "string"],
    ["ref", "uuid"],
    ["raw", "binary"],
    ["flag", "boolean"],
    ["tags", { type: "list", element: "string" }],
    [
      "place",
      {
        type: "struct",
        fields: [
          { name: "lat", type: "double" },
          { name: "city", type: "string" },
        ],
      },
    ],
    ["attrs", { type: "map", key: "string", value: "int" }],
    ["gone", "string"],
  ];
  if (withTime) columns.push(["clock", "time" satisfies PrimitiveType]);
  return columns.map(([name, type]) => ({ name, type, ...(name === "id" && { required: true }) }));
}

function rows(from: number, to: number, columns: readonly Column[], mark: string): string {
  const expressions: Record<string, string> = {
    id: "i::BIGINT",
    qty: "CASE WHEN i % 7 = 0 THEN NULL ELSE (i * 31 - 5000)::INTEGER END",
    price: "(i / 8.0)::FLOAT",
    amount: "(i * 1.01 - 300)::DECIMAL(9,2)",
    big: "(i::DECIMAL(38,4) * 12345678901234567890.1234::DECIMAL(38,4))::DECIMAL(38,4)",
    at: "to_timestamp(1700000000 + i * 3601) + to_microseconds(i)",
    local: "TIMESTAMP '1969-12-31 23:59:58' + to_microseconds(i * 1234567)",
    day: "DATE '1969-12-25' + i::INTEGER",
    name: `CASE i % 11 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE '${mark} ünïcode 😀 with a long tail ' || i END`,
    title: `'${mark} title ' || i`,
    ref: "md5(i::VARCHAR)::UUID",
    raw: "CASE WHEN i % 5 = 0 THEN NULL ELSE unhex(md5(i::VARCHAR)) END",
    flag: "i % 3 = 0",
    tags: "CASE WHEN i % 4 = 0 THEN [] WHEN i % 4 = 1 THEN NULL ELSE ['a' || i, NULL, 'c'] END",
    place: "CASE WHEN i % 9 = 0 THEN NULL ELSE {lat: i / 3.0, city: 'city ' || i} END",
    attrs: "MAP {'k' || i: i::INTEGER}",
    gone: "'gone ' || i",
    clock: "(TIME '00:00:01' + to_microseconds(i * 7654321))::TIME",
    rating: "i / 7.0",
  };
  const items = columns.map((column) => {
    let expression = expressions[column.name]!;
    if (
      column.name === "place" &&
      typeof column.type !== "string" &&
      column.type.type === "struct" &&
      column.type.fields.length > 2
    ) {
      expression = "{lat: i / 3.0, city: 'city ' || i, zip: 'z' || i}";
    }
    return `${expression} AS ${sqlName(column.name)}`;
  });
  return `SELECT ${items.join(", ")} FROM range(${from}, ${to}) AS t(i)`;
}

/** A dataset after append, merge, compaction, evolution (add, widen, rename, drop, a field in a struct), and a rollback. */
export async function datasetWithHistory(place: Workplace, name: string, withTime: boolean): Promise<Dataset> {
  const dataset = await openCatalog(place.store).create(name, firstColumns(withTime));
  await append(dataset, rows(0, 1000, dataset.columns(), "first"));
  await append(dataset, rows(1000, 1500, dataset.columns(), "second"));

  const staged = await stage(dataset, rows(900, 1600, dataset.columns(), "merged"));
  const base = dataset.current()!.number;
  const columns = dataset.columns();
  const merged = await mergeChange({
    dataset,
    engine,
    rows: `(${rows(900, 1600, columns, "merged")})`,
    staged: [staged],
    key: ["id"],
    columns,
    folder: place.folder,
    prefix: `${name}-merge`,
  });
  const replacements = [];
  for (const file of merged.add) {
    const path = `${name}/data/${file.path.slice(file.path.lastIndexOf("/") + 1)}`;
    await dataset.store.adopt(file.path, path);
    replacements.push({ ...file, path });
  }
  await dataset.commit({ operation: "overwrite", add: [staged, ...replacements], remove: merged.remove, base });

  await compactDataset(dataset, engine, { folder: place.folder });

  const wanted = dataset.columns().map((column): Column & { renamedFrom?: string } => {
    if (column.name === "qty") return { ...column, type: "long" };
    if (column.name === "price") return { ...column, type: "double" };
    if (column.name === "amount") return { ...column, type: "decimal(18,2)" };
    if (column.name === "name") return { ...column, name: "title", renamedFrom: "name" };
    if (column.name === "place" && typeof column.type !== "string" && column.type.type === "struct") {
      return { ...column, type: { type: "struct", fields: [...column.type.fields, { name: "zip", type: "string" }] } };
    }
    return column;
  });
  const evolved = dataset.evolve([...wanted, { name: "rating", type: "double" }], "evolve");
  const wide = await stage(dataset, rows(5000, 5200, evolved.columns, "evolved"), evolved.columns);
  await dataset.commit({ operation: "append", add: [wide], columns: evolved.columns });
  await dataset.alter(dataset.columns().filter((column) => column.name !== "gone"));
  await append(dataset, rows(5200, 5300, dataset.columns(), "after the drop"));

  const good = dataset.current()!;
  await append(dataset, rows(9000, 9100, dataset.columns(), "to be rolled back"));
  await dataset.rollback(good);
  return dataset;
}

export interface ColumnSum {
  present: number;
  checksum: string;
}

/** Rows, and per column the values that are not null and an order-independent checksum of their text. */
export async function checksums(
  relation: string,
  columns: readonly Column[],
): Promise<{ rows: number; columns: Record<string, ColumnSum> }> {
  const items = columns.flatMap((column, index) => {
    const name = sqlName(column.name);
    // Other writers say of a time of day that it is in UTC, which makes it another type.
    const cast = column.type === "time" ? "::TIME::VARCHAR" : "::VARCHAR";
    const value = column.type === "uuid" ? `replace(lower(${name}::VARCHAR), '-', '')` : `${name}${cast}`;
    return [`count(${name}) AS n${index}`, `coalesce(sum(hash(${value})), 0)::VARCHAR AS c${index}`];
  });
  const [row] = await query(`SELECT count(*) AS rows, ${items.join(", ")} FROM ${relation}`);
  const result: Record<string, ColumnSum> = {};
  columns.forEach((column, index) => {
    result[column.name] = { present: Number(row![`n${index}`]), checksum: String(row![`c${index}`]) };
  });
  return { rows: Number(row!["rows"]), columns: result };
}
