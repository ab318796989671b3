import { expect, test } from "vitest";
import { referenceSink, type SinkDefects } from "./reference/sink.ts";
import { sinkContract, sinkRules } from "./sink.ts";
import { brokenRules } from "./support/suite.ts";

sinkContract(referenceSink());

const mutants: [SinkDefects, string][] = [
  [{ truncatesFirst: true }, "while a version is under way, others read the copy before, whole"],
  [{ publishesTwice: true }, "a version is published whole, and the same version again is a no-op"],
  [{ keepsPartial: true }, "a publish whose rows fail at any point leaves the copy before, and can be done again"],
  [{ roundsNumbers: true }, "values of every type are exact, null is null"],
  [{ dropsMissing: true }, "keys are answered in their order, missing ones explicitly, with the version"],
  [{ mixesKeys: true }, "values come back exact, and keys of several columns are not mixed up"],
];

test.each(mutants)("a sink that does wrong is caught: %j", async (defects, rule) => {
  expect(await brokenRules((rules) => sinkRules(referenceSink(defects), rules))).toContain(rule);
});
