import { afterAll, beforeAll, describe, expect, test } from "vitest";

/** Rules that are known not to hold, and why. They run expecting failure: once mended, the waiver must go. */
export type Waivers = Readonly<Record<string, string>>;

/** What the rules of a contract need to have running. */
export interface Fixture {
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface Rules {
  /** One promise of the contract. */
  rule: (what: string, work: () => Promise<void>) => void;
  /** The same, unless `reason` is given: then the rule is reported as skipped, with the reason in its name. */
  ruleIf: (reason: string | undefined, what: string, work: () => Promise<void>) => void;
}

/**
 * A suite named `<module>: <kind> contract`. A waiver that names no rule fails, so that none outlives what it excuses.
 * The names are what the report at the end of a test run is made of.
 */
export function runContract(
  contract: { name: string; waivers?: Waivers; unsteady?: Waivers },
  kind: string,
  define: (rules: Rules) => Fixture,
): void {
  const { name, waivers = {}, unsteady = {} } = contract;
  describe(`${name}: ${kind} contract`, () => {
    const known = new Set<string>();
    const fixture = define(
      rulesBy((what, work, reason) => {
        if (known.has(what)) throw new Error(`two rules of the ${kind} contract are named "${what}"`);
        known.add(what);
        const skipped = reason ?? (Object.hasOwn(unsteady, what) ? unsteady[what] : undefined);
        if (skipped !== undefined) test.skip(`${what} (skipped: ${skipped})`, work);
        else if (Object.hasOwn(waivers, what)) test.fails(`${what} (waived: ${waivers[what]})`, work);
        else test(what, work);
      }),
    );
    beforeAll(() => fixture.start());
    afterAll(() => fixture.stop());
    test("every waiver names a rule", () => {
      expect(Object.keys({ ...waivers, ...unsteady }).filter((what) => !known.has(what))).toEqual([]);
    });
  });
}

/**
 * The rules that a module breaks, by name: what a deliberately broken one must be caught by. Runs them outside of any suite,
 * those alone whose name contains one of `only` when that is given.
 */
export async function brokenRules(define: (rules: Rules) => Fixture, only?: readonly string[]): Promise<string[]> {
  const chosen: { what: string; work: () => Promise<void> }[] = [];
  const fixture = define(
    rulesBy((what, work, reason) => {
      const isWanted = only === undefined || only.some((text) => what.includes(text));
      if (reason === undefined && isWanted) chosen.push({ what, work });
    }),
  );
  const broken: string[] = [];
  await fixture.start();
  try {
    for (const { what, work } of chosen) await work().catch(() => broken.push(what));
  } finally {
    await fixture.stop();
  }
  return broken;
}

function rulesBy(add: (what: string, work: () => Promise<void>, reason: string | undefined) => void): Rules {
  return {
    rule: (what, work) => add(what, work, undefined),
    ruleIf: (reason, what, work) => add(what, work, reason),
  };
}
