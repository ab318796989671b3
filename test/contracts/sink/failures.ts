import { expect } from "vitest";
import { isMillraceError } from "../../../src/core/index.ts";
import type { SinkBench } from "../sink.ts";
import { allOf, errorOf, expectNoLeak, expectNoSecret } from "../support/observe.ts";
import type { Rules } from "../support/suite.ts";
import { versionOf } from "../support/versions.ts";
import { columns, expectCopy, lines, plain, replace, rowsOf, seen } from "./rows.ts";

/** 450 rows in chunks of 100: five chunks, and the end. */
const chunksInAll = 5;

/** Whatever ends a publish, readers have the copy before or the copy after. */
export function failureRules(bench: SinkBench, { rule, ruleIf }: Rules): void {
  const { atomic } = bench.contract.definition.capabilities;
  const torn = atomic ? undefined : "the sink says that readers may see parts of both";
  const after = rowsOf(100, 550, 2);

  rule("a publish whose rows fail at any point leaves the copy before, and can be done again", async () => {
    for (let at = 0; at <= chunksInAll; at++) {
      const target = `failing_${at}`;
      await replace(bench, target, plain(1));
      let fired = 0;
      const failing = versionOf({
        version: 2,
        columns,
        rows: after,
        before(chunk) {
          if (chunk !== at) return;
          fired++;
          throw new Error("the rows ended with an error");
        },
      });
      const outcome: unknown = await replace(bench, target, failing).catch((error: unknown) => error);
      expect(outcome).toBeInstanceOf(Error);
      expect(fired).toBeGreaterThan(0);
      if (atomic) await expectCopy(bench, target, rowsOf(0, 250, 1));
      expect(await replace(bench, target, plain(2, after))).toMatchObject({ status: "published", rows: 450 });
      await expectCopy(bench, target, after);
    }
  });

  rule("a publish that the caller stops ends with `aborted` and leaves the copy before", async () => {
    await replace(bench, "stopped", plain(1));
    const controller = new AbortController();
    const stopping = versionOf({
      version: 2,
      columns,
      rows: after,
      before: (chunk) => void (chunk === 2 && controller.abort()),
    });
    const request = { target: "stopped", mode: "replace", key: ["id"], signal: controller.signal } as const;
    expect((await errorOf(() => bench.sink.publish(stopping, request))).code).toBe("aborted");
    if (atomic) await expectCopy(bench, "stopped", rowsOf(0, 250, 1));
    await replace(bench, "stopped", plain(2, after));
    await expectCopy(bench, "stopped", after);
  });

  ruleIf(torn, "while a version is under way, others read the copy before, whole", async () => {
    await replace(bench, "watched", plain(1));
    const views: (string[] | undefined)[] = [];
    const watched = versionOf({
      version: 2,
      columns,
      rows: after,
      before: async () => void views.push(await seen(bench, "watched")),
    });
    await replace(bench, "watched", watched);
    expect(views.length).toBeGreaterThan(chunksInAll);
    const [before, now] = [lines(rowsOf(0, 250, 1)), lines(after)];
    for (const view of views) expect(view).toEqual(before);
    expect(await seen(bench, "watched")).toEqual(now);
  });

  ruleIf(torn, "a reader that never stops looking sees one version or the other", async () => {
    await replace(bench, "looked_at", plain(1));
    const allowed = new Set([lines(rowsOf(0, 250, 1)).join("\n"), lines(after).join("\n")]);
    const publishing = { now: true };
    let looks = 0;
    const looking = (async () => {
      while (publishing.now) {
        expect(allowed.has((await seen(bench, "looked_at"))?.join("\n") ?? "nothing")).toBe(true);
        looks++;
      }
    })();
    const published = replace(bench, "looked_at", plain(2, after)).finally(() => (publishing.now = false));
    await allOf(published, looking);
    expect(looks).toBeGreaterThan(0);
  });

  rule("two publishes at once leave one of the two versions, whole", async () => {
    await replace(bench, "raced", plain(1));
    await using other = await bench.open();
    const versions = [rowsOf(0, 300, 2), rowsOf(150, 450, 3)];
    const outcomes = await Promise.allSettled(
      versions.map((rows, index) =>
        (index === 0 ? bench.sink : other).publish(plain(index + 2, rows), {
          target: "raced",
          mode: "replace",
          key: ["id"],
        }),
      ),
    );
    for (const outcome of outcomes) {
      if (outcome.status === "rejected") expect(isMillraceError(outcome.reason)).toBe(true);
    }
    const won = versions
      .filter((_, index) => outcomes[index]!.status === "fulfilled")
      .map((rows) => lines(rows).join("\n"));
    expect(won).toContain((await seen(bench, "raced"))!.join("\n"));
  });

  ruleIf(
    bench.contract.cuts ? undefined : "the subject cannot cut",
    "a connection that is cut at any request leaves old or new",
    async () => {
      let fired = 0;
      for (const requests of [0, 1, 2, 3, 5, 8]) {
        const target = `cut_${requests}`;
        await replace(bench, target, plain(1));
        const fault = await bench.subject.cut!(requests);
        const outcome: unknown = await replace(bench, target, plain(2, after)).catch((error: unknown) => error);
        await fault.disarm();
        fired += fault.fired();
        if (isMillraceError(outcome)) {
          expect(outcome.temporary || outcome.code === "unknown-outcome").toBe(true);
          if (atomic) expect([lines(rowsOf(0, 250, 1)), lines(after)]).toContainEqual(await seen(bench, target));
        }
        await replace(bench, target, plain(2, after));
        await expectCopy(bench, target, after);
      }
      expect(fired).toBeGreaterThan(1);
    },
  );

  rule("a wrong configuration has its code and a hint, and shows no secret", async () => {
    for (const { what, options, code } of bench.subject.wrong ?? []) {
      const error = await errorOf(async () => {
        await using sink = await bench.open(options);
        await sink.check();
      });
      expect(`${what}: ${error.code}`).toBe(`${what}: ${code}`);
      expect(error.hint ?? "").not.toBe("");
      expectNoSecret(error, bench.subject.secrets ?? []);
    }
    const unknown = { ...bench.subject.options, no_such_option: 1 };
    expect(bench.contract.definition.options.safeParse(unknown).success).toBe(false);
  });

  rule("nothing stays open once the sink is closed", async () => {
    let version = 10;
    await expectNoLeak(async () => {
      const sink = await bench.open();
      await sink.check();
      await sink.publish(plain(++version), { target: "leak", mode: "replace", key: ["id"] });
      const failing = versionOf({
        version: 1000,
        columns,
        rows: after,
        before: (chunk) => {
          if (chunk === 3) throw new Error("the rows ended with an error");
        },
      });
      await sink.publish(failing, { target: "leak", mode: "replace", key: ["id"] }).catch(() => undefined);
      await sink[Symbol.asyncDispose]();
    });
  });
}
