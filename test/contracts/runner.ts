import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Runner, RunnerDefinition, RunWork } from "../../src/core/index.ts";
import { openCluster, type Cluster } from "./runner/cluster.ts";
import { runnerRulesOn } from "./runner/rules.ts";
import { runContract, type Fixture, type Rules, type Waivers } from "./support/suite.ts";

/** A scheduler that runs parts, with nothing submitted yet. */
export interface RunnerSubject extends AsyncDisposable {
  options: Record<string, unknown>;
  /** Makes the scheduler forget every run, as after the loss of its disk. Absent: opening the module anew does. */
  forget?(): Promise<void>;
}

export interface RunnerContract {
  name: string;
  definition: RunnerDefinition;
  start(): Promise<RunnerSubject>;
  waivers?: Waivers;
}

export interface RunnerBench {
  readonly contract: RunnerContract;
  readonly subject: RunnerSubject;
  readonly cluster: Cluster;
  /** The module, which does `work`. The caller closes it. */
  open(work: RunWork): Promise<Runner>;
}

/** Tests that every runner passes: parts are staged and committed in a real dataset. */
export function runnerContract(contract: RunnerContract): void {
  runContract(contract, "runner", (rules) => runnerRules(contract, rules));
}

/** The rules themselves, for a run of them outside of a suite. */
export function runnerRules(contract: RunnerContract, rules: Rules): Fixture {
  let subject: RunnerSubject;
  let folder: string;
  let cluster: Cluster;
  const bench: RunnerBench = {
    contract,
    async open(work) {
      const driver = await contract.definition.load();
      const options = contract.definition.options.parse(subject.options);
      return driver.open(options, { connection: contract.name, folder, work });
    },
    get subject() {
      return subject;
    },
    get cluster() {
      return cluster;
    },
  };
  runnerRulesOn(bench, rules);
  return {
    async start() {
      folder = await mkdtemp(join(tmpdir(), "millrace-contract-"));
      cluster = await openCluster(folder);
      subject = await contract.start();
    },
    async stop() {
      await subject[Symbol.asyncDispose]();
      await cluster[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
