import { join, resolve } from "node:path";
import * as z from "zod";
import type { CollectorKey } from "../../core/index.ts";

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/, "is a name of letters, digits, `-` and `_`");

const origin = z.string().regex(/^(\*|https?:\/\/[^/\s?#]+)$/, "is an origin such as `https://example.com`, or `*`");

/** `options.origins` of routes that need no key. */
export const originsOption = z
  .array(origin)
  .default([])
  .describe("Origins of web pages whose scripts may send: `https://example.com`, or `*` for all. Default: none.");

export const keysOption = z
  .record(
    name,
    z.strictObject({
      key: z.string().min(16).max(200).meta({ secret: true }).optional(),
      origins: z.array(origin).default([]),
      requests_per_second: z.number().positive().max(1_000_000).default(2_000),
    }),
  )
  .refine((keys) => Object.keys(keys).length > 0, "needs a key at least")
  .prefault({ default: {} })
  .describe(
    "Write-only keys by name; each is a stream. `key`: its text, `${env:…}`; one that has none is generated, printed once, and kept as a hash beside the configuration. `origins`: web pages that may send with it, `https://example.com` or `*`; default none. `requests_per_second`: default 2,000; more are told to wait. Default: one key, `default`.",
  );

/** What is kept of the address of whoever sends. */
export const ipOption = z
  .enum(["truncated", "full", "none"])
  .default("truncated")
  .describe(
    "What is kept of the address of a client: `truncated` (24 bits of IPv4, 48 of IPv6), `full` or `none`. Nothing else reaches the disk. Default `truncated`.",
  );

/** Options of every source that others send to. */
export const collectedShape = {
  inbox: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Folder on this machine in which requests wait to be read, relative to the configuration. Default `inbox/<connection>`.",
    ),
  inbox_max_bytes: z
    .int()
    .min(1 << 20)
    .default(10 * 1024 ** 3)
    .describe("What the inbox may hold; senders of more are told to come again. Default 10 GiB."),
  keep_hours: z
    .number()
    .min(0)
    .default(0)
    .describe(
      "How long requests stay in the inbox once every flow that reads them has a version with them. Default 0.",
    ),
  max_requests: z
    .int()
    .min(1)
    .optional()
    .describe(
      "At most so many requests become one version; the next run, or `--watch`, goes on with the rest. Default: all.",
    ),
  part_requests: z.int().min(1).default(20_000).describe("Requests that are read as one part. Default 20,000."),
};

export type CollectedOptions = z.output<z.ZodObject<typeof collectedShape>>;

/** Where the inbox of a connection is. */
export const inboxFolder = (
  { inbox }: Pick<CollectedOptions, "inbox">,
  { folder, connection }: { folder: string; connection: string },
): string => resolve(folder, inbox ?? join("inbox", connection));

export function keysOf(keys: z.output<typeof keysOption>): CollectorKey[] {
  return Object.entries(keys).map(([keyName, { key, origins, requests_per_second: requestsPerSecond }]) => ({
    name: keyName,
    ...(key === undefined ? {} : { key }),
    origins,
    requestsPerSecond,
  }));
}
