import { sqlString, type Sql } from "../../core/index.ts";

const full =
  (pattern: string): ((name: Sql) => Sql) =>
  (name) =>
    `NOT regexp_full_match(${name}, ${sqlString(pattern)})`;

const label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const hostname = `(?:${label}\\.)*${label}\\.?`;
const octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const ipv4 = `(?:${octet}\\.){3}${octet}`;
const h16 = "[0-9A-Fa-f]{1,4}";
// RFC 4291 §2.2, spelled out as the alternatives of RFC 3986's `IPv6address`.
const ipv6 = [
  `(?:${h16}:){7}${h16}`,
  `(?:${h16}:){1,7}:`,
  ...[1, 2, 3, 4, 5, 6].map((after) => `(?:${h16}:){1,${7 - after}}(?::${h16}){1,${after}}`),
  `:(?:(?::${h16}){1,7}|:)`,
  `(?:${h16}:){6}${ipv4}`,
  `::(?:${h16}:){0,5}${ipv4}`,
  ...[1, 2, 3, 4, 5].map((before) => `(?:${h16}:){${before}}:(?:${h16}:){0,${5 - before}}${ipv4}`),
].join("|");
const day = "[0-9]{4}-[0-9]{2}-[0-9]{2}";
const clock = "(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\\.[0-9]{1,9})?)?";
const zone = "(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)";

/** Whether the engine can also make a value of it, so that `2023-02-30` is no date. */
const and =
  (pattern: string, real: (name: Sql) => Sql): ((name: Sql) => Sql) =>
  (name) =>
    `(${full(pattern)(name)} OR ${real(name)})`;

/** For each format: what it is called, and the predicate of texts that are not of it. */
export const textFormats: Record<string, { noun: string; fails: (name: Sql) => Sql }> = {
  email: { noun: "an e-mail address", fails: full(`[A-Za-z0-9.!#$%&'*+/=?^_\`{|}~-]{1,64}@(?:${label}\\.)+${label}`) },
  url: {
    noun: "an http or https URL",
    fails: full(`(?i:https?)://(?:[^\\s/?#@]*@)?(?:${hostname}|\\[(?:${ipv6})\\])(?::[0-9]{1,5})?(?:[/?#][^\\s]*)?`),
  },
  uri: { noun: "a URI", fails: full("[A-Za-z][A-Za-z0-9+.-]*:[^\\s]+") },
  hostname: { noun: "a host name", fails: (name) => `(${full(hostname)(name)} OR length(${name}) > 253)` },
  ipv4: { noun: "an IPv4 address", fails: full(ipv4) },
  ipv6: { noun: "an IPv6 address", fails: full(ipv6) },
  uuid: { noun: "a UUID", fails: full("[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}") },
  date: { noun: "an ISO 8601 date", fails: and(day, (name) => `TRY_CAST(${name} AS DATE) IS NULL`) },
  time: { noun: "an ISO 8601 time", fails: full(`${clock}${zone}?`) },
  datetime: {
    noun: "an ISO 8601 date and time",
    fails: and(`${day}[T ]${clock}${zone}?`, (name) => `TRY_CAST(left(${name}, 10) AS DATE) IS NULL`),
  },
  json: { noun: "JSON", fails: (name) => `NOT json_valid(${name})` },
  base64: { noun: "base64", fails: full("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?") },
  hex: { noun: "hexadecimal", fails: full("(?:[0-9A-Fa-f]{2})+") },
  phone: { noun: "a phone number in E.164 form", fails: full("\\+[1-9][0-9]{6,14}") },
};
