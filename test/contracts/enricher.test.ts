import { expect, test } from "vitest";
import { enricherContract, enricherRules } from "./enricher.ts";
import { referenceEnricher, type EnricherDefects } from "./reference/enricher.ts";
import { brokenRules } from "./support/suite.ts";

enricherContract(referenceEnricher());

const mutants: [EnricherDefects, string][] = [
  [{ namesTooLittle: true }, "another model or setting has another name, so that its answers are its own"],
  [{ losesOrder: true }, "it says which columns it adds, and gives a value for each, in the order of the inputs"],
  [{ failsWhole: true }, "an input that is not fit is rejected with a reason, and the others are answered"],
  [{ estimatesTooLittle: true }, "the estimate is not below the cost, and a budget is kept to"],
  [{ spendsOnCheck: true }, "check costs nothing and asks nothing"],
  [{ ignoresAbort: true }, "a caller that stops it gets `aborted`, and nothing is asked"],
];

test.each(mutants)("an enricher that does wrong is caught: %j", async (defects, rule) => {
  expect(await brokenRules((rules) => enricherRules(referenceEnricher(defects), rules))).toContain(rule);
});
