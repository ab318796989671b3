import { expect } from "vitest";
import { isMillraceError, type Column } from "../../../src/core/index.ts";
import type { SinkBench } from "../sink.ts";
import { errorOf } from "../support/observe.ts";
import { naughtyStrings } from "../support/names.ts";
import type { Rules } from "../support/suite.ts";
import { versionOf, type TextRow } from "../support/versions.ts";
import { columns, expectCopy, plain, replace, rowsOf, seen } from "./rows.ts";

/** Of each type the values at which a copy goes wrong. */
const types: [Column["type"], (string | null)[]][] = [
  ["long", ["0", "9007199254740993", "-9223372036854775808", "9223372036854775807", null]],
  ["int", ["-2147483648", "2147483647", "0", null, "1"]],
  ["decimal(38,10)", ["1234567890123456789012345678.0123456789", "-0.0000000001", "0.0000000000", null, "9007199254740993.0000000001"]],
  ["double", ["0.1", "5e-324", "1.7976931348623157e308", "-2.5", null]],
  ["boolean", ["true", "false", null, "true", "false"]],
  ["string", ["", "NULL", null, "naïve \u{1F469}‍\u{1F467}", 'quote " and \\ and \t\n']],
  ["date", ["2024-02-29", "1969-12-31", "0001-01-01", "9999-12-31", null]],
  ["timestamp", ["2024-05-06 07:08:09.123456", "1969-12-31 23:59:59.999999", null, "1970-01-01 00:00:00", "9999-12-31 23:59:59"]],
]; // prettier-ignore

/** The copy is the version: every row once, every value exact, the same version once. */
export function publishRules(bench: SinkBench, { rule, ruleIf }: Rules): void {
  const cannotMerge = bench.contract.definition.capabilities.merge ? undefined : "the sink cannot merge";

  rule("check passes and publishes nothing", async () => {
    await bench.sink.check(new AbortController().signal);
    expect((await errorOf(() => bench.sink.check(AbortSignal.abort()))).code).toBe("aborted");
  });

  rule("a version is published whole, and the same version again is a no-op", async () => {
    expect(await replace(bench, "twice", plain(1))).toEqual({ status: "published", rows: 250 });
    await expectCopy(bench, "twice", rowsOf(0, 250, 1));
    let asked = 0;
    const again = versionOf({ version: 1, columns, rows: rowsOf(0, 250, 1), before: () => void asked++ });
    expect(await replace(bench, "twice", again)).toEqual({ status: "unchanged", rows: 0 });
    expect(asked).toBe(0);
    await using other = await bench.open();
    const request = { target: "twice", mode: "replace", key: ["id"] } as const;
    expect(await other.publish(plain(1), request)).toMatchObject({ status: "unchanged" });
    await expectCopy(bench, "twice", rowsOf(0, 250, 1));
    // The same number of another dataset is another version.
    const foreign = versionOf({ dataset: "another", version: 1, columns, rows: rowsOf(5, 9, 1) });
    expect(await replace(bench, "twice", foreign)).toMatchObject({ status: "published" });
    await expectCopy(bench, "twice", rowsOf(5, 9, 1));
  });

  rule("replace leaves nothing of the version before, nor does an empty version", async () => {
    await replace(bench, "replaced", plain(1));
    await replace(bench, "replaced", plain(2, rowsOf(200, 300, 2)));
    await expectCopy(bench, "replaced", rowsOf(200, 300, 2));
    expect(await replace(bench, "replaced", plain(3, []))).toEqual({ status: "published", rows: 0 });
    expect((await seen(bench, "replaced")) ?? []).toEqual([]);
    await replace(bench, "replaced", plain(4, rowsOf(7, 8, 4)));
    await expectCopy(bench, "replaced", rowsOf(7, 8, 4));
  });

  ruleIf(cannotMerge, "merge replaces by key and keeps the others", async () => {
    const merge = (version: number, rows: TextRow[]): Promise<unknown> =>
      bench.sink.publish(plain(version, rows), { target: "merged", mode: "merge", key: ["id"] });
    await merge(1, rowsOf(0, 250, 1));
    await merge(2, rowsOf(200, 300, 2));
    const expected = [...rowsOf(0, 200, 1), ...rowsOf(200, 300, 2)];
    await expectCopy(bench, "merged", expected);
    expect(await merge(2, rowsOf(200, 300, 2))).toMatchObject({ status: "unchanged" });
    await expectCopy(bench, "merged", expected);
    const error = await errorOf(() => bench.sink.publish(plain(3), { target: "merged", mode: "merge", key: [] }));
    expect(["usage", "config"]).toContain(error.code);
  });

  rule("targets do not touch each other", async () => {
    await replace(bench, "apart", plain(1, rowsOf(0, 3, 1)));
    await replace(bench, "apart_two", plain(1, rowsOf(3, 5, 1)));
    await replace(bench, "apart", plain(2, rowsOf(9, 10, 2)));
    await expectCopy(bench, "apart_two", rowsOf(3, 5, 1));
  });

  rule("values of every type are exact, null is null", async () => {
    const typed: Column[] = [
      { name: "id", type: "long" },
      ...types.map(([type], index): Column => ({ name: `c${index}`, type })),
    ];
    const rows = [0, 1, 2, 3, 4].map((index): TextRow => [String(index), ...types.map(([, values]) => values[index]!)]);
    await replace(bench, "types", versionOf({ version: 1, columns: typed, rows }));
    const found = (await bench.subject.rows("types"))!.toSorted(
      (left, right) => Number(left["id"]) - Number(right["id"]),
    );
    for (const [column, [type, values]] of types.entries()) {
      const texts = found.map((row) => row[`c${column}`] ?? null);
      const isNumber = type === "double";
      expect([type, texts.map((text) => (isNumber && text !== null ? Number(text) : text))]).toEqual([
        type,
        values.map((text) => (isNumber && text !== null ? Number(text) : text)),
      ]);
    }
  });

  rule("naughty strings are values, keys, columns and targets, or are refused with a code", async () => {
    const naughty = naughtyStrings().filter((text) => text.isWellFormed() && !text.includes("\0"));
    const named: Column[] = [
      { name: "key", type: "string" },
      { name: "value", type: "string" },
    ];
    const unique = [...new Set(naughty)].filter((text) => text !== "");
    const version = versionOf({ version: 1, columns: named, rows: unique.map((text): TextRow => [text, text]) });
    await bench.sink.publish(version, { target: "naughty", mode: "replace", key: ["key"] });
    expect(await seen(bench, "naughty", ["key", "value"])).toEqual(unique.map((text) => `${text}|${text}`).toSorted());

    await replace(bench, "sentinel", plain(1, rowsOf(0, 1, 1)));
    const some = unique.filter((text, index) => index % 12 === 0 && Buffer.byteLength(text) <= 60);
    let kept = 0;
    for (const text of some) {
      const odd = versionOf({
        version: 1,
        columns: [columns[0]!, { name: text, type: "string" }],
        rows: [["1", text]],
      });
      for (const [target, what] of [
        [`t ${text}`, odd],
        [`c${some.indexOf(text)}`, odd],
      ] as const) {
        const outcome: unknown = await replace(bench, target, what).catch((error: unknown) => error);
        if (isMillraceError(outcome)) {
          expect(["usage", "config", "schema", "limit", "unsupported"]).toContain(outcome.code);
          continue;
        }
        expect(await seen(bench, target, ["id", text])).toEqual([`1|${text}`]);
        kept++;
      }
    }
    expect(kept).toBeGreaterThan(some.length / 2);
    await expectCopy(bench, "sentinel", rowsOf(0, 1, 1));
  });
}
