import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Sink, SinkDefinition } from "../../src/core/index.ts";
import { failureRules } from "./sink/failures.ts";
import { lookupRules } from "./sink/lookup.ts";
import { publishRules } from "./sink/publish.ts";
import { runContract, type Fixture, type Rules, type Waivers } from "./support/suite.ts";
import type { ArmedFault } from "./store.ts";

/** A running system that copies are published to, empty at first. */
export interface SinkSubject extends AsyncDisposable {
  options: Record<string, unknown>;
  /** Values in the options that nobody may read in a message. */
  secrets?: readonly string[];
  /** Configurations that `check` must refuse, and the code of the error. */
  wrong?: readonly { what: string; options: Record<string, unknown>; code: string }[];
  /**
   * What any other client of the system sees under `target`, read without the module: by column name, values as text in the
   * engine's notation, null as null; `undefined` when there is nothing.
   */
  rows(target: string): Promise<Record<string, string | null>[] | undefined>;
  /** Ends the connection of the module when it has sent about so many more requests. */
  cut?(requests: number): Promise<ArmedFault>;
}

export interface SinkContract {
  name: string;
  definition: SinkDefinition;
  start(): Promise<SinkSubject>;
  waivers?: Waivers;
  /** Whether the subject has `cut`. */
  cuts?: boolean;
}

export interface SinkBench {
  readonly contract: SinkContract;
  readonly subject: SinkSubject;
  readonly sink: Sink;
  open(options?: Record<string, unknown>): Promise<Sink>;
}

/** Tests that every sink passes, against the real system. */
export function sinkContract(contract: SinkContract): void {
  runContract(contract, "sink", (rules) => sinkRules(contract, rules));
}

/** The rules themselves, for a run of them outside of a suite. */
export function sinkRules(contract: SinkContract, rules: Rules): Fixture {
  let subject: SinkSubject;
  let folder: string;
  let sink: Sink;
  const open = async (options: Record<string, unknown> = subject.options): Promise<Sink> => {
    const driver = await contract.definition.load();
    return driver.open(contract.definition.options.parse(options), { connection: contract.name, folder });
  };
  const bench: SinkBench = {
    contract,
    open,
    get subject() {
      return subject;
    },
    get sink() {
      return sink;
    },
  };
  publishRules(bench, rules);
  failureRules(bench, rules);
  lookupRules(bench, rules);
  return {
    async start() {
      folder = await mkdtemp(join(tmpdir(), "millrace-contract-"));
      subject = await contract.start();
      sink = await open();
    },
    async stop() {
      await sink[Symbol.asyncDispose]();
      await subject[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
