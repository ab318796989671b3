import * as z from "zod";
import { parseDuration } from "../../core/index.ts";
import { collectedShape, ipOption, keysOption } from "../collected/options.ts";

export const options = z.strictObject({
  keys: keysOption,
  ip: ipOption,
  ...collectedShape,
  remember: z
    .string()
    .refine((text) => (parseDuration(text) ?? 0) > 0, "is a time such as `7d` or `12h`")
    .default("7d")
    .describe(
      "How long the id of an event is remembered: one that comes again within it, with the same key, is no second row. Default `7d`.",
    ),
  bots: z
    .enum(["flag", "drop"])
    .default("flag")
    .describe(
      "Events of crawlers and of browsers without a user: `flag` sets `bot`, `drop` makes no rows of them. Default `flag`.",
    ),
  consent: z
    .strictObject({
      category: z.string().min(1),
      without: z.enum(["anonymise", "drop"]).default("anonymise"),
    })
    .optional()
    .describe(
      "What people must have agreed to. `category`: its name, as in `context.consent.categoryPreferences` of Segment or `ad_user_data` of Google Analytics; `without`: `anonymise` (default) takes ids, address, user agent and context from the events of others, `drop` makes no rows of them. A browser that sends `Sec-GPC: 1` has not agreed.",
    ),
  network_user_id: z
    .strictObject({
      consent_cookie: z.string().regex(/^[\w-]+$/),
      days: z.int().min(1).max(400).default(365),
    })
    .optional()
    .describe(
      "Gives browsers with Snowplow's tracker a cookie that tells them apart: only those that have the cookie `consent_cookie` with `1`, `true`, `yes` or `granted`, and neither `SP-Anonymous` nor `Sec-GPC`. `days`: how long it stays, default 365. Default: no cookie.",
    ),
});
export type Options = z.output<typeof options>;
