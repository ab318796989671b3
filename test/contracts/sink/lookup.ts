import { expect } from "vitest";
import type { Column } from "../../../src/core/index.ts";
import type { SinkBench } from "../sink.ts";
import { allOf, errorOf } from "../support/observe.ts";
import { naughtyStrings } from "../support/names.ts";
import type { Rules } from "../support/suite.ts";
import { versionOf, type TextRow } from "../support/versions.ts";
import { plain, replace, rowsOf } from "./rows.ts";

/** Rows by key, exact, in the order asked for, with the version that they are of. */
export function lookupRules(bench: SinkBench, { ruleIf }: Rules): void {
  const none = bench.contract.definition.capabilities.lookup ? undefined : "the sink serves no lookups";
  const get = (target: string, keys: (string | bigint)[][], columns?: string[]) =>
    bench.sink.get!({ target, keys, ...(columns ? { columns } : {}) });

  ruleIf(none, "keys are answered in their order, missing ones explicitly, with the version", async () => {
    await replace(bench, "lookup", plain(1));
    const reply = await get("lookup", [[7n], [99_999n], [0n], [7n], [-1n]]);
    expect(reply.version).toBe(1);
    expect(reply.rows).toEqual([
      { id: 7n, text: "v1 row 7" },
      undefined,
      { id: 0n, text: "v1 row 0" },
      { id: 7n, text: "v1 row 7" },
      undefined,
    ]);
    expect((await get("lookup", [[3n]], ["text"])).rows).toEqual([{ text: "v1 row 3" }]);
    expect((await get("lookup", [])).rows).toEqual([]);
    const all = await get(
      "lookup",
      Array.from({ length: 250 }, (_, id) => [BigInt(id)]),
    );
    expect(all.rows.map((row) => row?.["id"])).toEqual(Array.from({ length: 250 }, (_, id) => BigInt(id)));
    await replace(bench, "lookup", plain(2, rowsOf(7, 9, 2)));
    expect(await get("lookup", [[7n], [0n]])).toEqual({ version: 2, rows: [{ id: 7n, text: "v2 row 7" }, undefined] });
    expect((await errorOf(() => get("never_published", [[1n]]))).code).toBe("not-found");
  });

  ruleIf(none, "all rows of one answer are of one version, also while another is published", async () => {
    await replace(bench, "steady", plain(1));
    const publishing = { now: true };
    let answers = 0;
    const asking = (async () => {
      do {
        const { version, rows } = await get(
          "steady",
          Array.from({ length: 50 }, (_, id) => [BigInt(id)]),
        );
        expect(rows.filter((row) => !(row?.["text"] as string | undefined)?.startsWith(`v${version} `))).toEqual([]);
        answers++;
      } while (publishing.now);
    })();
    const publish = async (): Promise<void> => {
      for (let version = 2; version <= 5; version++) await replace(bench, "steady", plain(version));
    };
    await allOf(
      publish().finally(() => (publishing.now = false)),
      asking,
    );
    expect(answers).toBeGreaterThan(0);
  });

  ruleIf(none, "values come back exact, and keys of several columns are not mixed up", async () => {
    const columns: Column[] = [
      { name: "a", type: "string" },
      { name: "b", type: "string" },
      { name: "n", type: "long" },
      { name: "d", type: "decimal(38,10)" },
      { name: "x", type: "double" },
      { name: "f", type: "boolean" },
    ];
    const rows: TextRow[] = [
      ["a", "bc", "9007199254740993", "1234567890123456789012345678.0123456789", "0.1", "true"],
      ["ab", "c", "-9223372036854775808", null, null, null],
      ["a:b", "c", "1", "0.0000000001", "5e-324", "false"],
      ["a", "b:c", "2", "2.0000000000", "2", "false"],
    ];
    const version = versionOf({ version: 1, columns, rows });
    await bench.sink.publish(version, { target: "composite", mode: "replace", key: ["a", "b"] });
    const reply = await get("composite", [
      ["ab", "c"],
      ["a", "bc"],
      ["a:b", "c"],
      ["a", "b:c"],
      ["abc", ""],
      ["a", "b"],
    ]);
    expect(reply.rows[0]).toEqual({ a: "ab", b: "c", n: -9223372036854775808n, d: null, x: null, f: null });
    expect(reply.rows[1]).toMatchObject({ n: 9007199254740993n, d: rows[0]![3], x: 0.1, f: true });
    expect(reply.rows.slice(2).map((row) => row?.["n"])).toEqual([1n, 2n, undefined, undefined]);
  });

  ruleIf(none, "naughty strings are keys", async () => {
    const keys = [...new Set(naughtyStrings())].filter(
      (text) => text.isWellFormed() && !text.includes("\0") && text !== "",
    );
    const columns: Column[] = [
      { name: "key", type: "string" },
      { name: "n", type: "long" },
    ];
    const version = versionOf({ version: 1, columns, rows: keys.map((key, index): TextRow => [key, String(index)]) });
    await bench.sink.publish(version, { target: "naughty_keys", mode: "replace", key: ["key"] });
    const { rows } = await get(
      "naughty_keys",
      keys.map((key) => [key]),
    );
    expect(rows.map((row) => row?.["n"])).toEqual(keys.map((_, index) => BigInt(index)));
  });
}
