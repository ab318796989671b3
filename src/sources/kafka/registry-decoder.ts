import { isMillraceError, MillraceError, type Column, type SourceContext } from "../../core/index.ts";
import { avroDecoder, protobufDecoder, type Decoder } from "../messages/index.ts";
import type { StreamOptions } from "./options.ts";
import { SchemaRegistry, type RegistryOptions } from "./registry.ts";

/** A value of a registered schema begins with a zero and the id of its schema. */
const prefixBytes = 5;

type Ready = Required<Pick<Decoder, "columns" | "decode">>;

/** What decodes values by the schemas that their ids name; undefined where the options name no registry or a schema of their own. */
export async function registryDecoder(
  registry: RegistryOptions | undefined,
  options: StreamOptions,
  context: SourceContext,
): Promise<Decoder | undefined> {
  const { value, schema } = options;
  if (registry === undefined || schema !== undefined || !["avro", "protobuf", "json"].includes(value)) return undefined;
  const client = new SchemaRegistry(registry, context);
  const ready = new Map<string, Ready | MillraceError>();

  const prepareOne = async (
    name: string,
    id: number,
    path: readonly number[],
    signal: AbortSignal | undefined,
  ): Promise<void> => {
    try {
      const found = await client.schema(id, signal);
      ready.set(name, decoderOf(found.type, found.text, found.references, path));
    } catch (error) {
      // A schema that is not there makes its messages poison; a registry that is away does not.
      if (
        !isMillraceError(error) ||
        error.temporary ||
        !["not-found", "config", "parse", "unsupported"].includes(error.code)
      )
        throw error;
      ready.set(name, error);
    }
  };

  return {
    get columns(): readonly Column[] | undefined {
      const columns = new Map<string, Column>();
      for (const each of ready.values()) {
        if (isMillraceError(each)) continue;
        for (const column of each.columns) if (!columns.has(column.name)) columns.set(column.name, column);
      }
      return columns.size === 0 ? undefined : [...columns.values()];
    },
    async prepare(values, signal) {
      const wanted = new Map<string, [id: number, path: readonly number[]]>();
      for (const each of values) {
        const prefix = each === null ? undefined : prefixOf(each, value);
        if (prefix !== undefined && !ready.has(prefix.name)) wanted.set(prefix.name, [prefix.id, prefix.path]);
      }
      await Promise.all([...wanted].map(([name, [id, path]]) => prepareOne(name, id, path, signal)));
    },
    decode(bytes) {
      const prefix = prefixOf(bytes, value);
      if (prefix === undefined) {
        throw new MillraceError("parse", "the value does not begin with the id of a schema");
      }
      const decoder = ready.get(prefix.name);
      if (decoder === undefined) throw new MillraceError("parse", `schema ${prefix.id} was not fetched`);
      if (isMillraceError(decoder)) throw decoder;
      return decoder.decode(bytes.subarray(prefix.length));
    },
  };
}

function decoderOf(type: string, text: string, references: readonly string[], path: readonly number[]): Ready {
  switch (type) {
    case "AVRO":
      return avroDecoder(references.length === 0 ? text : withReferences(text, references));
    case "PROTOBUF":
      return protobufDecoder({ proto: text, imports: references, path });
    case "JSON":
      return {
        columns: [],
        decode: (value) => Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("utf8"),
      };
    default:
      throw new MillraceError("unsupported", `schemas of the type ${type} are not known`);
  }
}

/** Avro resolves names of types that stand before their use: the first use of each is replaced by its definition. */
function withReferences(text: string, references: readonly string[]): string {
  const definitions = new Map<string, unknown>();
  for (const reference of references) {
    const parsed = JSON.parse(reference) as { name?: string; namespace?: string };
    const name = parsed.name ?? "";
    definitions.set(
      name.includes(".") || parsed.namespace === undefined ? name : `${parsed.namespace}.${name}`,
      parsed,
    );
  }
  const used = new Set<string>();
  const fill = (node: unknown): unknown => {
    if (typeof node === "string" && definitions.has(node) && !used.has(node)) {
      used.add(node);
      return fill(definitions.get(node));
    }
    if (Array.isArray(node)) return node.map(fill);
    if (typeof node !== "object" || node === null) return node;
    return Object.fromEntries(
      Object.entries(node).map(([key, value]) => [
        key,
        ["type", "fields", "items", "values"].includes(key) ? fill(value) : value,
      ]),
    );
  };
  return JSON.stringify(fill(JSON.parse(text)));
}

/** The id, and of Protocol Buffers the place of the message in its file. */
function prefixOf(
  bytes: Uint8Array,
  value: StreamOptions["value"],
): { id: number; path: readonly number[]; length: number; name: string } | undefined {
  if (bytes.length < prefixBytes || bytes[0] !== 0) return undefined;
  const id = ((bytes[1]! << 24) | (bytes[2]! << 16) | (bytes[3]! << 8) | bytes[4]!) >>> 0;
  if (value !== "protobuf") return { id, path: [], length: prefixBytes, name: String(id) };
  let at = prefixBytes;
  const varint = (): number => {
    let number = 0;
    for (let shift = 0; shift < 35 && at < bytes.length; shift += 7) {
      const byte = bytes[at++]!;
      number |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return (number >>> 1) ^ -(number & 1);
  };
  const count = varint();
  if (count < 0 || count > 100) return undefined;
  // The first message of the file is written as no path.
  const path = count === 0 ? [0] : Array.from({ length: count }, varint);
  return { id, path, length: at, name: `${id}:${path.join(".")}` };
}
