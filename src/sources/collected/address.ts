import { isIPv4, isIPv6 } from "node:net";

/**
 * What may be kept of an address: of IPv4 the first 24 bits, of IPv6 the first 48, as `203.0.113.0` and `2001:db8:1::`. Null for what is none.
 */
export function truncatedAddress(address: string): string | null {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address;
  if (isIPv4(mapped)) return `${mapped.slice(0, mapped.lastIndexOf("."))}.0`;
  const plain = mapped.split("%")[0]!;
  if (!isIPv6(plain)) return null;
  const [head = ""] = plain.split("::");
  const groups = head === "" ? [] : head.split(":");
  const first = [0, 1, 2].map((index) => (groups[index] ?? "0").replace(/^0+(?=.)/, "").toLowerCase());
  while (first.at(-1) === "0") first.pop();
  return first.length === 0 ? "::" : `${first.join(":")}::`;
}

export function keptAddress(address: string, keep: "truncated" | "full" | "none"): string | null {
  if (keep === "none") return null;
  return keep === "truncated" ? truncatedAddress(address) : address.replace(/^::ffff:(?=\d+\.)/i, "");
}
