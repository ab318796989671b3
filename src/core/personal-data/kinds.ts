import type { Sql } from "../check.ts";
import {
  isBrazilianCpf,
  isFrenchNir,
  isGermanTaxId,
  isIban,
  isItalianFiscalCode,
  isLuhn,
  isSpanishDni,
} from "./checksums.ts";
import { ibanPattern } from "./iban.ts";

/** A form that a kind of personal data is written in. */
export interface Form {
  /** What may stand before it, and is kept: RE2 has no look-behind. Default: the start, or what is no part of a word or number. */
  before?: string;
  /** RE2. Broader than the form where what follows could make it something else; `valid` then decides. */
  pattern: string;
  /** Whether what the pattern found is one. Default: it is. */
  valid?: (found: Sql) => Sql;
  /** A text that every text with this form contains, so that others are passed over quickly. */
  contains?: string;
}

export interface PersonalKind {
  /** For people, after "has": `an e-mail address`. */
  noun: string;
  /** A number that a state gives to its people: what `national-id` stands for. */
  national?: boolean;
  forms: readonly Form[];
}

const full = (found: Sql, pattern: string): Sql => `regexp_full_match(${found}, '${pattern}')`;

/** Letters of alphabets that leave spaces between words: where there are none, an address could not be told from the sentence. */
const word = "0-9A-Za-z_\\x{C0}-\\x{24F}";

const octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const ipv4 = `(?:${octet}\\.){3}${octet}`;
const group = "[0-9A-Fa-f]{1,4}";
const ipv6 = [
  `(?:${group}:){7}${group}`,
  ...[1, 2, 3, 4, 5, 6].map((after) => `(?:${group}:){1,${7 - after}}(?::${group}){1,${after}}`),
].join("|");

/** Issuers with their lengths; 13 digits are left to the bar codes of goods, and 18 to the numbers of messages. */
const card = [
  "(?:4[0-9]{3}|5[1-5][0-9]{2}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)|6(?:011|4[4-9][0-9]|5[0-9]{2}|2[0-9]{2})|35(?:2[89]|[3-8][0-9]))(?:[ -]?[0-9]{4}){3}",
  "62[0-9]{17}",
  "3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5}",
  "3(?:0[0-5]|[68][0-9])[0-9][ -]?[0-9]{6}[ -]?[0-9]{4}",
].join("|");

/** More digits of the same number: with them it is not what it began as. */
const more = "(?:[.\\-]?[0-9]+)*";
/** Not in the middle of a number that is written in groups. */
const notAfterDigits = "^ *|[^\\w .\\-+/] *|[A-Za-z_] +";
const extension = "(?: ?(?:x|(?i:ext)\\.?) ?[0-9]{1,5})?";
const northAmerican =
  "(?:(?:\\+|00)?1[ .\\-])?(?:\\([2-9][0-9]{2}\\)[ .\\-]?[0-9]{3}[ .\\-][0-9]{4}|[2-9][0-9]{2}[.\\-][0-9]{3}[.\\-][0-9]{4}|[2-9][0-9]{2} [2-9][0-9]{2} [0-9]{4})";
const phoneWords = "(?i:\\b(?:tel|telefon|telephone|phone|mobile|mobil|cell|handy|fax|whatsapp)\\b)";

