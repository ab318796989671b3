import { expect, test } from "vitest";
import type { PrimitiveType } from "../../src/core/index.ts";
import { exactText, mayOverlap } from "../../src/dataset/iceberg/bounds.ts";
import { encodeBounds, encodeValue } from "../../src/dataset/iceberg/single-value.ts";

/** Golden bytes, as https://iceberg.apache.org/spec/#binary-single-value-serialization and Java's `Conversions` give them. */
const golden: [PrimitiveType, text: string, hex: string][] = [
  ["boolean", "false", "00"],
  ["boolean", "true", "01"],
  ["int", "1234", "d2040000"],
  ["int", "-1", "ffffffff"],
  ["long", "1234", "d204000000000000"],
  ["long", "-9223372036854775808", "0000000000000080"],
  ["float", "-4.5", "000090c0"],
  ["float", "0.1", "cdcccc3d"],
  ["double", "6.0", "0000000000001840"],
  ["double", "1e+300", "9c7500883ce4377e"],
  ["date", "1970-01-01", "00000000"],
  ["date", "1969-12-31", "ffffffff"],
  ["date", "2017-11-16", "4e440000"],
  ["date", "0001-01-01", "c606f5ff"],
  ["time", "10:00:00", "0068c46108000000"],
  ["timestamp", "1970-01-01 00:00:00.000001", "0100000000000000"],
  ["timestamp", "1969-12-31 23:59:59.999999", "ffffffffffffffff"],
  ["timestamptz", "1970-01-01 01:00:00+01", "0000000000000000"],
  ["timestamptz", "1970-01-01 00:00:01+00", "40420f0000000000"],
  ["string", "ABC", "414243"],
  ["string", "é😀", "c3a9f09f9880"],
  ["uuid", "f79c3e09-677c-4bbd-a479-3f349cb785e7", "f79c3e09677c4bbda4793f349cb785e7"],
  ["binary", "AABB00", "aabb00"],
  ["decimal(9,2)", "345.12", "0086d0"],
  ["decimal(9,2)", "-345.12", "ff7930"],
  ["decimal(9,2)", "0", "00"],
  ["decimal(9,2)", "1.5", "0096"],
  ["decimal(9,2)", "-0.01", "ff"],
  ["decimal(38,0)", "99999999999999999999999999999999999999", "4b3b4ca85a86c47a098a223fffffffff"],
];

test.each(golden)("%s %s is %s", (type, text, hex) => {
  expect(encodeValue(type, text)?.toString("hex")).toBe(hex);
});

test.each<[PrimitiveType, string]>([
  ["date", "0044-03-15 (BC)"],
  ["date", "infinity"],
  ["timestamp", "infinity"],
  ["timestamp", "-infinity"],
  ["timestamp", "2020-01-01 00:00:00+00"],
  ["timestamptz", "2020-01-01 00:00:00"],
  ["timestamptz", "0044-03-15 (BC) 00:00:00+00"],
  ["double", "inf"],
  ["double", "nan"],
  ["double", ""],
  ["float", "-inf"],
  ["int", "2147483648"],
  ["long", "9223372036854775808"],
  ["decimal(9,2)", "1.234"],
  ["uuid", "nonsense"],
  ["binary", "xyz"],
  ["boolean", "maybe"],
])("%s %s has no bytes rather than wrong ones", (type, text) => {
  expect(encodeValue(type, text)).toBeUndefined();
});

test("long text is cut, and the upper bound stays above", () => {
  const long = "abcdefghijklmnopqrstuvwxyz";
  const { lower, upper } = encodeBounds("string", long, long);
  expect(lower!.toString()).toBe("abcdefghijklmnop");
  expect(upper!.toString()).toBe("abcdefghijklmnoq");
  expect(encodeBounds("string", "short", "short").upper!.toString()).toBe("short");
  const faces = "😀".repeat(20);
  expect(encodeBounds("string", faces, faces).lower!.toString()).toBe("😀".repeat(16));
  expect(encodeBounds("string", faces, faces).upper!.toString()).toBe("😀".repeat(15) + "😁");
  const top = "\u{10ffff}".repeat(17);
  expect(encodeBounds("string", top, top).upper).toBeUndefined();
  expect(encodeBounds("string", "a", `b${"\u{10ffff}".repeat(17)}`).upper!.toString()).toBe("c");
  const beforeSurrogates = "\ud7ff".repeat(17);
  expect(encodeBounds("string", "a", beforeSurrogates).upper!.toString()).toBe("\ud7ff".repeat(15) + "\ue000");
  const bytes = "FF".repeat(17);
  expect(encodeBounds("binary", bytes, bytes).upper).toBeUndefined();
  expect(encodeBounds("binary", "00", `01${bytes}`).upper!.toString("hex")).toBe("02");
});

test("bounds hold for readers that order zeros and UUIDs otherwise", () => {
  expect(encodeBounds("double", "0", "-0").lower!.readDoubleLE()).toBe(-0);
  expect(Object.is(encodeBounds("double", "0", "-0").upper!.readDoubleLE(), 0)).toBe(true);
  const mixed = encodeBounds("uuid", "00000000-0000-0000-0000-000000000001", "f79c3e09-677c-4bbd-a479-3f349cb785e7");
  expect(mixed).toEqual({});
  const same = encodeBounds("uuid", "10000000-0000-0000-8000-000000000001", "20000000-0000-0000-0000-000000000000");
  expect(same.lower!.toString("hex") < "1000000000000000").toBe(true);
  expect(same.upper!.toString("hex") > "2000000000000000ffff").toBe(true);
});

test("what is exact comes back as it was", () => {
  const values: [PrimitiveType, string][] = [
    ["boolean", "true"],
    ["int", "-5"],
    ["long", "9223372036854775807"],
    ["float", "0.1"],
    ["double", "0.1"],
    ["date", "1969-12-31"],
    ["time", "01:02:03.000004"],
    ["timestamp", "1969-12-31 23:59:59.999999"],
    ["timestamptz", "2020-01-02 02:04:05+00"],
    ["string", "short é"],
    ["binary", "AA00FF"],
    ["decimal(38,2)", "-123456789012345678.90"],
    ["decimal(9,2)", "-0.01"],
  ];
  for (const [type, text] of values) expect([type, exactText(type, encodeValue(type, text)!)]).toEqual([type, text]);
  expect(exactText("string", Buffer.from("sixteen letters!"))).toBeUndefined();
  expect(exactText("long", Buffer.from("05000000", "hex"))).toBe("5");
});

test("files are left out only when no key can be in them", () => {
  const bounds = (type: PrimitiveType, min: string, max: string): { lower?: Buffer; upper?: Buffer } =>
    encodeBounds(type, min, max);
  expect(mayOverlap("int", { min: "11", max: "20" }, bounds("int", "1", "10"))).toBe(false);
  expect(mayOverlap("int", { min: "10", max: "20" }, bounds("int", "1", "10"))).toBe(true);
  expect(mayOverlap("long", { min: "-5", max: "0" }, bounds("int", "1", "10"))).toBe(false);
  expect(mayOverlap("decimal(9,2)", { min: "-2.00", max: "-1.00" }, bounds("decimal(9,2)", "-1.00", "5"))).toBe(true);
  expect(mayOverlap("string", { min: "zz", max: "zz" }, bounds("string", "a", "z".repeat(40)))).toBe(true);
  expect(mayOverlap("string", { min: "é", max: "é" }, bounds("string", "a", "z"))).toBe(false);
  expect(mayOverlap("int", { min: "11", max: "20" }, {})).toBe(true);
});
