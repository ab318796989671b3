/** Edits (insert, delete, replace, swap of neighbours) between two words. */
function distance(left: string, right: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    const row = [i];
    for (let j = 1; j <= right.length; j++) {
      const cost = left[i - 1] === right[j - 1] ? 0 : 1;
      let best = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + cost);
      if (i > 1 && j > 1 && left[i - 1] === right[j - 2] && left[i - 2] === right[j - 1]) {
        best = Math.min(best, beforeLast[j - 2]! + 1);
      }
      row.push(best);
    }
    beforeLast = last;
    last = row;
  }
  return last[right.length]!;
}

/** The known name nearest to what was typed, when it is near enough to be a slip. */
export function nearest(typed: string, known: Iterable<string>): string | undefined {
  const wanted = typed.toLowerCase();
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const name of known) {
    const candidate = name.toLowerCase();
    const edits = candidate.startsWith(wanted) && wanted.length >= 3 ? 1 : distance(wanted, candidate);
    if (edits < bestDistance) [best, bestDistance] = [name, edits];
  }
  return best;
}

/** `did you mean "x"?`, or the list of what there is. */
export function suggestion(typed: string, known: readonly string[]): string {
  const match = nearest(typed, known);
  if (match !== undefined) return `did you mean \`${match}\`?`;
  if (known.length === 0) return "there is none yet";
  const shown = known
    .slice(0, 12)
    .map((name) => `\`${name}\``)
    .join(", ");
  return `there is ${shown}${known.length > 12 ? ` and ${known.length - 12} more` : ""}`;
}
