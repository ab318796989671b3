/** A value of the engine as text for people. */
export function cell(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (typeof value === "string") return value;
  if (value instanceof Uint8Array)
    return `\\x${Buffer.from(value.subarray(0, 64)).toString("hex")}${value.length > 64 ? "…" : ""}`;
  if (typeof value === "object") return JSON.stringify(plain(value));
  return String(value as number | bigint | boolean);
}

/**
 * A value as JSON can hold it without loss: whole numbers beyond 2^53 and what is no number become text, bytes become base64.
 */
export function plain(value: unknown): unknown {
  if (typeof value === "bigint") {
    return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(value)
      : String(value);
  }
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [String(key), plain(item)]));
  if (typeof value === "object" && value !== null) {
    const source = "toJSON" in value && typeof value.toJSON === "function" ? (value.toJSON() as object) : value;
    return Object.fromEntries(Object.entries(source).map(([key, item]) => [key, plain(item)]));
  }
  return value;
}

/** One field of CSV (RFC 4180): null is empty, empty text is `""`. */
export function csvField(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text = cell(value);
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
