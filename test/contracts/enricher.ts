import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import {
  Budget,
  enrichAll,
  type Column,
  type Enriched,
  type Enricher,
  type EnricherDefinition,
  type EnricherInput,
  type Store,
} from "../../src/core/index.ts";
import fileSystem from "../../src/stores/fs/index.ts";
import { collect, errorOf, expectNoLeak, expectNoSecret } from "./support/observe.ts";
import { runContract, type Fixture, type Rules, type Waivers } from "./support/suite.ts";

/** A model or service that can be asked, and inputs for it. */
export interface EnricherSubject extends AsyncDisposable {
  options: Record<string, unknown>;
  /** Options that give other answers: another model, another language. */
  otherOptions?: Record<string, unknown>;
  secrets?: readonly string[];
  wrong?: readonly { what: string; options: Record<string, unknown>; code: string }[];
  /** Columns of the rows that it is given. */
  columns: readonly Column[];
  /** At least three inputs that have answers, no two of them alike. */
  good: readonly EnricherInput[];
  /** Inputs that it must reject with a reason, each without harm to the others. */
  unfit?: readonly EnricherInput[];
  /** How many inputs the model or service itself has been asked about so far. */
  asked(): number;
  /** The next call of the service fails in a way that will pass. */
  fail?(): Promise<void>;
}

export interface EnricherContract {
  name: string;
  definition: EnricherDefinition;
  start(): Promise<EnricherSubject>;
  waivers?: Waivers;
  /** Whether the subject has `fail`. */
  fails?: boolean;
}

/** The hash of a text, as `EnricherInput` wants it. */
export const hashOf = (content: string | Uint8Array): string => createHash("sha256").update(content).digest("hex");

/** Tests that every enricher passes. */
export function enricherContract(contract: EnricherContract): void {
  runContract(contract, "enricher", (rules) => enricherRules(contract, rules));
}

