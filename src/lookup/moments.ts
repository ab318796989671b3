/*
 * Dates and times as the numbers that records hold (days, microseconds, from 1970-01-01) and as ISO 8601 text. Years beyond four digits have
 * a sign, as ISO 8601 says: `+10000-01-01`, `-0043-03-15`.
 */

const microsecondsOfDay = 86_400_000_000n;

/** Days before the first of March of year 0, and of eras of 400 years (http://howardhinnant.github.io/date_algorithms.html). */
function daysOf(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return (
    era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468
  );
}

/** `2024-02-29`. */
export function formatDate(days: number): string {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const text =
    year >= 0 && year <= 9999
      ? String(year).padStart(4, "0")
      : `${year < 0 ? "-" : "+"}${String(Math.abs(year)).padStart(4, "0")}`;
  return `${text}-${two(month)}-${two(day)}`;
}

const two = (value: number): string => (value < 10 ? `0${value}` : String(value));

/** `12:30:00`, `12:30:00.000001`. */
export function formatTime(microseconds: bigint): string {
  const total = Number(microseconds);
  const fraction = total % 1e6;
  const seconds = Math.floor(total / 1e6);
  const text = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return fraction === 0 ? text : `${text}.${String(fraction).padStart(6, "0").replace(/0+$/, "")}`;
}

/** `2024-02-29T12:30:00`, without zone. */
export function formatTimestamp(microseconds: bigint): string {
  let days = microseconds / microsecondsOfDay;
  let rest = microseconds % microsecondsOfDay;
  if (rest < 0n) {
    rest += microsecondsOfDay;
    days -= 1n;
  }
  return `${formatDate(Number(days))}T${formatTime(rest)}`;
}

const datePattern = /^([+-]\d{4,7}|\d{4})-(\d{2})-(\d{2})$/;

/** Days; undefined for what is no date. */
export function parseDate(text: string): bigint | undefined {
  const match = datePattern.exec(text);
  if (match === null) return undefined;
  const days = daysOf(Number(match[1]), Number(match[2]), Number(match[3]));
  // A thirtieth of February is another day; that is how it is found out.
  return formatDate(days).replace(/^[+]/, "") === text.replace(/^[+]/, "") ? BigInt(days) : undefined;
}

const timePattern = /^(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?$/;

/** Microseconds of the day; undefined for what is no time. */
export function parseTime(text: string): bigint | undefined {
  const match = timePattern.exec(text);
  if (match === null) return undefined;
  const [hours, minutes, seconds] = [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
  if (hours > 23 || minutes > 59 || seconds > 59) return undefined;
  return BigInt((hours * 60 + minutes) * 60 + seconds) * 1_000_000n + BigInt((match[4] ?? "").padEnd(6, "0"));
}

const zonePattern = /(Z|[+-]\d{2}(?::?\d{2})?)$/;

/** Microseconds; undefined for what is no moment. `zoned`: with a zone, which others must not have. */
export function parseTimestamp(text: string, zoned: boolean): bigint | undefined {
  const match = /^([+-]?\d+-\d{2}-\d{2})(?:[T ](.+))?$/.exec(text);
  if (match === null) return undefined;
  const days = parseDate(match[1]!);
  const zone = zonePattern.exec(match[2] ?? "")?.[1];
  if (days === undefined || (zone !== undefined) !== zoned) return undefined;
  const time = match[2] === undefined ? 0n : parseTime(match[2].slice(0, match[2].length - (zone ?? "").length));
  if (time === undefined) return undefined;
  return days * microsecondsOfDay + time - offsetOf(zone);
}

function offsetOf(zone: string | undefined): bigint {
  if (zone === undefined || zone === "Z") return 0n;
  const digits = zone.slice(1).replace(":", "").padEnd(4, "0");
  const minutes = Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2));
  return BigInt(zone.startsWith("-") ? -minutes : minutes) * 60_000_000n;
}
