import type { Sql } from "../check.ts";

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);
/** The digit at a place, from 1 on. */
const digit = (text: Sql, at: number): Sql => `(ascii(substr(${text}, ${at}, 1)) - 48)`;
const sum = (terms: readonly Sql[]): Sql => terms.join(" + ");

/** ISO/IEC 7812-1, annex B: every second digit from the right counts twice; of a product of two digits their sum counts. */
function luhn(): Sql {
  const padded = "lpad(regexp_replace(number, '[^0-9]', '', 'g'), 19, '0')";
  const doubled = `translate(${padded}, '0123456789', '0246813579')`;
  return `(${sum(range(1, 19).map((at) => digit(at % 2 === 0 ? doubled : padded, at)))}) % 10 = 0`;
}

/** ISO 13616-1: the first four characters go to the end, letters count from 10 to 35, and the number is 1 modulo 97. */
function iban(): Sql {
  const plain = "replace(number, ' ', '')";
  const spelt = range(10, 35).reduce(
    (text, value) => `replace(${text}, '${value.toString(36).toUpperCase()}', '${value}')`,
    `(substr(${plain}, 5) || left(${plain}, 4))`,
  );
  // At most 68 digits: 30 at a time, behind what is left of those before.
  const step = (rest: Sql, digits: Sql): Sql => `(TRY_CAST(${rest} || ${digits} AS HUGEINT) % 97)`;
  const ends = range(0, 2).reduce((rest, part) => step(rest, `substr(spelt, ${part * 30 + 1}, 30)`), "''");
  return `coalesce(list_transform([${spelt}], lambda spelt: ${ends} = 1)[1], false)`;
}

/**
 * Identifikationsnummer, § 139b AO: ISO 7064 MOD 11,10. Of the first ten digits one is there two or three times and the others once.
 */
function germanTaxId(): Sql {
  const digits = range(1, 10).map((at) => digit("number", at));
  const product =
    `list_reduce([${digits.join(", ")}], ` +
    "lambda product, digit: ((CASE (product + digit) % 10 WHEN 0 THEN 10 ELSE (product + digit) % 10 END) * 2) % 11, 10)";
  const times = range(0, 9).map((each) => `10 - length(replace(left(number, 10), '${each}', ''))`);
  const most = `greatest(${times.join(", ")})`;
  const different = `list_unique([${digits.join(", ")}])`;
  return `length(number) = 11 AND (11 - ${product}) % 10 = ${digit("number", 11)} AND (${different} = 9 OR (${different} = 8 AND ${most} = 3))`;
}

/** Numéro d'inscription au répertoire: the key is 97 less the number modulo 97; Corsica's departments count as 19 and 18. */
const frenchNir: Sql =
  "coalesce(TRY_CAST(right(number, 2) AS BIGINT) = 97 - TRY_CAST(replace(replace(left(number, 13), '2A', '19'), '2B', '18') AS BIGINT) % 97, false)";

/** Documento nacional de identidad and número de identidad de extranjero: the letter is the number modulo 23. */
const spanishDni: Sql =
  "coalesce(substr('TRWAGMYFPDXBNJZSQVHLCKE', CAST(TRY_CAST(translate(left(number, 8), 'XYZ', '012') AS BIGINT) % 23 AS BIGINT) + 1, 1) = right(number, 1), false)";

/** Codice fiscale, DM 23/12/1976: odd places by a table of their own, even ones by the alphabet; digits count as A to J. */
function italianFiscalCode(): Sql {
  const spelt = "translate(number, '0123456789', 'ABCDEFGHIJ')";
  const values = range(1, 15).map((at) =>
    at % 2 === 1
      ? `(strpos('BAKPLCQDREVOSFTGUHMINJWZYX', substr(${spelt}, ${at}, 1)) - 1)`
      : `(ascii(substr(${spelt}, ${at}, 1)) - 65)`,
  );
  return `(${sum(values)}) % 26 = ascii(right(number, 1)) - 65`;
}

/** Cadastro de pessoas físicas: two check digits modulo 11; the same digit eleven times fits and is none. */
function brazilianCpf(): Sql {
  const check = (length: number): Sql =>
    `((${sum(range(1, length).map((at) => `${digit("number", at)} * ${length + 2 - at}`))}) * 10) % 11 % 10 = ${digit("number", length + 1)}`;
  return `${check(9)} AND ${check(10)} AND number <> repeat(left(number, 1), 11)`;
}

/** Predicates of one text expression; it is bound once. */
const over =
  (predicate: Sql) =>
  (text: Sql): Sql =>
    `list_transform([${text}], lambda number: ${predicate})[1]`;

export const isLuhn = over(luhn());
export const isIban = over(iban());
export const isGermanTaxId = over(germanTaxId());
export const isFrenchNir = over(frenchNir);
export const isSpanishDni = over(spanishDni);
export const isItalianFiscalCode = over(italianFiscalCode());
export const isBrazilianCpf = over(brazilianCpf());