/** The rules themselves, for a run of them outside of a suite. */
export function enricherRules(contract: EnricherContract, { rule, ruleIf }: Rules): Fixture {
  const { capabilities } = contract.definition;
  let subject: EnricherSubject;
  let folder: string;
  let enricher: Enricher;
  let store: Store;
  let caches = 0;
  const open = async (options: Record<string, unknown> = subject.options): Promise<Enricher> => {
    const driver = await contract.definition.load();
    return driver.open(contract.definition.options.parse(options), { connection: contract.name, folder });
  };
  const freshCache = (): { store: Store; folder: string } => ({ store, folder: `cache-${caches++}` });
  const batch = capabilities.maximumBatch;
  const valuesOf = (answers: readonly Enriched[]): unknown[] =>
    answers.map((answer) => ("values" in answer ? answer.values : answer));

  rule("check costs nothing and asks nothing", async () => {
    const before = subject.asked();
    await enricher.check(new AbortController().signal);
    expect(subject.asked()).toBe(before);
    expect((await errorOf(() => enricher.check(AbortSignal.abort()))).code).toBe("aborted");
  });

  rule("it says which columns it adds, and gives a value for each, in the order of the inputs", async () => {
    const added = enricher.columns(subject.columns);
    expect(added.length).toBeGreaterThan(0);
    const names = new Set(subject.columns.map(({ name }) => name));
    expect(added.filter(({ name }) => names.has(name))).toEqual([]);
    expect(enricher.columns(subject.columns)).toEqual(added);
    const answers = await enricher.enrich(subject.good.slice(0, batch), {});
    for (const answer of answers) {
      if (!("values" in answer)) expect.fail(`a good input was rejected: ${answer.rejected}`);
      expect(answer.values).toHaveLength(added.length);
      expect(JSON.parse(JSON.stringify(answer.values))).toEqual(answer.values);
    }
    const { answers: inOrder } = await enrichAll(enricher, subject.good, { batch });
    const { answers: reversed } = await enrichAll(enricher, subject.good.toReversed(), { batch });
    if (capabilities.deterministic) expect(valuesOf(reversed)).toEqual(valuesOf(inOrder).toReversed());
    expect(await enricher.enrich([], {})).toEqual([]);
  });

  ruleIf(
    contract.definition.capabilities.deterministic ? undefined : "answers differ by nature",
    "the same input gives the same answer, also from another handle and in another batch",
    async () => {
      await using other = await open();
      expect(other.model).toBe(enricher.model);
      const { answers } = await enrichAll(enricher, subject.good, { batch });
      for (const [index, input] of subject.good.entries()) {
        expect(valuesOf(await other.enrich([input], {}))).toEqual([valuesOf(answers)[index]]);
      }
    },
  );

  rule("another model or setting has another name, so that its answers are its own", async () => {
    if (subject.otherOptions === undefined) return;
    await using other = await open(subject.otherOptions);
    expect(other.model).not.toBe(enricher.model);
    const cache = freshCache();
    await enrichAll(enricher, subject.good, { batch, cache });
    const before = subject.asked();
    await enrichAll(other, subject.good, { batch, cache });
    expect(subject.asked()).toBe(before + subject.good.length);
  });

  rule("an answer is asked for once, whatever runs again and however often an input is there", async () => {
    const cache = freshCache();
    const before = subject.asked();
    const twice = [...subject.good, ...subject.good];
    const first = await enrichAll(enricher, twice, { batch, cache });
    expect(subject.asked() - before).toBe(subject.good.length);
    expect(first.asked).toBe(subject.good.length);
    await using other = await open();
    const second = await enrichAll(other, twice, { batch, cache });
    expect([second.asked, second.cost, subject.asked() - before]).toEqual([0, 0, subject.good.length]);
    expect(second.answers).toEqual(first.answers);
    expect((await collect(store.list(cache.folder))).length).toBe(subject.good.length);
  });

  rule("an input that is not fit is rejected with a reason, and the others are answered", async () => {
    const mixed = (subject.unfit ?? []).flatMap((input, index) => [input, subject.good[index % subject.good.length]!]);
    const { answers } = await enrichAll(enricher, mixed, { batch });
    for (const [index, answer] of answers.entries()) {
      expect("rejected" in answer).toBe(index % 2 === 0);
      if ("rejected" in answer) expect(answer.rejected).not.toBe("");
    }
  });

  ruleIf(
    capabilities.paid ? undefined : "it costs nothing",
    "the estimate is not below the cost, and a budget is kept to",
    async () => {
      const estimate = enricher.estimate!(subject.good);
      expect(estimate.currency).not.toBe("");
      const { cost } = await enrichAll(enricher, subject.good, { batch });
      expect(cost).toBeGreaterThan(0);
      expect(estimate.cost).toBeGreaterThanOrEqual(cost);
      const cache = freshCache();
      const before = subject.asked();
      const none = await errorOf(() => enrichAll(enricher, subject.good, { batch, cache, budget: new Budget(0) }));
      expect([none.code, subject.asked() - before]).toEqual(["limit", 0]);
      const one = enricher.estimate!(subject.good.slice(0, 1)).cost;
      const some = await errorOf(() => enrichAll(enricher, subject.good, { batch: 1, cache, budget: new Budget(one) }));
      const paid = subject.asked() - before;
      expect([some.code, paid > 0 && paid < subject.good.length]).toEqual(["limit", true]);
      // What was paid for is kept.
      expect((await enrichAll(enricher, subject.good, { batch, cache })).asked).toBe(subject.good.length - paid);
    },
  );

  ruleIf(
    contract.fails ? undefined : "the subject cannot fail",
    "a service that fails loses no answer that was paid for",
    async () => {
      const cache = freshCache();
      await enrichAll(enricher, subject.good.slice(0, 1), { batch: 1, cache });
      await subject.fail!();
      const error = await errorOf(() => enrichAll(enricher, subject.good, { batch: 1, cache }));
      expect(error.temporary).toBe(true);
      expectNoSecret(error, subject.secrets ?? []);
      const { answers, asked } = await enrichAll(enricher, subject.good, { batch: 1, cache });
      expect(asked).toBeLessThan(subject.good.length);
      expect(answers.every((answer) => "values" in answer)).toBe(true);
    },
  );

  rule("a caller that stops it gets `aborted`, and nothing is asked", async () => {
    const before = subject.asked();
    const error = await errorOf(() => enricher.enrich(subject.good.slice(0, batch), { signal: AbortSignal.abort() }));
    expect([error.code, subject.asked()]).toEqual(["aborted", before]);
  });

  rule("a wrong configuration has its code and a hint, and shows no secret", async () => {
    for (const { what, options, code } of subject.wrong ?? []) {
      const error = await errorOf(async () => {
        await using wrong = await open(options);
        await wrong.check();
      });
      expect(`${what}: ${error.code}`).toBe(`${what}: ${code}`);
      expect(error.hint ?? "").not.toBe("");
      expectNoSecret(error, subject.secrets ?? []);
    }
    for (const secret of subject.secrets ?? []) expect(enricher.model).not.toContain(secret);
  });

  rule("nothing stays open once the enricher is closed", async () => {
    await expectNoLeak(async () => {
      await using own = await open();
      await own.check();
      await own.enrich(subject.good.slice(0, 1), {});
      await own.enrich(subject.good.slice(0, 1), { signal: AbortSignal.abort() }).catch(() => undefined);
    });
  });

  return {
    async start() {
      folder = await mkdtemp(join(tmpdir(), "millrace-contract-"));
      store = await (await fileSystem.load()).open({ path: "lake" }, { connection: "lake", folder });
      subject = await contract.start();
      enricher = await open();
    },
    async stop() {
      await enricher[Symbol.asyncDispose]();
      await subject[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
