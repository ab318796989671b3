import * as z from "zod";
import { collectedShape } from "../collected/options.ts";

const secret = z
  .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
  .meta({ secret: true })
  .transform((value) => (typeof value === "string" ? [value] : value));

const known = z.strictObject({ scheme: z.enum(["stripe", "shopify", "typeform", "github"]), secret });
const custom = z.strictObject({
  scheme: z.literal("custom"),
  secret,
  header: z.string().regex(/^[A-Za-z0-9-]+$/),
  algorithm: z.enum(["sha256", "sha1", "sha512"]).default("sha256"),
  encoding: z.enum(["hex", "base64"]).default("hex"),
  prefix: z.string().default(""),
  signed: z
    .string()
    .regex(/\{body\}$/, "ends with `{body}`")
    .default("{body}"),
  timestamp_header: z
    .string()
    .regex(/^[A-Za-z0-9-]+$/)
    .optional(),
  id_header: z
    .string()
    .regex(/^[A-Za-z0-9-]+$/)
    .optional(),
  type_header: z
    .string()
    .regex(/^[A-Za-z0-9-]+$/)
    .optional(),
});
const timed = custom.refine(
  (sender) => sender.timestamp_header !== undefined || !sender.signed.includes("{timestamp}"),
  {
    path: ["timestamp_header"],
    message: "is needed: `signed` has `{timestamp}`",
  },
);
const none = z.strictObject({ scheme: z.literal("none") });

export const options = z.strictObject({
  senders: z
    .record(
      z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/, "is a name of letters, digits, `-` and `_`"),
      z.discriminatedUnion("scheme", [known, timed, none]),
    )
    .refine((senders) => Object.keys(senders).length > 0, "needs a sender at least")
    .describe(
      "Who sends, by name; each is a stream, and sends to `/hooks/<connection>/<name>`. `scheme`: `stripe`, `shopify`, `typeform` or `github` with their `secret`; `custom` with `secret`, `header` (of the signature), `algorithm` (sha256, sha1, sha512), `encoding` (hex, base64), `prefix` (such as `sha256=`), `signed` (what is signed: `{timestamp}.{body}`; default `{body}`), `timestamp_header`, `id_header`, `type_header`; or `none`, which is only allowed on this machine. Of several secrets any one fits, so that they can be changed.",
    ),
  tolerance_s: z
    .number()
    .positive()
    .default(300)
    .describe("How old a signed time may be, and how far ahead, seconds. Default 300."),
  max_bytes: z
    .int()
    .min(1)
    .max(64 * 1024 ** 2)
    .default(5 * 1024 ** 2)
    .describe("How large one delivery may be. Default 5 MiB."),
  requests_per_second: z
    .number()
    .positive()
    .max(1_000_000)
    .default(1_000)
    .describe("How many each sender may send; more are told to wait. Default 1,000."),
  remember: z
    .string()
    .regex(/^\d+(\.\d+)?\s*[smhdw]$/, "is a time such as `7d` or `12h`")
    .default("30d")
    .describe(
      "How long the id of a delivery is remembered: one that comes again within it is no second row. Default `30d`.",
    ),
  ...collectedShape,
});
export type Options = z.output<typeof options>;
export type Sender = Options["senders"][string];
