import { MillraceError, messageOf, type Column } from "../../core/index.ts";
import { decoderOf, recordOf } from "../../formats/avro/schema.ts";
import { jsonText } from "../../formats/values.ts";
import type { Decoder } from "./types.ts";

/**
 * Values in Avro's binary encoding of one schema (JSON). `skip`: bytes that stand before them, such as the five of a schema registry. Numbers of 64
 * bits stay exact. Throws `config`.
 */
export function avroDecoder(schema: string, skip = 0): Required<Pick<Decoder, "columns" | "decode">> {
  let type: ReturnType<typeof decoderOf>;
  let record: ReturnType<typeof recordOf>;
  try {
    const parsed = JSON.parse(schema) as Parameters<typeof recordOf>[0];
    type = decoderOf(parsed);
    record = recordOf(parsed);
  } catch (cause) {
    throw new MillraceError("config", `the schema of Avro cannot be used: ${messageOf(cause)}`, { cause });
  }
  return {
    columns: record.columns,
    decode(value) {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      const { value: decoded, offset } = type.decode(bytes, skip) as { value: unknown; offset: number };
      if (offset !== bytes.length) {
        throw new MillraceError(
          "parse",
          `the value is not of its Avro schema: ${bytes.length} bytes, read to ${offset}`,
        );
      }
      const members = record.columns.map((column, index) => {
        const name = record.names[index];
        const field = name === undefined ? decoded : (decoded as Record<string, unknown>)[name];
        return `${JSON.stringify(column.name)}:${cell(column, record.convert[index]!(field))}`;
      });
      return `{${members.join(",")}}`;
    },
  };
}

const cell = ({ type }: Column, value: unknown): string =>
  type === "binary" && value instanceof Uint8Array
    ? JSON.stringify(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64"))
    : jsonText(type, value);
