import { expect } from "vitest";
import { MillraceError, type RunStatus, type Runner } from "../../../src/core/index.ts";
import type { RunnerBench } from "../runner.ts";
import { errorOf, expectNoLeak, until } from "../support/observe.ts";
import type { Rules } from "../support/suite.ts";
import type { Run } from "./cluster.ts";

/** A promise that others wait for. */
function gate(): { open: () => void; opened: Promise<void> } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open, opened };
}

/** Waits until the gate is open, or the runner gives the part up. */
async function hold(opened: Promise<void>, signal: AbortSignal): Promise<void> {
  await Promise.race([opened, stop(signal)]);
}

/** Waits until the runner gives the part up. */
async function stop(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

async function ended(runner: Runner, run: Run): Promise<RunStatus> {
  let status = await runner.status(run.id);
  const isOver = async (): Promise<boolean> => {
    status = await runner.status(run.id);
    return ["done", "failed", "cancelled"].includes(status.state);
  };
  await until(isOver, "the end of the run");
  return status;
}

/** The run is one version with each part once. */
async function expectOneVersion(run: Run): Promise<void> {
  const dataset = await run.dataset();
  expect(dataset.versions().map(({ rows }) => rows)).toEqual([run.parts.length]);
}

async function expectNoVersion(run: Run): Promise<void> {
  expect((await run.dataset()).versions()).toEqual([]);
}

/** Each part at least once, then one version; whatever the runner forgets, repeats or is told to stop. */
export function runnerRulesOn(bench: RunnerBench, { rule }: Rules): void {
  rule("check passes", async () => {
    const run = await bench.cluster.run();
    await using runner = await bench.open(run.work);
    await runner.check(new AbortController().signal);
    expect((await errorOf(() => runner.check(AbortSignal.abort()))).code).toBe("aborted");
    expect(run.attempts.size).toBe(0);
  });

  rule("a run is done part by part and becomes one version", async () => {
    const run = await bench.cluster.run();
    await using runner = await bench.open(run.work);
    expect(await runner.status(run.id)).toMatchObject({ state: "unknown" });
    await runner.submit(run.id);
    expect(await ended(runner, run)).toMatchObject({ state: "done", done: 10, parts: 10 });
    expect([...run.attempts.keys()].toSorted()).toEqual(run.parts.toSorted());
    await expectOneVersion(run);
  });

  rule("a run that is submitted again and again, at once and later, is one version", async () => {
    const started = gate();
    const go = gate();
    const run = await bench.cluster.run(async (_, __, signal) => {
      started.open();
      await hold(go.opened, signal);
    });
    await using runner = await bench.open(run.work);
    await Promise.all([runner.submit(run.id), runner.submit(run.id), runner.submit(run.id)]);
    await started.opened;
    await runner.submit(run.id);
    expect((await runner.status(run.id)).state).toBe("running");
    go.open();
    expect((await ended(runner, run)).state).toBe("done");
    await runner.submit(run.id);
    expect((await ended(runner, run)).state).toBe("done");
    await expectOneVersion(run);
  });

  rule("two schedulers that know nothing of each other make one version", async () => {
    const run = await bench.cluster.run();
    await using first = await bench.open(run.work);
    await using second = await bench.open(run.work);
    await Promise.all([first.submit(run.id), second.submit(run.id)]);
    for (const runner of [first, second]) expect((await ended(runner, run)).state).toBe("done");
    await expectOneVersion(run);
  });

  rule("nothing is committed before every part is done", async () => {
    const go = gate();
    const started = new Set<string>();
    const run = await bench.cluster.run(async (part, _, signal) => {
      started.add(part);
      if (started.size === 10) await hold(go.opened, signal);
    });
    await using runner = await bench.open(run.work);
    await runner.submit(run.id);
    await until(async () => started.size === 10 && (await runner.status(run.id)).done === 9, "the last part");
    expect((await runner.status(run.id)).state).toBe("running");
    expect(run.commits()).toBe(0);
    await expectNoVersion(run);
    go.open();
    expect((await ended(runner, run)).state).toBe("done");
    await expectOneVersion(run);
  });

  rule("a part that fails for a while is tried again, by the runner or by the next submit", async () => {
    let failures = 0;
    const run = await bench.cluster.run((part, attempt) => {
      if (!["part-3", "part-7"].includes(part) || attempt > 2) return;
      failures++;
      throw new MillraceError("unreachable", "the source is away", { temporary: true });
    });
    await using runner = await bench.open(run.work);
    for (let submits = 0; submits < 5; submits++) {
      await runner.submit(run.id);
      const { state } = await ended(runner, run);
      if (state === "done") break;
      expect(state).toBe("failed");
      await expectNoVersion(run);
    }
    expect(failures).toBe(4);
    expect((await runner.status(run.id)).state).toBe("done");
    await expectOneVersion(run);
  });

  rule("a part that cannot be done fails the run, with its reason and without a version", async () => {
    const run = await bench.cluster.run((part) => {
      if (part === "part-4") throw new MillraceError("value", "a value of `part-4` has no place");
    });
    await using runner = await bench.open(run.work);
    await runner.submit(run.id);
    const status = await ended(runner, run);
    expect(status.state).toBe("failed");
    expect(status.message).toContain("a value of `part-4` has no place");
    expect(run.attempts.get("part-4")).toBeLessThan(5);
    await expectNoVersion(run);
    await until(() => run.active() === 0, "the other parts");
  });

  rule("cancel stops the parts at work, and nothing is committed", async () => {
    const started = gate();
    let stopped = 0;
    const run = await bench.cluster.run(async (_, __, signal) => {
      started.open();
      await stop(signal);
      stopped++;
    });
    await using runner = await bench.open(run.work);
    await runner.submit(run.id);
    await started.opened;
    await runner.cancel(run.id, "no longer wanted");
    expect(run.active()).toBe(0);
    expect(stopped).toBeGreaterThan(0);
    expect(await ended(runner, run)).toMatchObject({
      state: "cancelled",
      message: expect.stringContaining("no longer wanted"),
    });
    await expectNoVersion(run);
    // The store knows as well: whoever comes later does not commit it either.
    expect((await errorOf(() => run.work.commit(run.id, new AbortController().signal))).message).toContain("cancelled");
    await runner.cancel(run.id, "again");
    await runner.cancel("never submitted", "never was");
  });

  rule("a scheduler that loses its state in the middle loses nothing", async () => {
    const reached = gate();
    let held = true;
    const run = await bench.cluster.run(async (part, _, signal) => {
      if (!held || part !== "part-5") return;
      reached.open();
      await stop(signal);
    });
    {
      await using runner = await bench.open(run.work);
      await runner.submit(run.id);
      await reached.opened;
      held = false;
      await bench.subject.forget?.();
    }
    await using anew = await bench.open(run.work);
    await anew.submit(run.id);
    expect((await ended(anew, run)).state).toBe("done");
    await expectOneVersion(run);
  });

  rule("closing stops what is at work here and leaves nothing open", async () => {
    await expectNoLeak(async () => {
      const started = gate();
      const run = await bench.cluster.run(async (_, __, signal) => {
        started.open();
        await stop(signal);
      });
      const runner = await bench.open(run.work);
      await runner.submit(run.id);
      await started.opened;
      await runner[Symbol.asyncDispose]();
      expect(run.active()).toBe(0);
      await expectNoVersion(run);
    });
  });
}
