import { isMillraceError, messageOf, MillraceError, type Converted, type FileRef } from "../../core/index.ts";
import { headerOf, placesOf, RowWriter, type ConvertOptions } from "../values.ts";
import { openContainer } from "./container.ts";
import { decoderOf, recordOf } from "./schema.ts";

/** An Avro object container file as rows. */
export default async function* convert(file: FileRef, options: ConvertOptions): AsyncIterable<Converted> {
  const container = openContainer(file.path);
  try {
    const schema = JSON.parse(container.schema) as Parameters<typeof recordOf>[0];
    const decoder = decoderOf(schema);
    const record = recordOf(schema);
    if (options.columns_only) {
      yield headerOf(record.columns);
      return;
    }
    const columns = options.columns ?? record.columns;
    const places = placesOf(
      columns,
      record.columns.map((column) => column.name),
    );
    const writer = new RowWriter(columns);
    yield headerOf(columns);
    let row = 0;
    for (const { count, bytes } of container.blocks()) {
      let position = 0;
      for (let index = 0; index < count; index++) {
        row++;
        const { value, offset } = decoder.decode(bytes, position) as { value: unknown; offset: number };
        if (offset < 0 || offset > bytes.length)
          throw new MillraceError("parse", `damaged Avro file: record ${row} ends after its block`);
        position = offset;
        try {
          writer.add(
            places.map((place) => {
              if (place < 0) return null;
              const name = record.names[place];
              return record.convert[place]!(name === undefined ? value : (value as Record<string, unknown>)[name]);
            }),
          );
        } catch (error) {
          // A value that cannot be represented spoils its record; anything else says that the file is damaged.
          if (!isMillraceError(error)) throw error;
          yield { rejected: { reason: messageOf(error), origin: `${file.name}:record ${row}`, record: String(value) } };
          continue;
        }
        const text = writer.take();
        if (text !== undefined) yield text;
      }
      if (position !== bytes.length)
        throw new MillraceError(
          "parse",
          `damaged Avro file: ${bytes.length - position} bytes follow the ${count} records of a block`,
        );
    }
    const rest = writer.take(true);
    if (rest !== undefined) yield rest;
    yield { rows: row };
  } finally {
    container.close();
  }
}
