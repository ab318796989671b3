import type { DataType } from "../../core/index.ts";

/** NumPy's name of the elements of a list of numbers; undefined for what is none. */
export function npyType(type: DataType): string | undefined {
  if (typeof type === "string" || type.type !== "list") return undefined;
  switch (type.element) {
    case "boolean":
      return "|b1";
    case "int":
      return "<i4";
    case "long":
      return "<i8";
    case "float":
      return "<f4";
    case "double":
      return "<f8";
    default:
      return undefined;
  }
}

/** What stands before the elements in an NPY file, version 1.0 (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). */
export function npyHeader(type: string, length: number): Uint8Array {
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${length},), }`;
  const size = Math.ceil((10 + text.length + 1) / 64) * 64;
  const header = Buffer.alloc(size, 0x20);
  header.write("\x93NUMPY\x01\x00", 0, "latin1");
  header.writeUInt16LE(size - 10, 8);
  header.write(text, 10, "latin1");
  header[size - 1] = 0x0a;
  return header;
}
