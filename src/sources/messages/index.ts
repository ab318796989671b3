import { join } from "node:path";
import { tmpdir } from "node:os";
import * as z from "zod";
import type { Column, Payload, SourceContext } from "../../core/index.ts";
import { decoderFor } from "./decoders.ts";
import { inferColumns } from "./infer.ts";
import { linesOf } from "./lines.ts";
import { restColumn, type Decoder, type MessageBatch } from "./types.ts";

export { restColumn, type Decoder, type MessageBatch } from "./types.ts";
export { avroDecoder } from "./avro.ts";
export { protobufDecoder, type ProtobufSchema } from "./protobuf.ts";

/** Options that all sources of messages have. */
export const messageShape = {
  value: z
    .enum(["json", "avro", "protobuf", "cbor", "text", "raw"])
    .default("json")
    .describe(
      "What the value of a message is: a `json` or `cbor` object, `avro` or `protobuf` with `schema`, `text`, or `raw` bytes. Default `json`.",
    ),
  columns: z
    .record(z.string().min(1), z.string().min(1))
    .default({})
    .describe(
      "Types by top-level member (`long`, `decimal(18,2)`, `string`, …). Default: inferred from the first messages; objects stay JSON text.",
    ),
  schema: z
    .string()
    .min(1)
    .optional()
    .describe(
      "File with the schema of `avro` (`.avsc`) or `protobuf` (`.proto`; what it imports is looked for beside it), relative to the configuration.",
    ),
  message: z.string().min(1).optional().describe("Full name of the message in the schema of `protobuf`: `shop.Order`."),
};
export type MessageOptions = z.output<z.ZodObject<typeof messageShape>>;

export interface Messages {
  /**
   * All columns of the stream: those of `meta`, those of the values, `_rest`. `known` are the columns that an earlier plan gave (keep them in the
   * cursor): they keep their types, and new ones follow.
   */
  columns(sample: readonly (Uint8Array | null)[], known?: readonly Column[], signal?: AbortSignal): Promise<Column[]>;
  /** The messages as NDJSON with the columns `wanted` of `all`. */
  payload(
    batches: AsyncIterable<MessageBatch>,
    options: { all: readonly Column[]; wanted?: readonly string[] | undefined; signal?: AbortSignal | undefined },
  ): Extract<Payload, { form: "bytes" }>;
}

/** So many messages of a batch show what its columns are. */
export const sampleMessages = 1_000;

/**
 * Values of messages as rows. `meta`: columns that the source itself gives each message, which no value can overwrite. `decoder`: in place of
 * the one that the options name. Throws `config`.
 */
export async function openMessages(
  options: MessageOptions,
  context: Pick<SourceContext, "connection" | "folder" | "engine" | "scratch">,
  { meta, decoder: own }: { meta: readonly Column[]; decoder?: Decoder | undefined },
): Promise<Messages> {
  const decoder = own ?? (await decoderFor(options, context));
  const reserved = [...meta.map(({ name }) => name), restColumn.name];
  return {
    async columns(sample, known = [], signal) {
      const before = known.filter(({ name }) => !reserved.includes(name));
      const values = sample.filter((value) => value !== null);
      // Schemas may come with the values.
      await decoder?.prepare?.(values, signal);
      const found =
        decoder?.columns === undefined
          ? await inferColumns(decoder === undefined ? values : texts(decoder, values), {
              known: before,
              reserved,
              types: options.columns,
              engine: context.engine,
              scratch: join(context.scratch ?? tmpdir(), "messages"),
              where: { connection: context.connection },
            })
          : [...before, ...decoder.columns.filter(({ name }) => !has(before, name) && !reserved.includes(name))];
      return [...meta, ...found, restColumn];
    },
    payload(batches, { all, wanted, signal }) {
      const known = all.filter(({ name }) => !reserved.includes(name));
      const columns = wanted === undefined ? all : all.filter(({ name }) => wanted.includes(name));
      return linesOf(batches, { columns, known, decoder, signal });
    },
  };
}

const has = (columns: readonly Column[], name: string): boolean =>
  columns.some((column) => column.name.toLowerCase() === name.toLowerCase());

function texts(decoder: Decoder, values: readonly Uint8Array[]): Uint8Array[] {
  return values.flatMap((value) => {
    try {
      const given = decoder.decode(value);
      return (typeof given === "string" ? [given] : given).map((text) => Buffer.from(text));
    } catch {
      // It is rejected when it is read.
      return [];
    }
  });
}
