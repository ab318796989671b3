/** Characters of an IBAN by country: SWIFT's IBAN registry, release 99. */
const lengths: Record<number, string> = {
  15: "NO",
  16: "BE",
  18: "DK FI FK FO GL NL SD",
  19: "MK SI",
  20: "AT BA EE KZ LT LU MN XK",
  21: "CH HR LI LV",
  22: "BG BH CR DE GB GE IE ME RS VA",
  23: "AE GI IL IQ OM SO TL",
  24: "AD CZ ES MD PK RO SA SE SK TN VG",
  25: "LY PT ST",
  26: "IS TR",
  27: "BI DJ FR GR IT MC MR SM",
  28: "AL AZ BY CY DO GT HU LB NI PL SV",
  29: "BR EG PS QA UA",
  30: "JO KW MU YE",
  31: "MT SC",
  32: "LC",
  33: "RU",
};

/** As machines write it, and in groups of four: the country says where it ends, so that the next word is not taken for a part of it. */
export const ibanPattern: string = Object.entries(lengths)
  .map(([length, countries]) => {
    const after = Number(length) - 4;
    const [groups, rest] = [Math.floor(after / 4), after % 4];
    return `(?:${countries.replaceAll(" ", "|")})[0-9]{2}(?: ?[A-Z0-9]{4}){${groups}}${rest === 0 ? "" : ` ?[A-Z0-9]{${rest}}`}`;
  })
  .join("|");
