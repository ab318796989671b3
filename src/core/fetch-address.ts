import { isIP, isIPv4 } from "node:net";

/**
 * What an address is for, as far as it matters whether a server may be made to call it. `public`: anybody's. `private`: a network of
 * the user's own, which a connection may name. `forbidden`: metadata services of clouds, multicast, and what is assigned to nobody.
 */
export type AddressKind = "public" | "private" | "forbidden";

/** IANA IPv4 Special-Purpose Address Registry, RFC 6890 and later. */
const ranges: [string, number, AddressKind][] = [
  ["0.0.0.0", 8, "forbidden"],
  ["10.0.0.0", 8, "private"],
  ["100.64.0.0", 10, "private"],
  ["127.0.0.0", 8, "private"],
  ["169.254.0.0", 16, "forbidden"],
  ["172.16.0.0", 12, "private"],
  ["192.0.0.0", 24, "forbidden"],
  ["192.0.2.0", 24, "forbidden"],
  ["192.88.99.0", 24, "forbidden"],
  ["192.168.0.0", 16, "private"],
  ["198.18.0.0", 15, "private"],
  ["198.51.100.0", 24, "forbidden"],
  ["203.0.113.0", 24, "forbidden"],
  ["224.0.0.0", 4, "forbidden"],
  ["240.0.0.0", 4, "forbidden"],
];
/** Public addresses by their number that serve the metadata of a cloud's machines: Alibaba, Azure, Oracle. */
const metadata = new Set(["100.100.100.200", "168.63.129.16", "192.0.0.192"]);

function numberOf4(address: string): number {
  return address.split(".").reduce((value, part) => value * 256 + Number(part), 0);
}

function kindOf4(value: number): AddressKind {
  const text = [24, 16, 8, 0].map((shift) => (value / 2 ** shift) & 0xff).join(".");
  if (metadata.has(text)) return "forbidden";
  for (const [start, bits, kind] of ranges) {
    const size = 2 ** (32 - bits);
    if (Math.floor(value / size) === Math.floor(numberOf4(start) / size)) return kind;
  }
  return "public";
}

/** The 128 bits of an IPv6 address that `isIP` took for one. */
function bitsOf6(address: string): bigint {
  let text = address;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (dotted) {
    const value = numberOf4(dotted[2]!);
    text = `${dotted[1]}${Math.floor(value / 65536).toString(16)}:${(value % 65536).toString(16)}`;
  }
  const [left = "", right] = text.split("::");
  const groups = (part: string): string[] => (part === "" ? [] : part.split(":"));
  const first = groups(left);
  const last = right === undefined ? [] : groups(right);
  const middle = right === undefined ? [] : Array<string>(8 - first.length - last.length).fill("0");
  return [...first, ...middle, ...last].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

/** IANA IPv6 Special-Purpose Address Registry. What is not global unicast is refused, so that no range can be forgotten. */
function kindOf6(bits: bigint): AddressKind {
  const starts = (prefix: bigint, length: bigint): boolean => bits >> (128n - length) === prefix;
  const low = Number(bits & 0xffff_ffffn);
  // An IPv4 address as the socket of both families shows it, and as NAT64 (RFC 6052) reaches it.
  if (bits >> 32n === 0xffffn) return kindOf4(low);
  if (starts(0x0064_ff9b_0000_0000_0000_0000n, 96n)) return kindOf4(low);
  if (bits === 1n) return "private";
  // Unique local addresses; fd00:ec2::254 is the metadata service of AWS, fd20:ce::254 that of Google.
  if (starts(0b1111_110n, 7n))
    return bits >> 96n === 0xfd00_0ec2n || bits >> 96n === 0xfd20_00cen ? "forbidden" : "private";
  if (!starts(0b001n, 3n)) return "forbidden";
  // Teredo, ORCHID, benchmarks and others (2001::/23); documentation; 6to4, which hides an IPv4 address.
  if (starts(0x2001_00n >> 1n, 23n) || starts(0x2001_0db8n, 32n) || starts(0x3fff_0n, 20n)) return "forbidden";
  if (starts(0x2002n, 16n)) return "forbidden";
  return "public";
}

/** The kind of an IP address as text, with or without a zone (`fe80::1%eth0`). Whatever is not an address is `forbidden`. */
export function addressKind(address: string): AddressKind {
  const plain = address.replace(/%.*$/, "");
  if (isIP(plain) === 0) return "forbidden";
  return isIPv4(plain) ? kindOf4(numberOf4(plain)) : kindOf6(bitsOf6(plain));
}

/** Whether two texts are the same address: `::ffff:10.0.0.1` and `10.0.0.1`, long and short forms of IPv6. */
export function isSameAddress(left: string, right: string): boolean {
  const canonical = (address: string): bigint | undefined => {
    const plain = address.replace(/%.*$/, "");
    if (isIP(plain) === 0) return undefined;
    return isIPv4(plain) ? 0xffff_0000_0000n + BigInt(numberOf4(plain)) : bitsOf6(plain);
  };
  const bits = canonical(left);
  return bits !== undefined && bits === canonical(right);
}
