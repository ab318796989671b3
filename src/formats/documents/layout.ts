/** A run of text on a page: where its baseline begins, how wide and how high it is. Points; y grows upwards. */
export interface Run {
  text: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

interface Line {
  runs: Run[];
  left: number;
  right: number;
  y: number;
  height: number;
}

/** Fewer letters on average than this in the lines beside a gap: the columns of a table, which are read line by line. */
const proseLetters = 18;

function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[sorted.length >> 1] ?? 0;
}

/** Empty stretches between intervals, at least `least` wide, as the middle of each. */
function gaps(
  intervals: readonly (readonly [from: number, to: number])[],
  least: number,
): { at: number; width: number }[] {
  const sorted = intervals.toSorted((left, right) => left[0] - right[0]);
  const found: { at: number; width: number }[] = [];
  let end = sorted[0]![1];
  for (const [from, to] of sorted) {
    if (from - end >= least) found.push({ at: (from + end) / 2, width: from - end });
    end = Math.max(end, to);
  }
  return found;
}

function linesOf(runs: readonly Run[]): Line[] {
  const lines: Line[] = [];
  for (const run of runs.toSorted((left, right) => right.y - left.y || left.x - right.x)) {
    const line = lines.at(-1);
    if (line !== undefined && Math.abs(line.y - run.y) <= 0.5 * Math.max(line.height, run.height)) {
      line.runs.push(run);
      line.left = Math.min(line.left, run.x);
      line.right = Math.max(line.right, run.x + run.width);
      if (run.height > line.height) Object.assign(line, { height: run.height, y: run.y });
    } else lines.push({ runs: [run], left: run.x, right: run.x + run.width, y: run.y, height: run.height });
  }
  for (const line of lines) line.runs.sort((left, right) => left.x - right.x);
  return lines;
}

function lineText({ runs }: Line): string {
  let text = "";
  let end = -Infinity;
  for (const run of runs) {
    if (text !== "" && run.x - end > 0.15 * run.height && !text.endsWith(" ") && !run.text.startsWith(" ")) text += " ";
    text += run.text;
    end = run.x + run.width;
  }
  return text.trimEnd();
}

function blockText(runs: readonly Run[]): string {
  const lines = linesOf(runs);
  const leading = median(lines.slice(1).map((line, index) => lines[index]!.y - line.y));
  let text = "";
  for (const [index, line] of lines.entries()) {
    if (index > 0) text += lines[index - 1]!.y - line.y > 1.5 * leading ? "\n\n" : "\n";
    text += lineText(line);
  }
  return text;
}

const letters = (runs: readonly Run[]): number => {
  const lines = linesOf(runs);
  return lines.reduce((sum, line) => sum + lineText(line).length, 0) / Math.max(1, lines.length);
};

/**
 * Text in reading order: a page is cut along its empty stretches, columns first, then from top to bottom, until what is left are
 * blocks. Nagy & Seth, "Hierarchical representation of optically scanned documents" (1984): the XY-cut.
 */
export function readingOrder(runs: readonly Run[], depth = 0): string {
  if (runs.length === 0) return "";
  const height = median(runs.map((run) => run.height)) || 10;
  if (depth < 12 && runs.length > 1) {
    const columns = gaps(
      runs.map((run) => [run.x, run.x + run.width]),
      0.9 * height,
    );
    for (const { at } of columns.toSorted((left, right) => right.width - left.width).slice(0, 4)) {
      const left = runs.filter((run) => run.x < at);
      const right = runs.filter((run) => run.x >= at);
      if (letters(left) < proseLetters || letters(right) < proseLetters) continue;
      if (linesOf(left).length < 2 || linesOf(right).length < 2) continue;
      return `${readingOrder(left, depth + 1)}\n\n${readingOrder(right, depth + 1)}`;
    }
    const rows = gaps(
      runs.map((run) => [run.y - 0.25 * run.height, run.y + run.height]),
      0.8 * height,
    );
    if (rows.length > 0) {
      const cuts = rows.map(({ at }) => at).toSorted((left, right) => right - left);
      const blocks: Run[][] = Array.from({ length: cuts.length + 1 }, () => []);
      for (const run of runs) {
        const index = cuts.findIndex((at) => run.y >= at);
        blocks[index < 0 ? cuts.length : index]!.push(run);
      }
      return blocks
        .filter((block) => block.length > 0)
        .map((block) => readingOrder(block, depth + 1))
        .join("\n\n");
    }
  }
  return blockText(runs);
}

/** A word that is parted at the end of a line becomes whole. */
export function joinHyphens(text: string): string {
  return text.replaceAll(/(\p{Ll})[-\u2010]\n(\p{Ll})/gu, "$1$2");
}
