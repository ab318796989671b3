/** Rows of one bin or category: before and now. */
export interface BinPair {
  before: number;
  now: number;
}

/**
 * Population stability index: Σ (nowᵢ − beforeᵢ) · ln(nowᵢ / beforeᵢ) over shares. Half a row is added to each bin, so that an
 * empty one gives a large number and not infinity. Below 0.1 is usually called stable, above 0.25 shifted.
 */
export function populationStability(bins: readonly BinPair[]): number {
  const before = bins.reduce((sum, bin) => sum + bin.before + 0.5, 0);
  const now = bins.reduce((sum, bin) => sum + bin.now + 0.5, 0);
  return bins.reduce((sum, bin) => {
    const [left, right] = [(bin.before + 0.5) / before, (bin.now + 0.5) / now];
    return sum + (right - left) * Math.log(right / left);
  }, 0);
}

/** Kolmogorov–Smirnov: the greatest distance of the two cumulative shares, at the edges of ordered bins (so never too large). */
export function kolmogorovSmirnov(bins: readonly BinPair[]): number {
  const before = bins.reduce((sum, bin) => sum + bin.before, 0);
  const now = bins.reduce((sum, bin) => sum + bin.now, 0);
  if (before === 0 || now === 0) return 0;
  let [left, right, greatest] = [0, 0, 0];
  for (const bin of bins) {
    left += bin.before / before;
    right += bin.now / now;
    greatest = Math.max(greatest, Math.abs(left - right));
  }
  return greatest;
}

/**
 * What PSI stays below in 999 of 1000 comparisons when nothing has changed: PSI · nm/(n+m) is then about χ² with bins − 1
 * degrees of freedom (Yurdakul 2018); the quantile is Wilson and Hilferty's. Small samples shift by chance; this keeps them quiet.
 */
export function chanceLevel(bins: number, before: number, now: number): number {
  const freedom = bins - 1;
  if (freedom < 1 || before === 0 || now === 0) return Infinity;
  const spread = 2 / (9 * freedom);
  const quantile = freedom * (1 - spread + 3.0902 * Math.sqrt(spread)) ** 3;
  return quantile * (1 / before + 1 / now);
}
