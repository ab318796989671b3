import * as z from "zod";
import { MillraceError, type ReadRequest } from "../../core/index.ts";

export const options = z.strictObject({
  url: z.string().min(1).describe("A STAC API (its landing page), or the `catalog.json` of a static catalogue."),
  headers: z
    .record(z.string().regex(/^[\w-]+$/), z.string())
    .default({})
    .meta({ secret: true })
    .describe(
      "Headers such as `authorization`. They are sent to the host of `url` only, not to others that hold assets.",
    ),
  allow_hosts: z
    .array(z.string().min(1))
    .default([])
    .describe(
      "Hosts that may be called though they are not public, and ports besides 80, 443, 8080 and 8443: `intranet`, `10.0.0.5:9000`, `*.corp.example`.",
    ),
  page: z.int().min(1).max(10_000).default(100).describe("Items that are asked for at once. Default 100."),
  max_items: z
    .int()
    .min(1)
    .default(1_000_000)
    .describe("A stream with more items that are new is refused. Default 1,000,000."),
  asset_max_bytes: z
    .int()
    .min(1)
    .default(1024 ** 3)
    .describe("How much of one asset may be fetched. Default 1 GiB."),
  parse_timeout_s: z
    .number()
    .positive()
    .default(60)
    .describe("How long a parser may work on an asset without giving anything, seconds. Default 60."),
  parse_memory_mb: z
    .number()
    .int()
    .positive()
    .default(1024)
    .describe("How much memory a parser may take, MiB. Default 1024."),
});
export type Options = z.output<typeof options>;

const types = ["string", "double", "long", "boolean", "timestamptz"] as const;
export type PropertyType = (typeof types)[number];

/** `options` of a flow that reads from STAC. */
const streamOptions = z.strictObject({
  collections: z.array(z.string().min(1)).min(1).optional(),
  bbox: z.array(z.number()).length(4).optional(),
  datetime: z.string().min(1).optional(),
  ids: z.array(z.string()).min(1).optional(),
  filter: z.record(z.string(), z.unknown()).optional(),
  properties: z.record(z.string().min(1), z.enum(types)).default({}),
  assets: z.array(z.string().min(1)).min(1).optional(),
  geotiff: z.record(z.string(), z.unknown()).default({}),
});
export type StreamOptions = z.output<typeof streamOptions>;

/** What a request asks for. Throws `config`. */
export function parseStreamOptions(request: ReadRequest): StreamOptions {
  const result = streamOptions.safeParse(request.options ?? {});
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) =>
    issue.code === "unrecognized_keys"
      ? `\`${issue.keys.join("`, `")}\` is not known`
      : `\`options.${issue.path.join(".")}\`: ${issue.message}`,
  );
  throw new MillraceError("config", problems.join("; "), {
    hint: `the options of a stream are ${Object.keys(streamOptions.shape).join(", ")}`,
  });
}
