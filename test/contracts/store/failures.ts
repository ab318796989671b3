import { expect } from "vitest";
import { isMillraceError, redact } from "../../../src/core/index.ts";
import type { ArmedFault, StoreBench, StoreFaults } from "../store.ts";
import { collect, errorOf, expectNoLeak, expectNoSecret, noise, textBytes, textOf } from "../support/observe.ts";
import type { Rules } from "../support/suite.ts";

/** What goes wrong is said, is never half done, and leaves nothing open. */
export function failureRules(bench: StoreBench, { rule, ruleIf }: Rules): void {
  const lacks = (fault: keyof StoreFaults): string | undefined =>
    bench.contract.faults?.includes(fault) ? undefined : `the subject has no fault ${fault}`;

  /** Runs `work` with the fault armed, and fails when the fault did not strike. */
  const under = async (fault: ArmedFault, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } finally {
      await fault.disarm();
    }
    expect(fault.fired()).toBeGreaterThan(0);
  };
  const outcomeOf = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error);

  ruleIf(
    lacks("loseWriteReply"),
    "a create whose reply was lost is known as our own, or said to be unknown",
    async () => {
      for (const size of [100, 9 * 1024 * 1024]) {
        const path = `lost/create-${size}`;
        await under(await bench.subject.faults!.loseWriteReply!(), async () => {
          const outcome = await outcomeOf(bench.store.write(path, noise(size), { ifAbsent: true }));
          if (isMillraceError(outcome)) expect(outcome.code).toBe("unknown-outcome");
          else expect(outcome).toMatchObject({ path, size });
        });
        expect(Buffer.compare(await bench.other.read(path), noise(size))).toBe(0);
      }
      // The name of somebody else is still theirs.
      await bench.other.write("lost/theirs", textBytes("theirs"));
      const lost = await errorOf(() => bench.store.write("lost/theirs", textBytes("ours"), { ifAbsent: true }));
      expect(lost.code).toBe("already-exists");
    },
  );

  ruleIf(lacks("loseWriteReply"), "a write whose reply was lost is done, or can be done again", async () => {
    await under(await bench.subject.faults!.loseWriteReply!(), async () => {
      const outcome = await outcomeOf(bench.store.write("lost/write", textBytes("bytes")));
      if (isMillraceError(outcome)) expect([outcome.code === "unknown-outcome" || outcome.temporary]).toEqual([true]);
      else expect(outcome).toMatchObject({ path: "lost/write" });
    });
    await bench.store.write("lost/write", textBytes("bytes"));
    expect(textOf(await bench.other.read("lost/write"))).toBe("bytes");
  });

  ruleIf(lacks("refuse"), "a refusal that will pass is waited for, or said to be temporary", async () => {
    await bench.store.write("busy/there", textBytes("there"));
    const calls: (() => Promise<unknown>)[] = [
      () => bench.store.write("busy/new", textBytes("new"), { ifAbsent: true }),
      () => bench.store.read("busy/there"),
      () => collect(bench.store.list("busy")),
      () => bench.store.remove("busy/absent"),
    ];
    for (const call of calls) {
      await under(await bench.subject.faults!.refuse!(2), async () => {
        const outcome = await outcomeOf(call());
        if (outcome instanceof Error) expect(outcome).toMatchObject({ temporary: true });
      });
    }
    expect(textOf(await bench.store.read("busy/there"))).toBe("there");
  });

  ruleIf(lacks("cutRead"), "a body that ends early is never taken for the whole", async () => {
    const bytes = noise(3_000_000);
    await bench.store.write("cut", bytes);
    const reads = [
      (): Promise<Uint8Array> => bench.store.read("cut"),
      async (): Promise<Uint8Array> => {
        await using file = await bench.store.open("cut");
        return await file.read(0, file.size);
      },
    ];
    for (const read of reads) {
      await under(await bench.subject.faults!.cutRead!(), async () => {
        const outcome = await outcomeOf(read());
        if (outcome instanceof Uint8Array) expect(Buffer.compare(outcome, bytes)).toBe(0);
        else expect(isMillraceError(outcome) && (outcome.temporary || outcome.code === "corrupt")).toBe(true);
      });
      expect(Buffer.compare(await read(), bytes)).toBe(0);
    }
  });

  ruleIf(lacks("ignoreConditions"), "a medium that lets two creates succeed is refused", async () => {
    await under(await bench.subject.faults!.ignoreConditions!(), async () => {
      const error = await errorOf(() => bench.store.check());
      expect(error.code).toBe("unsupported");
      expect(error.hint ?? "").not.toBe("");
    });
    await bench.store.check();
  });

  rule("a wrong configuration has its code and a hint, and shows no secret", async () => {
    const secrets = bench.subject.secrets ?? [];
    for (const { what, options, code } of bench.subject.wrong ?? []) {
      const error = await errorOf(async () => {
        await using store = await bench.open(options);
        await store.check();
      });
      expect(`${what}: ${error.code}`).toBe(`${what}: ${code}`);
      expect(error.hint ?? "").not.toBe("");
      expectNoSecret(error, secrets);
    }
    expectNoSecret(await errorOf(() => bench.store.read("no/such/object")), secrets);
    for (const secret of secrets) {
      expect(bench.store.url + bench.store.uri("a")).not.toContain(secret);
      expect(redact(JSON.stringify(await collect(bench.store.list("sizes"))))).not.toContain(secret);
    }
    expect(bench.contract.definition.options.safeParse({ ...bench.subject.options, no_such_option: 1 }).success).toBe(
      false,
    );
  });

  rule("nothing stays open once the store is closed", async () => {
    await expectNoLeak(async () => {
      const store = await bench.open();
      await store.check();
      await store.write("leak/a", noise(300_000));
      await store.write("leak/b", textBytes("b"), { durable: false });
      await outcomeOf(store.write("leak/a", textBytes("x"), { ifAbsent: true }));
      await outcomeOf(store.read("leak/absent"));
      await outcomeOf(store.open("leak/absent"));
      await outcomeOf(store.adopt("/no/such/file", "leak/c"));
      for await (const entry of store.list("")) {
        expect(entry.path).not.toBe("");
        break;
      }
      {
        await using file = await store.open("leak/a");
        await file.read(10, 10);
        await outcomeOf(file.read(0, 10_000_000));
        await outcomeOf(file.read(0, 100_000, AbortSignal.abort()));
      }
      await store[Symbol.asyncDispose]();
    });
  });
}
