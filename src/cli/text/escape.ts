/** Control characters, and marks that turn the direction of writing: data must not be able to steer a terminal. */
const unsafe = /[\p{Cc}\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]/gu;

const short: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Data as one line of text that is safe to show. */
export function escapeData(text: string): string {
  return text.replace(
    unsafe,
    (character) => short[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Lines of our own that hold data, as a profile does. */
export function escapeLines(text: string): string {
  return text.split("\n").map(escapeData).join("\n");
}

/**
 * A message of our own that may quote data: its line breaks stay, but what follows them is indented, so that no data can look like a
 * line of ours.
 */
export function escapeMessage(text: string): string {
  return text
    .split("\n")
    .map((line, index) => (index === 0 || line.startsWith("    ") ? escapeData(line) : `    ${escapeData(line)}`))
    .join("\n");
}

const wide =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f680}-\u{1f6ff}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
const narrow = /^[\p{Mn}\p{Me}\p{Cf}]$/u;

/** How many cells of a terminal a text takes. */
export function displayWidth(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += narrow.test(character) ? 0 : wide.test(character) ? 2 : 1;
  return width;
}

/** At most `width` cells; what is cut off shows as `…`. */
export function fit(text: string, width: number): string {
  if (displayWidth(text) <= width) return text;
  let result = "";
  let used = 0;
  for (const character of text) {
    const cells = displayWidth(character);
    if (used + cells > width - 1) break;
    result += character;
    used += cells;
  }
  return `${result}…`;
}
