import type { Encoding, Part, Payload } from "../../core/index.ts";
import { toColumns } from "../../protocols/mysql/discover.ts";
import { partSelect, type PartSpec } from "./plan.ts";
import type { Relation } from "../../protocols/mysql/relations.ts";
import type { Snapshot } from "../../protocols/mysql/snapshot.ts";

/** One part as CSV. A connection of the snapshot is taken when the first chunk is asked for, and given back with the last. */
export function readPart(snapshot: Snapshot, relation: Relation, part: Part, signal?: AbortSignal): Payload {
  const sql = partSelect(relation, part.spec as unknown as PartSpec);
  const forms = relation.columns.map((column) => column.mapping.form);
  const encodings: Record<string, Encoding> = {};
  for (const { name, mapping } of relation.columns) if (mapping.type === "binary") encodings[name] = "hex";
  let rows = 0;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    const session = await snapshot.acquire(signal);
    try {
      yield* session.read(sql, forms, (count) => (rows = count), signal);
    } finally {
      snapshot.release(session);
    }
  }
  return {
    form: "bytes",
    format: "csv",
    columns: toColumns(relation.columns),
    encodings,
    chunks: chunks(),
    rows: () => rows,
  };
}
