import type { DataType } from "./types.ts";

const moment =
  /^([+-]?\d+)-(\d{2})-(\d{2})(?:[ T](\d{2}:\d{2}:\d{2}(?:\.\d+)?)(Z|[+-]\d{2}(?::?\d{2})?)?)?( BC| \(BC\))?$/;

/**
 * ISO 8601 text of a date, a time or a timestamp as databases write them: `2024-02-29`, `12:30:00.5`, `2024-02-29T12:30:00`,
 * `2024-02-29T12:30:00Z`. Years beyond four digits, and before the year 0, have a sign. Text of other types, and `infinity`, stay as they are.
 */
export function momentText(text: string, type: DataType): string {
  if (type === "time") return shortFraction(text);
  if (type !== "date" && type !== "timestamp" && type !== "timestamptz") return text;
  const match = moment.exec(text);
  if (match === null) return text;
  const [, digits, month, day, time, zone, era] = match;
  const year = era === undefined ? Number(digits) : 1 - Number(digits);
  const sign = year < 0 ? "-" : year > 9999 ? "+" : "";
  const date = `${sign}${String(Math.abs(year)).padStart(4, "0")}-${month}-${day}`;
  if (time === undefined) return date;
  const offset = zone === undefined ? "" : zone.startsWith("+00") ? "Z" : zone;
  return `${date}T${shortFraction(time)}${offset}`;
}

const shortFraction = (time: string): string => (time.includes(".") ? time.replace(/\.?0+$/, "") : time);
