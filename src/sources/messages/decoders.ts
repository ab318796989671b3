import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { decode as decodeCbor } from "cborg";
import { MillraceError, messageOf, type SourceContext } from "../../core/index.ts";
import { avroDecoder } from "./avro.ts";
import type { MessageOptions } from "./index.ts";
import { importsOf, protobufDecoder } from "./protobuf.ts";
import type { Decoder } from "./types.ts";

/** Undefined: values are JSON, and go through as they are. */
export async function decoderFor(
  options: MessageOptions,
  { connection, folder }: Pick<SourceContext, "connection" | "folder">,
): Promise<Decoder | undefined> {
  switch (options.value) {
    case "json":
      return undefined;
    case "avro":
      return avroDecoder(await schemaOf(options, connection, folder));
    case "protobuf":
      return protobufDecoder({
        proto: await schemaOf(options, connection, folder),
        imports: await importedBy(options, connection, folder),
        message: options.message,
      });
    case "cbor":
      return { decode: (value) => cborText(decodeCbor(value, cborOptions)) };
    case "text": {
      const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      return {
        columns: [{ name: "value", type: "string" }],
        decode: (value) => `{"value":${JSON.stringify(text.decode(value))}}`,
      };
    }
    case "raw":
      return {
        columns: [{ name: "value", type: "binary" }],
        decode: (value) =>
          `{"value":"${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64")}"}`,
      };
  }
}

async function schemaOf({ schema, value }: MessageOptions, connection: string, folder: string): Promise<string> {
  if (schema === undefined) {
    throw new MillraceError("config", `\`value: ${value}\` needs \`schema\``, {
      where: { connection },
      hint: "name the file with the schema of the messages",
    });
  }
  try {
    return await readFile(resolve(folder, schema), "utf8");
  } catch (cause) {
    throw new MillraceError("config", `the file \`${schema}\` of \`schema\` cannot be read: ${messageOf(cause)}`, {
      cause,
      where: { connection },
      hint: "the path is taken from the folder of the configuration file",
    });
  }
}

/** Texts of all files that the schema imports, those that others import before them. */
async function importedBy(options: MessageOptions, connection: string, folder: string): Promise<string[]> {
  const base = dirname(options.schema ?? "");
  const found = new Map<string, string>();
  const open = async (file: string): Promise<void> => {
    for (const name of importsOf(await schemaOf({ ...options, schema: file }, connection, folder))) {
      const path = join(base, name);
      if (found.has(path)) continue;
      found.set(path, "");
      await open(path);
      found.delete(path);
      found.set(path, await schemaOf({ ...options, schema: path }, connection, folder));
    }
  };
  if (options.schema !== undefined) await open(options.schema);
  return [...found.values()];
}

const cborOptions = {
  allowBigInt: true,
  allowIndefinite: true,
  allowUndefined: true,
  allowNaN: true,
  allowInfinity: true,
  useMaps: true,
  rejectDuplicateMapKeys: true,
  tags: {
    0: (inner: () => unknown) => inner(),
    1: (inner: () => unknown) => inner(),
    2: (inner: () => unknown) => wholeOf(inner()),
    3: (inner: () => unknown) => -1n - wholeOf(inner()),
  } as never,
};

/** Tags 2 and 3: integers of any length (RFC 8949, 3.4.3). */
const wholeOf = (bytes: unknown): bigint => BigInt(`0x0${Buffer.from(bytes as Uint8Array).toString("hex")}`);

function cborText(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : JSON.stringify(String(value));
  if (value instanceof Uint8Array) return JSON.stringify(Buffer.from(value).toString("base64"));
  if (Array.isArray(value)) return `[${value.map(cborText).join(",")}]`;
  if (value instanceof Map) {
    return `{${[...(value as Map<unknown, unknown>)].map(([key, each]) => `${JSON.stringify(typeof key === "string" ? key : cborText(key))}:${cborText(each)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}
