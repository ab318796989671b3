import type { Enriched, Enricher, EnricherInput, EnricherNotes } from "./enricher.ts";
import { isMillraceError, MillraceError, throwIfAborted } from "./errors.ts";
import type { Store } from "./store.ts";

export interface EnrichmentOptions {
  /** Answers are kept in the store under `<folder>/<hash of model>/<hash>.json`, so that an input is paid for once, over all runs. */
  cache?: { store: Store; folder: string };
  /** Stop before a call whose estimate it does not cover. */
  budget?: Budget;
  /** Inputs of one call. */
  batch: number;
  /** Gives inputs what is left out of them as long as nobody asks: the bytes of assets. In their order. */
  complete?: (inputs: readonly EnricherInput[]) => Promise<EnricherInput[]>;
  /** Told before anything is spent, where answers cost something: what all that is not known yet will cost at most. */
  onEstimate?: (estimate: { inputs: number; cost: number; currency: string }) => void;
  signal?: AbortSignal;
}

/** What may be spent in all, by however many calls at once. Unit: the currency of the enricher. */
export class Budget {
  readonly #maximum: number;
  #spent: number;
  #reserved = 0;

  /** `spent`: what was before. */
  constructor(maximum: number, spent = 0) {
    this.#maximum = maximum;
    this.#spent = spent;
  }

  /** Sets the estimate of a call aside. Throws `limit` when it is not covered. */
  reserve(estimate: number, left: number): void {
    const sum = this.#spent + this.#reserved + estimate;
    // Sums of prices are not exact.
    if (sum > this.#maximum * (1 + 1e-9)) {
      throw new MillraceError(
        "limit",
        `the budget of ${this.#maximum} does not suffice: ${left} inputs are left, and the next would bring it to ${sum}`,
        {
          hint: "raise `max_cost`, or read less; answers so far are kept and not paid for again",
        },
      );
    }
    this.#reserved += estimate;
  }

  /** The call has ended. */
  settle(estimate: number, cost: number): void {
    this.#reserved -= estimate;
    this.#spent += cost;
  }
}

export interface EnrichmentReport {
  /** In the order of the inputs. */
  answers: Enriched[];
  /** Inputs that the enricher was asked about; the others came from the cache or were equal to one of these. */
  asked: number;
  cost: number;
}

/**
 * Asks about every different input that has no answer yet. An answer is kept as soon as its call returns: what was paid for
 * survives whatever happens after. Throws `limit` when the budget does not suffice, with everything kept that was answered.
 */
export async function enrichAll(
  enricher: Enricher,
  inputs: readonly EnricherInput[],
  options: EnrichmentOptions,
): Promise<EnrichmentReport> {
  const { cache, budget, batch, signal } = options;
  const known = new Map<string, Enriched>();
  const unanswered = new Map<string, EnricherInput>();
  for (const input of inputs) {
    if (known.has(input.hash) || unanswered.has(input.hash)) continue;
    const answer = cache ? await readAnswer(cache, enricher.model, input.hash) : undefined;
    if (answer) known.set(input.hash, answer);
    else unanswered.set(input.hash, input);
  }
  const open = [...unanswered.values()];
  const estimate = open.length === 0 ? undefined : enricher.estimate?.(open);
  if (estimate !== undefined) options.onEstimate?.({ inputs: open.length, ...estimate });
  let cost = 0;
  for (let from = 0; from < open.length; from += batch) {
    throwIfAborted(signal);
    const asked = open.slice(from, from + batch);
    const expected = enricher.estimate?.(asked).cost ?? 0;
    budget?.reserve(expected, open.length - from);
    let spent = 0;
    try {
      const complete = options.complete === undefined ? asked : await options.complete(asked);
      const kept = new Set<number>();
      const notes = notesOf(cache, enricher.model, asked);
      const keep = async (index: number, answer: Enriched): Promise<void> => {
        if ("values" in answer) spent += answer.cost ?? 0;
        if (cache && !("again" in answer)) await keepAnswer(cache, enricher.model, asked[index]!.hash, answer);
        kept.add(index);
        await notes.forget(index);
      };
      const answers = await enricher.enrich(complete, { keep, notes, ...(signal ? { signal } : {}) });
      if (answers.length !== asked.length) {
        throw new MillraceError("internal", `the enricher gave ${answers.length} answers to ${asked.length} inputs`);
      }
      for (const [index, answer] of answers.entries()) {
        known.set(asked[index]!.hash, answer);
        if (!kept.has(index)) await keep(index, answer);
      }
    } finally {
      budget?.settle(expected, spent);
      cost += spent;
    }
  }
  return { answers: inputs.map(({ hash }) => known.get(hash)!), asked: open.length, cost };
}

/** Of the inputs of a call. They lie beside the answers. */
function notesOf(
  cache: EnrichmentOptions["cache"],
  model: string,
  asked: readonly EnricherInput[],
): EnricherNotes & { forget(index: number): Promise<void> } {
  const known = new Map<number, string>();
  const pathOf = (index: number): string => answerPath(cache!.folder, model, asked[index]!.hash, "note");
  return {
    async read(index) {
      if (!cache || known.has(index)) return known.get(index);
      try {
        const note = new TextDecoder().decode(await cache.store.read(pathOf(index)));
        known.set(index, note);
        return note;
      } catch (error) {
        if (isMillraceError(error) && error.code === "not-found") return undefined;
        throw error;
      }
    },
    async write(index, note) {
      if (cache) await cache.store.write(pathOf(index), new TextEncoder().encode(note));
      known.set(index, note);
    },
    async forget(index) {
      if (known.delete(index) && cache) await cache.store.remove(pathOf(index));
    },
  };
}

/** A model may be called anything, at any length. */
const answerPath = (folder: string, model: string, hash: string, kind: "json" | "note" = "json"): string =>
  `${folder}/${process.getBuiltinModule("node:crypto").createHash("sha256").update(model).digest("hex").slice(0, 32)}/${hash}.${kind}`;

async function readAnswer(
  { store, folder }: NonNullable<EnrichmentOptions["cache"]>,
  model: string,
  hash: string,
): Promise<Enriched | undefined> {
  try {
    return JSON.parse(new TextDecoder().decode(await store.read(answerPath(folder, model, hash)))) as Enriched;
  } catch (error) {
    // A torn answer is asked for again: it can be made again, and a wrong one would stay for ever.
    if (error instanceof SyntaxError || (isMillraceError(error) && error.code === "not-found")) return undefined;
    throw error;
  }
}

async function keepAnswer(
  { store, folder }: NonNullable<EnrichmentOptions["cache"]>,
  model: string,
  hash: string,
  answer: Enriched,
): Promise<void> {
  await store.write(answerPath(folder, model, hash), new TextEncoder().encode(JSON.stringify(answer)));
}
