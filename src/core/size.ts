import { MillraceError } from "./errors.ts";

const units: Record<string, number> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** `256MB` → bytes. Throws `usage`. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kKMGT]?i?B)$/.exec(text.trim());
  const unit = match ? units[match[2]!] : undefined;
  if (!match || unit === undefined) {
    throw new MillraceError("usage", `\`${text}\` is not a size`, {
      hint: "write a number with MB or GB, such as `256MB`",
    });
  }
  return Math.round(Number(match[1]) * unit);
}
