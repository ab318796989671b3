import { describe, expect, test } from "vitest";

/** Rules that are known not to hold, and why. They run expecting failure: once mended, the waiver must go. */
export type Waivers = Readonly<Record<string, string>>;

export interface Rules {
  /** One promise of the contract. */
  rule: (what: string, work: () => Promise<void>) => void;
  /** The same, unless `reason` is given: then the rule is reported as skipped, with the reason in its name. */
  ruleIf: (reason: string | undefined, what: string, work: () => Promise<void>) => void;
}

/**
 * A suite named `<module>: <kind> contract`. A waiver that names no rule fails, so that none outlives what it excuses.
 * The names are what the report of a test run is made of; see `reporter.ts`.
 */
export function contractSuite(name: string, kind: string, waivers: Waivers, define: (rules: Rules) => void): void {
  describe(`${name}: ${kind} contract`, () => {
    const known = new Set<string>();
    const ruleIf: Rules["ruleIf"] = (reason, what, work) => {
      if (known.has(what)) throw new Error(`two rules of the ${kind} contract are named "${what}"`);
      known.add(what);
      if (reason !== undefined) test.skip(`${what} (skipped: ${reason})`, work);
      else if (Object.hasOwn(waivers, what)) test.fails(`${what} (waived: ${waivers[what]})`, work);
      else test(what, work);
    };
    define({ ruleIf, rule: (what, work) => ruleIf(undefined, what, work) });
    test("every waiver names a rule", () => {
      expect(Object.keys(waivers).filter((what) => !known.has(what))).toEqual([]);
    });
  });
}
