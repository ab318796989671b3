import { existsSync, readFileSync } from "node:fs";

const list = "../shared/corpora/hostile/strings/blns.json";

/** Strings that break naive code: a few of every family of the Big List of Naughty Strings. */
const few = [
  "null",
  "undefined",
  "NaN",
  "true",
  "__proto__",
  "constructor",
  "0x7fffffff",
  "-1",
  "1e400",
  "١٢٣",
  "'",
  '"',
  "''",
  '" OR "1"="1',
  "'; DROP TABLE sentinel; --",
  "%00",
  "%2e%2e%2f",
  "${env:HOME}",
  "$(id)",
  "`id`",
  "{{7*7}}",
  "<script>alert(1)</script>",
  "a\tb",
  "a\nb",
  "a\r\nb",
  "a,b",
  "a|b",
  "a\\b",
  "a;b",
  "a b",
  " a",
  "a ",
  "é",
  "e\u0301",
  "ﬃ",
  "İ",
  "ß",
  "日本語",
  "𐐷",
  "👩‍👩‍👧",
  "\u202Ertl",
  "\u200B",
  "\uFEFF",
  "Ṱ̺̺̕o͞",
];

/** The Big List of Naughty Strings where it lies beside the repository, else a few of each of its families. */
export function naughtyStrings(): string[] {
  if (!existsSync(list)) return few;
  return [...new Set([...(JSON.parse(readFileSync(list, "utf8")) as string[]), ...few])];
}
