import { expect, test } from "vitest";
import { referenceRunner, type RunnerDefects } from "./reference/runner.ts";
import { runnerContract, runnerRules } from "./runner.ts";
import { brokenRules } from "./support/suite.ts";

runnerContract(referenceRunner());
runnerContract(referenceRunner(2, {}));

const mutants: [RunnerDefects, string][] = [
  [{ commitsEarly: true }, "nothing is committed before every part is done"],
  [{ forgetsFailures: true }, "a part that cannot be done fails the run, with its reason and without a version"],
  [{ onlySaysCancelled: true }, "cancel stops the parts at work, and nothing is committed"],
  [{ leavesWorkBehind: true }, "closing stops what is at work here and leaves nothing open"],
  [{ neverTakesUp: true }, "a part that fails for a while is tried again, by the runner or by the next submit"],
];

test.each(mutants)("a runner that does wrong is caught: %j", async (defects, rule) => {
  const only = [rule];
  expect(await brokenRules((rules) => runnerRules(referenceRunner(1, {}), rules), only)).toEqual([]);
  expect(await brokenRules((rules) => runnerRules(referenceRunner(1, defects), rules), only)).toEqual([rule]);
});
