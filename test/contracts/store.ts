import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Store, StoreDefinition } from "../../src/core/index.ts";
import { bytesRules } from "./store/bytes.ts";
import { datasetRules } from "./store/dataset.ts";
import { failureRules } from "./store/failures.ts";
import { listingRules } from "./store/listing.ts";
import { nameRules } from "./store/names.ts";
import { raceRules } from "./store/races.ts";
import { runContract, type Fixture, type Rules, type Waivers } from "./support/suite.ts";

/** A fault that waits for the next fitting request, and says how often it struck. */
export interface ArmedFault {
  fired(): number;
  disarm(): Promise<void>;
}

/** What a test double or a proxy before the store can do. Each is armed before a call; a test fails when its fault did not strike. */
export interface StoreFaults {
  /** The next write of an object takes effect, and its reply is lost. */
  loseWriteReply?(): Promise<ArmedFault>;
  /** The next `times` requests are answered with a refusal that will pass (503 SlowDown). */
  refuse?(times: number): Promise<ArmedFault>;
  /** The body of the next read ends early. */
  cutRead?(): Promise<ArmedFault>;
  /** The store accepts every conditional create. */
  ignoreConditions?(): Promise<ArmedFault>;
}

/** A place to keep objects that is there for one run of the contract, and empty. */
export interface StoreSubject extends AsyncDisposable {
  /** Options of the module, as a configuration would hold them. Opened several times, they lead to the same objects. */
  options: Record<string, unknown>;
  /** Values in the options that nobody may read in a message. */
  secrets?: readonly string[];
  /** Configurations that `check` must refuse, and the code of the error. */
  wrong?: readonly { what: string; options: Record<string, unknown>; code: string }[];
  faults?: StoreFaults;
  /** Puts something behind the back of the store where it would be found as `name`. False: the medium takes no such name. */
  plant?(name: string): Promise<boolean>;
}

export interface StoreContract {
  name: string;
  definition: StoreDefinition;
  start(): Promise<StoreSubject>;
  waivers?: Waivers;
  /** Rules that the medium of the test breaks now and then, and why: reported as skipped, for neither outcome says anything. */
  unsteady?: Waivers;
  /** The subject can put things behind the back of the store. */
  plants?: boolean;
  /** Which faults the subject can bring about. Without: none, and their rules are reported as skipped. */
  faults?: readonly (keyof StoreFaults)[];
}

/** What the rules work on. `store` and `other` are two handles of the same place, as two processes would have them. */
export interface StoreBench {
  readonly contract: StoreContract;
  readonly subject: StoreSubject;
  readonly store: Store;
  readonly other: Store;
  /** An empty local folder of this run. */
  readonly folder: string;
  open(options?: Record<string, unknown>): Promise<Store>;
}

/** Tests that every store passes, against the real medium. */
export function storeContract(contract: StoreContract): void {
  runContract(contract, "store", (rules) => storeRules(contract, rules));
}

/** The rules themselves, for a run of them outside of a suite. */
export function storeRules(contract: StoreContract, rules: Rules): Fixture {
  let subject: StoreSubject;
  let folder: string;
  let handles: [Store, Store];
  const open = async (options: Record<string, unknown> = subject.options): Promise<Store> => {
    const driver = await contract.definition.load();
    return driver.open(contract.definition.options.parse(options), { connection: contract.name, folder });
  };
  const bench: StoreBench = {
    contract,
    open,
    get subject() {
      return subject;
    },
    get folder() {
      return folder;
    },
    get store() {
      return handles[0];
    },
    get other() {
      return handles[1];
    },
  };
  bytesRules(bench, rules);
  nameRules(bench, rules);
  listingRules(bench, rules);
  raceRules(bench, rules);
  failureRules(bench, rules);
  datasetRules(bench, rules);
  return {
    async start() {
      folder = await mkdtemp(join(tmpdir(), "millrace-contract-"));
      subject = await contract.start();
      handles = [await open(), await open()];
    },
    async stop() {
      for (const handle of handles) await handle[Symbol.asyncDispose]();
      await subject[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
