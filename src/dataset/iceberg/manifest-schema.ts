import type { AvroSchema } from "./avro.ts";

/*
 * Manifests and manifest lists, format v2: https://iceberg.apache.org/spec/#manifests, https://iceberg.apache.org/spec/#manifest-lists
 */

/**
 * Field id of the checksum that Millrace adds to `data_file`. Iceberg resolves fields by id and skips those it does not know;
 * its own ids stay below 10,000, or near the top of the 32-bit range.
 */
const sha256Field = 1_000_001;

type Field = [name: string, id: number, type: unknown, optional?: boolean];

function fields(list: Field[]): AvroSchema[] {
  return list.map(([name, id, type, optional]) =>
    optional ? { name, type: ["null", type], default: null, "field-id": id } : { name, type, "field-id": id },
  );
}

/** A map with integer keys: an array of pairs, as Avro's maps have only strings as keys. */
function intMap(keyId: number, valueId: number, value: string): AvroSchema {
  return {
    type: "array",
    logicalType: "map",
    items: {
      type: "record",
      name: `k${keyId}_v${valueId}`,
      fields: fields([
        ["key", keyId, "int"],
        ["value", valueId, value],
      ]),
    },
  };
}

function list(elementId: number, element: string): AvroSchema {
  return { type: "array", items: element, "element-id": elementId };
}

const dataFileFields: Field[] = [
  ["content", 134, "int"],
  ["file_path", 100, "string"],
  ["file_format", 101, "string"],
  ["partition", 102, { type: "record", name: "r102", fields: [] }],
  ["record_count", 103, "long"],
  ["file_size_in_bytes", 104, "long"],
  ["column_sizes", 108, intMap(117, 118, "long"), true],
  ["value_counts", 109, intMap(119, 120, "long"), true],
  ["null_value_counts", 110, intMap(121, 122, "long"), true],
  ["nan_value_counts", 137, intMap(138, 139, "long"), true],
  ["lower_bounds", 125, intMap(126, 127, "bytes"), true],
  ["upper_bounds", 128, intMap(129, 130, "bytes"), true],
  ["key_metadata", 131, "bytes", true],
  ["split_offsets", 132, list(133, "long"), true],
  ["equality_ids", 135, list(136, "int"), true],
  ["sort_order_id", 140, "int", true],
  ["millrace_sha256", sha256Field, "string", true],
];

const entryFields: Field[] = [
  ["status", 0, "int"],
  ["snapshot_id", 1, "long", true],
  ["sequence_number", 3, "long", true],
  ["file_sequence_number", 4, "long", true],
  ["data_file", 2, { type: "record", name: "r2", fields: fields(dataFileFields) }],
];

const listFields: Field[] = [
  ["manifest_path", 500, "string"],
  ["manifest_length", 501, "long"],
  ["partition_spec_id", 502, "int"],
  ["content", 517, "int"],
  ["sequence_number", 515, "long"],
  ["min_sequence_number", 516, "long"],
  ["added_snapshot_id", 503, "long"],
  ["added_files_count", 504, "int"],
  ["existing_files_count", 505, "int"],
  ["deleted_files_count", 506, "int"],
  ["added_rows_count", 512, "long"],
  ["existing_rows_count", 513, "long"],
  ["deleted_rows_count", 514, "long"],
];

export const manifestSchema: AvroSchema = { type: "record", name: "manifest_entry", fields: fields(entryFields) };
export const manifestListSchema: AvroSchema = { type: "record", name: "manifest_file", fields: fields(listFields) };

/** Names by field id: how the fields of any writer's files are called here. */
export const manifestNames: ReadonlyMap<number, string> = new Map(
  [...entryFields, ...dataFileFields].map(([name, id]) => [id, name]),
);
export const manifestListNames: ReadonlyMap<number, string> = new Map(listFields.map(([name, id]) => [id, name]));
