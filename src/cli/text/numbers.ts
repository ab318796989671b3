import { MillraceError } from "../../core/index.ts";

/** `1234567` → `1,234,567`. */
export function count(value: number | bigint): string {
  return String(value).replaceAll(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 file`, `2 files`. */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

const units = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Decimal units: `12.3 MB`. */
export function bytes(value: number): string {
  let amount = value;
  let unit = 0;
  while (amount >= 999.5 && unit < units.length - 1) {
    amount /= 1000;
    unit++;
  }
  return `${unit === 0 || amount >= 99.95 ? Math.round(amount) : amount.toFixed(1)} ${units[unit]}`;
}

export function seconds(value: number): string {
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`;
}

/** `2026-11-23 05:12:33Z`. */
export function moment(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19).replace("T", " ")}Z`;
}

export function percent(share: number): string {
  if (share === 0 || share === 1) return `${share * 100}%`;
  const value = share * 100;
  return value < 0.1 ? "<0.1%" : value > 99.9 ? ">99.9%" : `${value.toFixed(1)}%`;
}

const durationUnits: Record<string, number> = { s: 1e3, min: 6e4, h: 36e5, d: 864e5, w: 6048e5 };

/** `24h`, `30d` → milliseconds. Throws `usage`. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(s|min|h|d|w)$/.exec(text.trim());
  if (!match) {
    throw new MillraceError("usage", `\`${text}\` is not a duration`, {
      hint: "write a number with s, min, h, d or w, such as `30d`",
    });
  }
  return Number(match[1]) * durationUnits[match[2]!]!;
}

/** `0.01`, not negative. Throws `usage`. */
export function parseAmount(text: string): number {
  if (/^\d+(\.\d+)?(e-?\d+)?$/.test(text)) return Number(text);
  throw new MillraceError("usage", `\`${text}\` is not a number`, { hint: "write a number such as `0.01`" });
}

/** Throws `usage`. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new MillraceError("usage", `\`${text}\` is not a whole number`, { hint: "write digits only, such as `20`" });
}
