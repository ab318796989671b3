import { expect } from "vitest";
import { isMillraceError, sameType, type Cursor, type Payload, type Source } from "../../../src/core/index.ts";
import type { SourceBench, SourceRow } from "../source.ts";
import { collect, errorOf, expectNoLeak, expectNoSecret } from "../support/observe.ts";
import { naughtyStrings } from "../support/names.ts";
import type { Rules } from "../support/suite.ts";
import { columnsOf, readRows, rowsOfPart } from "./landing.ts";

const rowsFrom = (from: number, to: number): SourceRow[] =>
  Array.from({ length: to - from }, (_, index) => ({ id: from + index, text: `row ${from + index}` }));
const lines = (rows: readonly SourceRow[]): string[] => rows.map(({ id, text }) => `${id}|${text}`).toSorted();

/** What holds for every source: the rows that are there, each once, from every position, and errors that say what is wrong. */
export function sourceRulesOn(bench: SourceBench, { rule, ruleIf }: Rules): void {
  const { capabilities } = bench.definition;
  const notIncremental = capabilities.incremental ? undefined : "the source keeps no position";
  const forgets = capabilities.replayable ? undefined : "the source forgets what was read";

  const atMost = (count: number): number => Math.min(count, bench.subject.maximumRows ?? count);

  rule("check reaches the system, and moves nothing", async () => {
    await using source = await bench.open();
    await source.check(new AbortController().signal);
    expect((await errorOf(() => source.check(AbortSignal.abort()))).code).toBe("aborted");
  });

  rule("no row, one row and many rows are read, each once", async () => {
    await using source = await bench.open();
    for (const count of [0, 1, atMost(5_000)]) {
      const request = await bench.subject.create(`kit_count_${count}`, rowsFrom(1, count + 1));
      const { plan, rows } = await readRows(bench, source, request);
      expect(rows).toEqual(lines(rowsFrom(1, count + 1)));
      expect(new Set(plan.parts.map(({ id }) => id)).size).toBe(plan.parts.length);
      // Files without a byte do not say what their columns would be.
      const { id, text } = columnsOf(bench);
      if (count > 0) expect(plan.columns.map(({ name }) => name).toSorted()).toEqual([id, text].toSorted());
    }
  });

  ruleIf(forgets, "the same part gives the same records, also to another handle when the first is gone", async () => {
    const request = await bench.subject.create("kit_again", rowsFrom(1, 400));
    const first = await bench.open();
    const plan = await first.plan(request, {});
    expect(plan.parts.length).toBeGreaterThan(0);
    const before: string[][] = [];
    for (const part of plan.parts) before.push(await rowsOfPart(bench, first, plan, part, request));
    await using second = await bench.open();
    for (const gone of [false, true]) {
      if (gone) await first[Symbol.asyncDispose]();
      for (const [index, part] of plan.parts.entries()) {
        const again = await rowsOfPart(bench, second, plan, part, request).catch((error: unknown) => error);
        // A snapshot that nobody holds any more cannot be read again; it must not be another moment.
        if (capabilities.snapshot && isMillraceError(again)) expect(again.code).toBe("conflict");
        else expect(again).toEqual(before[index]);
      }
    }
  });

  rule("columns that were not asked for are not read, and one that is not there is named", async () => {
    await using source = await bench.open();
    const { id, text } = columnsOf(bench);
    const request = { ...(await bench.subject.create("kit_columns", rowsFrom(1, 4))), columns: [id, text] };
    expect((await readRows(bench, source, request)).rows).toEqual(lines(rowsFrom(1, 4)));
    const some = await readRows(bench, source, { ...request, columns: [id] });
    expect([some.plan.columns.map(({ name }) => name), some.rows]).toEqual([[id], ["1", "2", "3"]]);
    // Two letters in the wrong order.
    const typed = text.replace(/(.)(.)$/, "$2$1");
    const error = await errorOf(() => source.plan({ ...request, columns: [id, typed] }, {}));
    expect([error.code, `${error.message} ${error.hint}`.includes(text)]).toEqual(["not-found", true]);
  });

  ruleIf(
    capabilities.discover ? undefined : "the source lists no streams",
    "streams lists each once, with the columns of its plan",
    async () => {
      await using source = await bench.open();
      await bench.subject.create("kit_listed", rowsFrom(1, 3));
      const streams = await collect(source.streams());
      const names = streams.map(({ name }) => name);
      expect(names).toEqual([...new Set(names)]);
      const known = streams.filter(({ columns }) => columns.length > 0);
      const chosen = [...known.slice(0, 5), ...known.filter(({ name }) => name.includes("kit_listed"))];
      expect(chosen.length).toBeGreaterThan(0);
      for (const listed of chosen) {
        const plan = await source.plan({ stream: listed.name }, {});
        expect(plan.columns.map(({ name }) => name)).toEqual(listed.columns.map(({ name }) => name));
        for (const [index, column] of plan.columns.entries()) {
          expect(sameType(column.type, listed.columns[index]!.type)).toBe(true);
        }
      }
      expect((await errorOf(() => collect(source.streams(AbortSignal.abort())))).code).toBe("aborted");
    },
  );

  ruleIf(notIncremental, "from every position that was ever given out, exactly the rest is read", async () => {
    const steps = [rowsFrom(1, 4), rowsFrom(4, 5), [], rowsFrom(5, 300), rowsFrom(300, 301), rowsFrom(301, 303)];
    const request = await bench.subject.create("kit_grows", steps[0]!);
    const cursors: Cursor[] = [];
    for (const [step, rows] of steps.entries()) {
      if (step > 0 && rows.length > 0) await bench.subject.append("kit_grows", rows);
      // A process of its own each time: nothing but the cursor is remembered.
      await using source = await bench.open();
      const { plan, rows: read } = await readRows(bench, source, request, cursors.at(-1));
      expect(read).toEqual(lines(rows));
      if (rows.length === 0) expect(plan.parts).toEqual([]);
      cursors.push(plan.cursor ?? cursors.at(-1)!);
    }
    await using source = await bench.open();
    for (const [step, cursor] of cursors.entries()) {
      const rest = await readRows(bench, source, request, cursor);
      expect(rest.rows).toEqual(lines(steps.slice(step + 1).flat()));
    }
  });

  rule("a caller that stops gets `aborted`, before and in the middle of a read", async () => {
    await using source = await bench.open();
    const request = await bench.subject.create("kit_stopped", rowsFrom(1, atMost(20_000)));
    expect((await errorOf(() => source.plan(request, { signal: AbortSignal.abort() }))).code).toBe("aborted");
    const plan = await source.plan(request, {});
    const part = plan.parts[0]!;
    expect((await errorOf(() => drain(source, AbortSignal.abort()))).code).toBe("aborted");
    const between = new AbortController();
    const early = await source.read(part, request, { signal: between.signal });
    between.abort();
    const first = itemsOf(early)?.[Symbol.asyncIterator]().next();
    if (first !== undefined) expect((await errorOf(async () => await first)).code).toBe("aborted");
    const controller = new AbortController();
    const outcome: unknown = await drain(source, controller.signal, () => controller.abort()).catch(
      (error: unknown) => error,
    );
    // What was on its way already may still arrive whole.
    if (outcome !== undefined) expect(outcome).toMatchObject({ code: "aborted" });
    expect((await rowsOfPart(bench, source, plan, part, request)).length).toBeGreaterThan(0);

    async function drain(from: Source, signal: AbortSignal, onChunk?: () => void): Promise<void> {
      const payload = await from.read(part, request, { signal });
      const items = itemsOf(payload);
      if (items === undefined) return;
      for await (const item of items) {
        expect(item).toBeDefined();
        onChunk?.();
      }
    }
  });

  rule("naughty strings are values and names of streams", async () => {
    const takes = (text: string): boolean => bench.subject.takesText?.(text) ?? true;
    const texts = naughtyStrings().filter(
      (text) => text.isWellFormed() && !text.includes("\0") && text !== "" && takes(text),
    );
    expect(texts.length).toBeGreaterThan(10);
    await using source = await bench.open();
    const values = texts.map((text, index) => ({ id: index + 1, text }));
    const request = await bench.subject.create("kit_values", values);
    expect((await readRows(bench, source, request)).rows).toEqual(lines(values));
    const names = texts.filter((text) => bench.subject.takesName?.(text)).filter((_, index) => index % 15 === 0);
    for (const [index, name] of names.entries()) {
      const rows = [{ id: index, text: `stream ${index}` }];
      expect((await readRows(bench, source, await bench.subject.create(name, rows))).rows).toEqual(lines(rows));
    }
  });

  rule("what is wrong has its code and a hint, and shows no secret", async () => {
    const secrets = bench.subject.secrets ?? [];
    // Where there is nothing, nothing can be forbidden.
    await bench.subject.create("kit_guarded", rowsFrom(1, 2));
    for (const { what, options, code } of bench.subject.wrong ?? []) {
      const error = await errorOf(async () => {
        await using source = await bench.open(options);
        await source.check();
      });
      expect(`${what}: ${error.code}`).toBe(`${what}: ${code}`);
      expect(error.hint ?? "").not.toBe("");
      expectNoSecret(error, secrets);
    }
    const unknown = { ...bench.subject.options, no_such_option: 1 };
    expect(bench.definition.options.safeParse(unknown).success).toBe(false);
    await using source = await bench.open();
    const absent = await errorOf(() => source.plan({ stream: "kit_no_such_stream" }, {}));
    expect(absent.code).toBe("not-found");
    expectNoSecret(absent, secrets);
    if (capabilities.query) return;
    expect((await errorOf(() => source.plan({ query: "select 1" }, {}))).code).toBe("unsupported");
  });

  rule("nothing stays open once the source is closed", async () => {
    const request = await bench.subject.create("kit_leak", rowsFrom(1, atMost(5_000)));
    await expectNoLeak(async () => {
      const source = await bench.open();
      await source.check();
      const plan = await source.plan(request, {});
      await source.plan({ stream: "kit_no_such_stream" }, {}).catch(() => undefined);
      const payload = await source.read(plan.parts[0]!, request, {});
      if (payload.form === "bytes") for await (const chunk of payload.chunks) if (chunk.byteLength > 0) break;
      await source.read(plan.parts[0]!, request, { signal: AbortSignal.abort() }).catch(() => undefined);
      await source[Symbol.asyncDispose]();
    });
  });
}

/** What a payload gives one after the other; undefined for files, which are read by the engine. */
function itemsOf(payload: Payload): AsyncIterable<unknown> | undefined {
  if (payload.form === "files") return undefined;
  return payload.form === "bytes" ? payload.chunks : payload.form === "columns" ? payload.batches : payload.assets;
}
