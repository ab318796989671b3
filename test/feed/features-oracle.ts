/** The definition of a point-in-time join, read aloud: for each entity look at every feature row. Times are whole seconds. */
export interface EntityRow {
  id: number;
  k: string | null;
  t: number | null;
}
export interface FeatureRow {
  k: string | null;
  at: number | null;
  known: number | null;
  tie: number | null;
  x: number | null;
}
export interface JoinCase {
  entities: EntityRow[];
  features: FeatureRow[];
  ttl: number | undefined;
  bitemporal: boolean;
}

/** The value of `x` for each entity with a moment, by id; undefined where several rows may be the answer is never the case: ties have no equals. */
export function joinOracle({ entities, features, ttl, bitemporal }: JoinCase): Map<number, FeatureRow | undefined> {
  const answers = new Map<number, FeatureRow | undefined>();
  for (const entity of entities) {
    if (entity.t === null) continue;
    let best: FeatureRow | undefined;
    for (const row of features) {
      if (row.k === null || row.k !== entity.k || row.at === null || row.at > entity.t) continue;
      if (bitemporal && (row.known === null || row.known > entity.t)) continue;
      if (best === undefined || isLater(row, best, bitemporal)) best = row;
    }
    const isFresh = best !== undefined && (ttl === undefined || entity.t - best.at! <= ttl);
    answers.set(entity.id, isFresh ? best : undefined);
  }
  return answers;
}

function isLater(row: FeatureRow, than: FeatureRow, bitemporal: boolean): boolean {
  if (row.at !== than.at) return row.at! > than.at!;
  if (bitemporal && row.known !== than.known) return row.known! > than.known!;
  return (row.tie ?? -Infinity) > (than.tie ?? -Infinity);
}

/** A generator of numbers from 0 up to 1 that a seed decides (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Few keys and few moments, so that ties, gaps and late rows are the rule; some of everything is null. */
export function randomCase(seed: number): JoinCase {
  const random = randomOf(seed);
  const whole = (below: number): number => Math.floor(random() * below);
  const orNull = <T>(value: T, share = 0.05): T | null => (random() < share ? null : value);
  const keys = 1 + whole(6);
  const span = 5 + whole(60);
  const bitemporal = random() < 0.5;
  const entities = Array.from({ length: 1 + whole(120) }, (_, id) => ({
    id,
    k: orNull(`k${whole(keys)}`),
    t: orNull(whole(span)),
  }));
  const features = Array.from({ length: whole(160) }, (_, index) => {
    const at = orNull(whole(span));
    return {
      k: orNull(`k${whole(keys + 1)}`),
      at,
      // Before it happened (a forecast), at once, and late.
      known: at === null ? whole(span) : orNull(at + whole(12) - 3),
      tie: index === 0 ? null : index,
      x: orNull(index, 0.1),
    };
  });
  return { entities, features, ttl: random() < 0.5 ? whole(20) : undefined, bitemporal };
}
