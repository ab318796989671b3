import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ReadRequest, Source, SourceDefinition } from "../../src/core/index.ts";
import { openEngine, type Engine } from "../../src/engine/index.ts";
import { sourceRulesOn } from "./source/rules.ts";
import { runContract, type Fixture, type Rules, type Waivers } from "./support/suite.ts";

/** A row of the streams that the kit makes. */
export interface SourceRow {
  id: number;
  text: string;
}

/** A running system that data is read from, and how the kit puts data there. */
export interface SourceSubject extends AsyncDisposable {
  options: Record<string, unknown>;
  /** Values in the options that nobody may read in a message. */
  secrets?: readonly string[];
  /** Configurations that `check` must refuse, and the code of the error. */
  wrong?: readonly { what: string; options: Record<string, unknown>; code: string }[];
  /**
   * Makes a stream of the columns `id` and `text` with these rows, and gives the request that reads it: by its cursor, when the
   * source is incremental. Names are letters, digits and `_`, unless `takesName` allows others.
   */
  create(name: string, rows: readonly SourceRow[]): Promise<ReadRequest>;
  /** Adds rows to a stream, with greater ids than before. */
  append(name: string, rows: readonly SourceRow[]): Promise<void>;
  /** Which strings can be names of streams. Absent: only plain ones. */
  takesName?(name: string): boolean;
  /** Which strings the system holds as they are. Absent: all that are well-formed, without the null character. */
  takesText?(text: string): boolean;
  /** What `id` and `text` are called in the streams, where names are given by the system. Default: the same. */
  columns?: { id: string; text: string };
  /** How many rows the kit makes in a stream at most, where the system takes long to take them. Default: 20,000. */
  maximumRows?: number;
  /** A folder whose files the source hands to the engine. */
  folder?: string;
}

export interface SourceContract {
  name: string;
  definition: SourceDefinition;
  start(): Promise<SourceSubject>;
  waivers?: Waivers;
}

export interface SourceBench {
  readonly definition: SourceDefinition;
  readonly subject: SourceSubject;
  readonly engine: Engine;
  /** A local folder that the engine may write to. */
  readonly folder: string;
  open(options?: Record<string, unknown>): Promise<Source>;
}

/** Tests that every source passes, against the real system and through the real engine. */
export function sourceContract(contract: SourceContract): void {
  runContract(contract, "source", (rules) => sourceRules(contract, rules));
}

/** The rules themselves, for a run of them outside of a suite. */
export function sourceRules(contract: SourceContract, rules: Rules): Fixture {
  const { definition } = contract;
  let subject: SourceSubject;
  let folder: string;
  let engine: Engine;
  sourceRulesOn(
    {
      definition,
      async open(options = subject.options) {
        const driver = await definition.load();
        const scratch = join(folder, "scratch");
        return driver.open(definition.options.parse(options), { connection: contract.name, folder, engine, scratch });
      },
      get subject() {
        return subject;
      },
      get engine() {
        return engine;
      },
      get folder() {
        return folder;
      },
    },
    rules,
  );
  return {
    async start() {
      folder = await mkdtemp(join(tmpdir(), "millrace-contract-"));
      subject = await contract.start();
      const allowed = [folder, ...(subject.folder === undefined ? [] : [subject.folder])];
      engine = await openEngine({ spillFolder: join(folder, "spill"), allowed, memoryLimit: "400MB" });
    },
    async stop() {
      await engine[Symbol.asyncDispose]();
      await subject[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
