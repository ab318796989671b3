import protobuf from "protobufjs";
import { MillraceError, messageOf, type DataType, type PrimitiveType } from "../../core/index.ts";
import type { Decoder } from "./types.ts";

export interface ProtobufSchema {
  /** Text of a `.proto` file. */
  proto: string;
  /** Texts of the files that it imports, and that those import; Google's well-known types are known. */
  imports?: readonly string[];
  /** Full name of the message; default: the first of the file. */
  message?: string | undefined;
  /** Or its place in the file, outer messages first: the index list of a schema registry. */
  path?: readonly number[];
}

/** Messages of Protocol Buffers as JSON: field names as written, integers of 64 bits exact, enums by name, bytes as base64. Throws `config`. */
export function protobufDecoder(schema: ProtobufSchema): Required<Pick<Decoder, "columns" | "decode">> {
  const type = typeOf(schema);
  return {
    columns: type.fieldsArray.map((field) => ({
      name: field.name,
      type: columnType(field),
      ...(field.comment === null ? {} : { doc: field.comment }),
    })),
    decode(value) {
      const message = type.decode(
        value instanceof Buffer ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength),
      );
      return jsonOf(
        type.toObject(message, { longs: String, enums: String, defaults: true, arrays: true, oneofs: false }),
        type,
      );
    },
  };
}

const plainTypes: Record<string, PrimitiveType> = {
  double: "double",
  float: "float",
  int32: "int",
  sint32: "int",
  sfixed32: "int",
  uint32: "long",
  fixed32: "long",
  int64: "long",
  sint64: "long",
  sfixed64: "long",
  uint64: "decimal(20,0)",
  fixed64: "decimal(20,0)",
  bool: "boolean",
  string: "string",
  bytes: "binary",
};

/** Messages and maps stay JSON text, and so do lists of bytes. */
function columnType(field: protobuf.Field): DataType {
  if (field instanceof protobuf.MapField) return "string";
  const own = field.resolvedType instanceof protobuf.Enum ? "string" : plainTypes[field.type];
  if (own === undefined) return "string";
  if (!field.repeated) return own;
  return own === "binary" ? "string" : { type: "list", element: own };
}

/** The other files that a `.proto` file imports, without Google's. Throws `config`. */
export function importsOf(proto: string): string[] {
  try {
    return (protobuf.parse(proto).imports ?? []).filter((name) => protobuf.common.get(name) === null);
  } catch (cause) {
    throw unusable(cause);
  }
}

function unusable(cause: unknown): MillraceError {
  return new MillraceError("config", `the schema of Protocol Buffers cannot be used: ${messageOf(cause)}`, { cause });
}

function typeOf({ proto, imports = [], message, path }: ProtobufSchema): protobuf.Type {
  const root = new protobuf.Root();
  try {
    for (const text of [...imports, proto]) {
      for (const name of protobuf.parse(text, root, { keepCase: true }).imports ?? []) {
        const known = protobuf.common.get(name);
        if (known?.nested && root.lookup(`google.protobuf.${name.split("/").at(-1)}`) === null)
          root.addJSON(known.nested);
      }
    }
    root.resolveAll();
  } catch (cause) {
    throw unusable(cause);
  }
  if (message !== undefined) {
    try {
      return root.lookupType(message);
    } catch (cause) {
      throw new MillraceError("config", `the schema has no message \`${message}\``, {
        cause,
        hint: `it has ${names(root).join(", ")}`,
      });
    }
  }
  // Of the file itself, not of what it imports.
  let types = typesIn(own(proto, root));
  let found: protobuf.Type | undefined;
  for (const index of path ?? [0]) {
    found = types[index];
    if (found === undefined) break;
    types = found.nestedArray.filter((nested) => nested instanceof protobuf.Type);
  }
  if (found === undefined) {
    throw new MillraceError("config", `the schema has no message at ${(path ?? [0]).join(".")}`, {
      hint: `it has ${names(root).join(", ")}`,
    });
  }
  return found;
}

function own(proto: string, root: protobuf.Root): protobuf.NamespaceBase {
  const space = protobuf.parse(proto).package;
  const found = space === undefined ? root : root.lookup(space);
  return found instanceof protobuf.Namespace ? found : root;
}

/** The messages of a file, in their order, whatever package they are in. */
function typesIn(space: protobuf.NamespaceBase): protobuf.Type[] {
  return space.nestedArray.flatMap((nested) =>
    nested instanceof protobuf.Type ? [nested] : nested instanceof protobuf.Namespace ? typesIn(nested) : [],
  );
}

const names = (root: protobuf.Root): string[] => typesIn(root).map(({ fullName }) => `\`${fullName.slice(1)}\``);

const wholeNumbers = new Set(["int64", "uint64", "sint64", "fixed64", "sfixed64"]);

/** JSON with numbers of 64 bits as digits: the library gives them as text. */
function jsonOf(object: Record<string, unknown>, type: protobuf.Type): string {
  const members: string[] = [];
  for (const field of type.fieldsArray) {
    const value = object[field.name];
    if (value === undefined || value === null) continue;
    const one = (each: unknown): string => {
      if (field.resolvedType instanceof protobuf.Type)
        return jsonOf(each as Record<string, unknown>, field.resolvedType);
      if (wholeNumbers.has(field.type)) return String(each);
      if (each instanceof Uint8Array) return JSON.stringify(Buffer.from(each).toString("base64"));
      // There is no other notation for them in JSON, and the engine reads this one.
      if (typeof each === "number" && !Number.isFinite(each)) return JSON.stringify(String(each));
      return JSON.stringify(each);
    };
    const text = field.repeated
      ? `[${(value as unknown[]).map(one).join(",")}]`
      : field instanceof protobuf.MapField
        ? `{${Object.entries(value)
            .map(([key, each]) => `${JSON.stringify(key)}:${one(each)}`)
            .join(",")}}`
        : one(value);
    members.push(`${JSON.stringify(field.name)}:${text}`);
  }
  return `{${members.join(",")}}`;
}
