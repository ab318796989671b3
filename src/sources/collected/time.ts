const moment = /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\s*(Z|[+-]\d{2}:?\d{2})?$/i;

/** Microseconds since the epoch of ISO 8601 text; without a zone it is UTC. Undefined for what is none. */
export function microsOfText(text: string): number | undefined {
  const match = moment.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour, minute, second = "0", fraction = "", zone = "Z"] = match;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 60) return undefined;
  const at = new Date(0);
  at.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  // The 31st of February would be taken for a day of March. Leap seconds count as the next one.
  if (at.getUTCMonth() !== Number(month) - 1 || at.getUTCDate() !== Number(day)) return undefined;
  const millis = at.setUTCHours(Number(hour), Number(minute), Number(second));
  const offset = /^z$/i.test(zone)
    ? 0
    : (zone.startsWith("-") ? -1 : 1) * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2)));
  return (millis - offset * 60_000) * 1000 + Number(fraction.slice(0, 6).padEnd(6, "0"));
}

/** The first of the year 1 and of the year 10,000, microseconds since the epoch. */
const [earliest, latest] = [-62_135_596_800_000_000, 253_402_300_800_000_000];

/** `2026-11-24T03:00:00.000001Z`; null for what no calendar of four digits holds. */
export function textOfMicros(micros: number | undefined): string | null {
  if (micros === undefined || !Number.isFinite(micros) || micros < earliest || micros >= latest) return null;
  const whole = Math.floor(micros / 1000);
  const rest = Math.round(micros - whole * 1000);
  const text = new Date(whole).toISOString();
  return /^\d{4}-/.test(text) ? `${text.slice(0, -1)}${String(rest).padStart(3, "0")}Z` : null;
}

/**
 * When something happened by our clock: a device whose clock is wrong is wrong by the same when it sends. What comes out later than the arrival
 * happened when it arrived. All in microseconds.
 */
export function correctedTime(received: number, happened: number | undefined, sent: number | undefined): number {
  if (happened === undefined) return received;
  const corrected = sent === undefined ? happened : received - (sent - happened);
  return Math.min(received, corrected);
}
