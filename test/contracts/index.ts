/**
 * What every module of Millrace passes, for modules of your own: `import { sourceContract } from "millrace/testing"` in a
 * test file of vitest, and give it the definition and a running system. See README.md beside this file.
 */
export { checkContract, checkRules, type CheckContract } from "./check.ts";
export { enricherContract, enricherRules, hashOf, type EnricherContract, type EnricherSubject } from "./enricher.ts";
export { formatContract, formatRules, type FormatContract } from "./format.ts";
export { runnerContract, runnerRules, type RunnerContract, type RunnerSubject } from "./runner.ts";
export { sinkContract, sinkRules, type SinkContract, type SinkSubject } from "./sink.ts";
export { sourceContract, sourceRules, type SourceContract, type SourceRow, type SourceSubject } from "./source.ts";
export {
  sqlSourceContract,
  sqlSourceRules,
  type SqlSourceContract,
  type SqlSubject,
  type TypeCase,
} from "./source/sql.ts";
export {
  storeContract,
  storeRules,
  type ArmedFault,
  type StoreContract,
  type StoreFaults,
  type StoreSubject,
} from "./store.ts";
export { errorOf, until } from "./support/observe.ts";
export { brokenRules, type Fixture, type Rules, type Waivers } from "./support/suite.ts";
export { versionOf, type MadeVersion, type TextRow } from "./support/versions.ts";
