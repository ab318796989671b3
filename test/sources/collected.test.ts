import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openIds, type IdsOfRow } from "../../src/sources/collected/ids.ts";
import {
  checkedJson,
  correctedTime,
  elementsAt,
  membersAt,
  microsOfText,
  rawAt,
  textAt,
  textOfMicros,
  truncatedAddress,
  type Span,
} from "../../src/sources/collected/index.ts";
import { isBot } from "../../src/sources/clickstream/bots.ts";
import { seeded } from "../faults/random.ts";
import { inScratch } from "../faults/sweep.ts";

const random = seeded("collected");

describe("JSON", () => {
  const texts = ["", "a", '"', "\\", '\\\\"', "é\u{1f600}", "\u2028", "{}[],:", "__proto__", "\t\n", "\\u0041"];
  const value = (depth: number): unknown => {
    const kind = random.between(0, depth > 0 ? 6 : 4);
    if (kind === 0) return null;
    if (kind === 1) return random.between(0, 1) === 1;
    if (kind === 2) return random.between(-1_000, 1_000) / 8;
    if (kind <= 4) return random.pick(texts);
    const items = Array.from({ length: random.between(0, 4) }, () => value(depth - 1));
    return kind === 5 ? items : Object.fromEntries(items.map((item, index) => [`${random.pick(texts)}${index}`, item]));
  };
  /** What the spans say, built up again. */
  const rebuilt = (text: string, span: Span): unknown => {
    const elements = elementsAt(text, span);
    if (elements !== undefined) return elements.map((each) => rebuilt(text, each));
    if (text[span.start] !== "{") return JSON.parse(text.slice(span.start, span.end));
    return Object.fromEntries([...membersAt(text, span)].map(([name, each]) => [name, rebuilt(text, each)]));
  };

  test("spans are where JSON.parse finds the values, however it is written", () => {
    for (let round = 0; round < 500; round++) {
      const whole = { a: value(4), b: value(3) };
      const text = JSON.stringify(whole, undefined, random.pick([0, 1, "\t", " \r\n "] as (string | number)[]));
      expect(rebuilt(text, checkedJson(text))).toEqual(JSON.parse(text));
    }
  });

  test("what is no JSON is told, at once, and what is deep as well", () => {
    const wrong = [
      "",
      "{",
      "}",
      '{"a":}',
      '{"a":1,}',
      "[1 2]",
      '"',
      '{"a":"\\"}',
      "nul",
      "{'a':1}",
      '{"a":1}}',
      '"\u0000"',
      "[01]",
    ];
    for (const text of wrong) expect(() => checkedJson(text), text).toThrow("it is not JSON");
    expect(() => checkedJson("[".repeat(200_000))).toThrow("nested more than 100 deep");
    expect(checkedJson(`${"[".repeat(100)}${"]".repeat(100)}`)).toEqual({ start: 0, end: 200 });
    const text = '{"a":"x","a":null,"n":-1.50e3,"e":"","t":true}';
    const members = membersAt(text, checkedJson(text));
    expect([...members].map(([name, span]) => [name, rawAt(text, span), textAt(text, span)])).toEqual([
      ["a", undefined, undefined],
      ["n", "-1.50e3", "-1.50e3"],
      ["e", '""', undefined],
      ["t", "true", undefined],
    ]);
  });
});

test("addresses are cut to 24 and 48 bits", () => {
  const cut: [string, string | null][] = [
    ["203.0.113.77", "203.0.113.0"],
    ["::ffff:203.0.113.77", "203.0.113.0"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1::"],
    ["2001:0DB8:0001::9", "2001:db8:1::"],
    ["2001:db8::1:2", "2001:db8::"],
    ["::1", "::"],
    ["fe80::1%eth0", "fe80::"],
    ["no address", null],
    ["1.2.3", null],
  ];
  for (const [address, kept] of cut) expect([address, truncatedAddress(address)]).toEqual([address, kept]);
});

test("moments keep their microseconds, and what is none is none", () => {
  const moments: [string, string | null][] = [
    ["2026-11-24T03:00:00.123456789+02:00", "2026-11-24T01:00:00.123456Z"],
    ["2026-11-24 03:00", "2026-11-24T03:00:00.000000Z"],
    ["1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"],
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"],
    ["2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"],
    ["2026-02-31T00:00:00Z", null],
    ["2026-01-01T24:30:00Z", null],
    ["yesterday", null],
    [`2026-01-01T00:00:00.${"1".repeat(50_000)}`, null],
  ];
  for (const [text, shown] of moments)
    expect([text.slice(0, 40), textOfMicros(microsOfText(text))]).toEqual([text.slice(0, 40), shown]);
  expect(correctedTime(100, 40, 90)).toBe(50);
  expect(correctedTime(100, 400, undefined)).toBe(100);
  expect(correctedTime(100, undefined, 90)).toBe(100);
});

test("a user agent of any kind is looked through in no time", () => {
  expect(["Googlebot/2.1", "Mozilla/5.0 HeadlessChrome/120", "facebookexternalhit/1.1"].map(isBot)).toEqual([
    true,
    true,
    true,
  ]);
  expect(
    ["Mozilla/5.0 (X11; Linux x86_64) Firefox/120.0", "Robota 1", "", null, "bo".repeat(20_000)].map(isBot),
  ).toEqual([false, false, false, false, false]);
});

test("ids: an index that is built again, in other steps, knows the same duplicates", () =>
  inScratch(async (folder) => {
    const day = 86_400_000_000;
    const rows: IdsOfRow[] = Array.from({ length: 300 }, (_, index) => ({
      number: index + 1,
      received: index * (day / 30),
      sender: random.pick(["web", "app"]),
      ids: Array.from({ length: random.between(0, 5) }, () =>
        random.between(0, 9) === 0 ? undefined : `id ${random.between(0, 80)}`,
      ),
    }));
    // By the rule itself: within two days after it was last new.
    const wanted = new Set<string>();
    const lastNew = new Map<string, number>();
    for (const { number, received, sender, ids } of rows) {
      for (const [place, id] of ids.entries()) {
        if (id === undefined) continue;
        const before = lastNew.get(`${sender} ${id}`);
        if (before !== undefined && received - before <= 2 * day) wanted.add(`${number}:${place}`);
        else lastNew.set(`${sender} ${id}`, received);
      }
    }
    expect(wanted.size).toBeGreaterThan(50);
    for (let build = 0; build < 3; build++) {
      const place = join(folder, `build-${build}`);
      for (let upTo = 0; upTo < rows.length;) {
        // Another process each time, which may begin with rows that are known.
        const index = openIds(place, 2 * 86_400_000);
        const next = Math.min(rows.length, upTo + random.between(1, 120));
        index.take(rows.slice(random.between(0, upTo), next), next);
        expect(index.upTo()).toBe(next);
        upTo = next;
        index.close();
      }
      const index = openIds(place, 2 * 86_400_000);
      expect(index.duplicates(1, rows.length)).toEqual(wanted);
      index.forget(200);
      expect(index.duplicates(1, rows.length)).toEqual(
        new Set([...wanted].filter((each) => Number(each.split(":")[0]) >= 200)),
      );
      index.close();
      rmSync(place, { recursive: true });
    }
  }));
