import { createHash } from "node:crypto";

/** One record as a dataset holds it. */
export interface LedgerRow {
  id: number;
  revision: number;
  payload: string;
}

export interface Tally {
  acknowledged: number;
  lost: number;
  duplicated: number;
  /** What is wrong, in words; the first few. */
  violations: string[];
}

/**
 * What was offered, and where each record must be: once in the dataset, or once among the rejected. The payload follows from seed,
 * id and revision, so that a record that was damaged or mixed up is noticed.
 */
export class Ledger {
  readonly seed: number;
  /** The revision of each record that must be found in the dataset. */
  readonly #good = new Map<number, number>();
  readonly #refused = new Set<number>();
  #next = 0;
  #broken = 0;
  #sequence = 0;

  constructor(seed: number) {
    this.seed = seed;
  }

  /** Records that were offered, broken ones included. */
  get offered(): number {
    return this.#next + this.#broken;
  }

  /** Rows that the dataset must have. */
  get good(): number {
    return this.#good.size;
  }

  /** Ids of records that were offered before: 0 to `next` - 1. */
  get next(): number {
    return this.#next;
  }

  payload(id: number, revision: number): string {
    return createHash("sha256").update(`${this.seed}|${id}|${revision}`).digest("hex").slice(0, 24);
  }

  /** New records, `touched` earlier ones in a new revision; of the new ones each 97th has a price that is to be refused. */
  offer(count: number, touched: readonly number[] = []): (LedgerRow & { price: number })[] {
    const first = this.#next;
    this.#next += count;
    const fresh = Array.from({ length: count }, (_, index) => first + index);
    return [...fresh, ...touched.filter((id) => this.#good.has(id))].map((id) => {
      const revision = (this.#good.get(id) ?? 0) + 1;
      const refused = id >= first && id % 97 === 96;
      if (refused) this.#refused.add(id);
      else this.#good.set(id, revision);
      return { id, revision, payload: this.payload(id, revision), price: refused ? -1 : (id % 1000) / 100 };
    });
  }

  /** The id of a record that will not even parse; the ids of such are negative. */
  offerBroken(): number {
    const id = -++this.#broken;
    this.#refused.add(id);
    return id;
  }

  /** The next number of a cursor column; grows, with several records at each number. */
  nextSequence(): number {
    return Math.floor(++this.#sequence / 3);
  }

  /** Holds what a dataset and its rejected records contain against what was offered; all of it was acknowledged. */
  compare(rows: readonly LedgerRow[], refused: readonly number[]): Tally {
    const violations: string[] = [];
    const [inData, inRefused] = [countBy(rows.map((row) => row.id)), countBy(refused)];
    let [lost, duplicated] = [0, 0];
    const judge = (id: number, where: ReadonlyMap<number, number>, elsewhere: ReadonlyMap<number, number>): void => {
      const times = where.get(id) ?? 0;
      if (times === 0) lost++;
      if (times > 1 || elsewhere.has(id)) duplicated++;
      if (times !== 1 || elsewhere.has(id)) violations.push(`record ${id} is there ${times} times`);
    };
    for (const id of this.#good.keys()) judge(id, inData, inRefused);
    for (const id of this.#refused) judge(id, inRefused, inData);
    for (const { id, revision, payload } of rows) {
      if (this.#good.get(id) !== revision)
        violations.push(`record ${id} has revision ${revision} or was never offered`);
      else if (payload !== this.payload(id, revision)) violations.push(`record ${id} has the payload ${payload}`);
    }
    return { acknowledged: this.offered, lost, duplicated, violations: violations.slice(0, 10) };
  }
}

function countBy(ids: readonly number[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}
