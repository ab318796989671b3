import { MillraceError } from "../../core/index.ts";

/** A count as the engine gives it. Throws `internal` for what is none, so that a wrong query never passes for zero. */
export function countOf(value: unknown): number {
  if (typeof value === "bigint") return Number(value);
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (typeof value === "string" && /^\d+$/.test(value)) return Number(value);
  throw new MillraceError("internal", `a count was expected, not \`${String(value)}\``);
}

/** A number, or null when there is none (no rows, only nulls). NaN and infinities count as none. */
export function numberOf(value: unknown): number | null {
  if (value === null || value === undefined) return null;
  const number = typeof value === "number" ? value : Number(value as bigint | string);
  return Number.isFinite(number) ? number : null;
}

/** `12.3 %`; never rounds a part down to 0 % or up to 100 %. */
export function percent(share: number): string {
  if (share <= 0) return "0 %";
  if (share >= 1) return "100 %";
  const value = share * 100;
  const text = value < 0.1 || value > 99.9 ? value.toPrecision(value > 99.9 ? 6 : 2) : value.toFixed(1);
  return `${text.replace(/\.?0+$/, "")} %`;
}

/** `3 of 100 rows (3 %)`. */
export function ofRows(failing: number, rows: number): string {
  return `${failing} of ${rows} row${rows === 1 ? "" : "s"}${rows > 0 ? ` (${percent(failing / rows)})` : ""}`;
}

/** At most four significant digits, without an exponent where people do not expect one. */
export function shortNumber(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  return Number(value.toPrecision(4)).toString();
}

/** Seconds as people say them: `3 d 4 h`. */
export function formatDuration(seconds: number): string {
  const units: [string, number][] = [
    ["d", 86_400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  let rest = Math.max(0, Math.round(seconds));
  const words: string[] = [];
  for (const [unit, size] of units) {
    if (words.length === 2) break;
    const amount = Math.floor(rest / size);
    if (amount === 0) continue;
    words.push(`${amount} ${unit}`);
    rest -= amount * size;
  }
  return words.length === 0 ? "0 s" : words.join(" ");
}
