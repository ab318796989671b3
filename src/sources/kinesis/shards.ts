import type { Shard } from "./service.ts";
import type { ShardState, StreamState } from "./position.ts";

/** A shard that can be read now. */
export interface Readable {
  id: string;
  state: ShardState;
  /** True when it is known that it ends. */
  closed: boolean;
}

/** What of a stream was not read and is not there any more. */
export interface Gap {
  shard: string;
  /** The last record that was read before it. */
  after?: string;
  why: string;
}

/**
 * The shards of a stream as a run goes through them: one is read once all that it was made of have been read to their ends, so that the
 * records of one key keep their order.
 */
export class ShardGraph {
  readonly #shards = new Map<string, Shard>();
  readonly #states: Record<string, ShardState>;
  readonly #given = new Set<string>();
  readonly #first: () => ShardState;

  /** `first` gives the state of a shard that nobody has read and that was made of none that was read. */
  constructor(shards: readonly Shard[], state: Pick<StreamState, "shards"> | undefined, first: () => ShardState) {
    for (const shard of shards) this.#shards.set(shard.id, shard);
    this.#states = { ...state?.shards };
    this.#first = first;
  }

  /** Shards that were being read and of which nothing is left. Their states are dropped. */
  vanished(): { id: string; state: ShardState }[] {
    const gone = Object.entries(this.#states).filter(([id]) => !this.#shards.has(id));
    for (const [id] of gone) delete this.#states[id];
    return gone.filter(([, { closed }]) => closed !== true).map(([id, state]) => ({ id, state }));
  }

  /** Shards that have become readable since it was last asked, those that are furthest behind first. */
  ready(): Readable[] {
    const ready: Readable[] = [];
    for (const { id, closed } of this.#shards.values()) {
      if (this.#given.has(id) || this.#states[id]?.closed === true || !this.#isNext(id)) continue;
      this.#given.add(id);
      // Where it begins holds for later runs too, should this one not come to it.
      const state = (this.#states[id] ??= this.#begin(id));
      ready.push({ id, closed, state });
    }
    return ready.toSorted((left, right) => (left.state.seen ?? 0) - (right.state.seen ?? 0));
  }

  /** How far a shard has been read. */
  progressed(id: string, state: ShardState): void {
    this.#states[id] = state;
  }

  /** A shard has been read to its end; `children` were made of it, which the list may not have had yet. */
  ended(id: string, state: ShardState, children: readonly Shard[]): void {
    this.#states[id] = { ...state, closed: true };
    for (const child of children) if (!this.#shards.has(child.id)) this.#shards.set(child.id, child);
  }

  states(): Record<string, ShardState> {
    return this.#states;
  }

  /** Parents that the stream has forgotten are no reason to wait. */
  #isNext(id: string): boolean {
    return this.#shards
      .get(id)!
      .parents.every((parent) => !this.#shards.has(parent) || this.#states[parent]?.closed === true);
  }

  /** One that was made of shards that were read has nothing from before they ended. */
  #begin(id: string): ShardState {
    const before = this.#shards.get(id)!.parents.flatMap((parent) => this.#states[parent] ?? []);
    if (before.length === 0) return this.#first();
    const seen = before.flatMap((state) => state.seen ?? []);
    // Of shards that ended before the time at which the first run began nothing was read.
    const since = before.flatMap((state) => (state.after === undefined ? (state.since ?? []) : []));
    return {
      ...(since.length === before.length ? { since: Math.min(...since) } : {}),
      ...(seen.length === 0 ? {} : { seen: Math.max(...seen) }),
    };
  }
}