/** In this order they are masked, so that an earlier one takes the digits that a later one could take for its own. */
export const personalKinds = {
  email: {
    noun: "an e-mail address",
    forms: [
      {
        contains: "@",
        before: "",
        pattern: `[${word}][${word}.%+'\\-]*@(?:[${word}\\-]+\\.)+[A-Za-z]{2,24}\\b`,
        // `icon@2x.png` is a picture for a finer screen.
        valid: (found) => `NOT regexp_matches(${found}, '@[0-9](?:\\.[0-9])?x\\.')`,
      },
    ],
  },
  iban: {
    noun: "a bank account number (IBAN)",
    forms: [{ pattern: `(?:${ibanPattern})\\b`, valid: (found) => isIban(found) }],
  },
  card: {
    noun: "a payment card number",
    forms: [
      {
        pattern: `(?:${card})\\b${more}`,
        valid: (found) => `${full(found, card)} AND ${isLuhn(found)}`,
      },
    ],
  },
  "us-ssn": {
    noun: "a US social security number",
    national: true,
    forms: [
      {
        pattern: `[0-8][0-9]{2}-[0-9]{2}-[0-9]{4}\\b${more}`,
        valid: (found) =>
          `${full(found, "[0-9]{3}-[0-9]{2}-[0-9]{4}")} AND NOT regexp_matches(${found}, '^(?:000|666)|-00-|-0000$')`,
      },
    ],
  },
  "uk-nino": {
    noun: "a UK national insurance number",
    national: true,
    forms: [
      {
        pattern: "[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]\\b",
        valid: (found) => `left(${found}, 2) NOT IN ('BG', 'GB', 'KN', 'NK', 'NT', 'TN', 'ZZ')`,
      },
    ],
  },
  "de-tax-id": {
    noun: "a German tax number",
    national: true,
    forms: [
      {
        pattern: `[1-9][0-9]{10}\\b${more}|[1-9][0-9] [0-9]{3} [0-9]{3} [0-9]{3}\\b`,
        valid: (found) => isGermanTaxId(`regexp_replace(${found}, '[ ]', '', 'g')`),
      },
    ],
  },
  "fr-nir": {
    noun: "a French social security number",
    national: true,
    forms: [
      {
        pattern: "[12] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-4][0-9]) ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}\\b",
        valid: (found) => isFrenchNir(`regexp_replace(${found}, '[ ]', '', 'g')`),
      },
    ],
  },
  "es-dni": {
    noun: "a Spanish identity number",
    national: true,
    forms: [
      {
        pattern: "(?:[0-9]{8}|[XYZ]-?[0-9]{7})-?[A-HJ-NP-TV-Z]\\b",
        valid: (found) => isSpanishDni(`replace(${found}, '-', '')`),
      },
    ],
  },
  "it-fiscal-code": {
    noun: "an Italian fiscal code",
    national: true,
    forms: [
      {
        pattern: "[A-Z]{6}[0-9L-NP-V]{2}[A-EHLMPRST][0-9L-NP-V]{2}[A-Z][0-9L-NP-V]{3}[A-Z]\\b",
        valid: (found) => isItalianFiscalCode(found),
      },
    ],
  },
  "br-cpf": {
    noun: "a Brazilian CPF",
    national: true,
    forms: [
      {
        pattern: "[0-9]{3}\\.[0-9]{3}\\.[0-9]{3}-[0-9]{2}\\b",
        valid: (found) => isBrazilianCpf(`regexp_replace(${found}, '[.\\-]', '', 'g')`),
      },
    ],
  },
  ip: {
    noun: "an IP address",
    forms: [
      {
        contains: ".",
        before: "^|[^\\w.\\-]",
        pattern: "[0-9]{1,3}(?:\\.[0-9]+){3,}\\b",
        // Sections of documents have octets of one digit, and the computer itself is nobody's.
        valid: (found) =>
          `${full(found, ipv4)} AND regexp_matches(${found}, '[0-9]{2}') AND NOT regexp_matches(${found}, '^(?:127|0)\\.|^255\\.255\\.')`,
      },
      {
        contains: ":",
        before: "^|[^\\w:]",
        pattern: "(?:[0-9A-Fa-f]{1,4}:{1,2}){2,7}[0-9A-Fa-f]{1,4}\\b",
        valid: (found) => `(${full(found, ipv6)}) AND regexp_matches(${found}, '[0-9]')`,
      },
    ],
  },
  phone: {
    noun: "a telephone number",
    forms: [
      {
        contains: "+",
        before: "^|[^\\w+]",
        pattern: `\\+[1-9](?:[ .\\-/]?\\(?[0-9]\\)?){7,14}${extension}\\b`,
        // Signed decimals and pairs of coordinates are none; without separators there are ten digits at least.
        valid: (found) => `NOT regexp_matches(${found}, '^[+][0-9]{1,3}\\.(?:[0-9]{5}|[0-9]+-)|^[+][0-9]{1,9}$')`,
      },
      {
        before: notAfterDigits,
        pattern: `${northAmerican}${extension}\\b${more}`,
        valid: (found) => full(found, `${northAmerican}${extension}`),
      },
      {
        before: notAfterDigits,
        pattern: [
          "(?:\\(0[1-9][0-9]\\)[ \\-/]{0,2}|0[1-9][0-9](?:[ \\-/]|[ ][\\-/][ ]))[0-9](?:[ \\-/]?[0-9]){5,8}\\b",
          "(?:\\(0[1-9][0-9]{2,3}\\)[ \\-/]{0,2}|0[1-9][0-9]{2,3}(?:[ \\-/]|[ ][\\-/][ ]))[0-9](?:[ \\-/]?[0-9]){4,8}\\b",
          "0[1-9](?:[ .\\-][0-9]{2}){4}\\b",
          "0[1-9]-[1-9][0-9]{1,2}(?: [0-9]{2,3}){2,3}\\b",
        ].join("|"),
        valid: (found) => `NOT regexp_matches(${found}, '^[0-9]{3}-[0-9]{2}-')`,
      },
      {
        before: `${phoneWords}(?:\\s+(?i:no|number|nr)\\b)?[.:#]?\\s{0,3}`,
        pattern: "\\(?[0-9](?:[ .\\-/]?\\(?[0-9]\\)?){6,14}\\b",
        valid: (found) => `NOT ${full(found, "[0-9]+[.][0-9]+")}`,
      },
    ],
  },
} as const satisfies Record<string, PersonalKind>;

export type PersonalKindName = keyof typeof personalKinds;
export const personalKindNames = Object.keys(personalKinds) as PersonalKindName[];
