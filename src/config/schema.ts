import * as z from "zod";
import { featuresSchema } from "../pipeline/features-spec.ts";
import { checkSchema, flowSchema, nameSchema } from "../pipeline/flow.ts";
import { lookupsSchema } from "../pipeline/lookup-spec.ts";

export const engineSchema = z.strictObject({
  memoryLimit: z
    .string()
    .regex(/^\d+(\.\d+)?\s*([KMGT]i?B)$/, "must be a size such as `500MB` or `4GB`")
    .optional()
    .describe("How much memory the engine may use before it spills to disk. Default `500MB`."),
  threads: z
    .number()
    .int()
    .min(1)
    .max(1024)
    .optional()
    .describe("How many threads the engine uses. Default: the number of processors."),
  parts: z
    .number()
    .int()
    .min(1)
    .max(64)
    .optional()
    .describe("How many parts of a run are read at the same time. Default: the number of processors, from 2 to 8."),
});

export const cacheSchema = z.strictObject({
  path: z
    .string()
    .min(1)
    .optional()
    .describe("Folder for copies of data files and for staging. Default: `millrace` in the user's cache folder."),
  maxSize: z
    .string()
    .regex(/^\d+(\.\d+)?\s*([KMGT]i?B)$/, "must be a size such as `500MB` or `20GB`")
    .optional()
    .describe("How much the copies may take; those used longest ago go first. Default `20GB`."),
});

export const collectSchema = z.strictObject({
  host: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Address that `millrace collect` listens at. Default `127.0.0.1`: only programs of this machine can send.",
    ),
  port: z.int().min(0).max(65_535).optional().describe("Port that it listens at; 0: a free one. Default 4300."),
  maxConnections: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe("Connections of senders at the same time; more are closed. Default 10,000."),
  proxies: z
    .array(z.string().min(1))
    .optional()
    .describe(
      "Addresses and networks of proxies before it, whose `X-Forwarded-For` is believed: `10.0.0.0/8`. Default: none.",
    ),
});

export const storeSchema = z
  .union([z.string().min(1), z.looseObject({ store: z.string() })])
  .describe("Where datasets are kept: a folder, or `store:` with the name of a store and its options.");

export const connectionSchema = z.looseObject({
  source: z.string().optional().describe("Kind of source: see `millrace list sources`."),
  store: z.string().optional().describe("Kind of store: see `millrace list stores`."),
  sink: z.string().optional().describe("Kind of sink: see `millrace list sinks`."),
});

/** Keys that mean the same in every check. */
export const commonCheckKeys = Object.keys(checkSchema.shape);

/** What a configuration file holds. Options of stores, connections and checks are validated by their modules. */
export const configSchema = z.strictObject({
  store: storeSchema,
  connections: z
    .record(nameSchema, connectionSchema)
    .default({})
    .describe("Named systems to read from and to publish to. Secrets only as `${env:NAME}` or `${file:path}`."),
  flows: z
    .record(nameSchema, flowSchema)
    .default({})
    .describe("Named pipelines, each from one source into one dataset."),
  features: z
    .record(nameSchema, featuresSchema)
    .default({})
    .describe(
      "Named point-in-time joins of features to entities: `millrace features NAME`, or `from: { features: NAME }` in a flow.",
    ),
  lookup: lookupsSchema
    .default({})
    .describe(
      "Named lookups of rows by key: what `millrace lookup NAME KEY…` and `millrace lookup --serve` answer from.",
    ),
  cache: cacheSchema
    .optional()
    .describe("The local read cache of a store that is not on this machine, such as a bucket."),
  collect: collectSchema
    .optional()
    .describe("Where `millrace collect` takes in what others send: clickstreams, logs of apps, webhooks, forms."),
  engine: engineSchema.optional().describe("Limits of the engine that reads, checks and writes."),
});

/** A configuration as people write it. */
export type ConfigInput = z.input<typeof configSchema>;
export type Config = z.output<typeof configSchema>;

/**
 * Types a configuration that is written in TypeScript.
 *
 *     export default defineConfig({ store: "./lake", flows: { orders: { from: { path: "orders/*.csv" } } } });
 */
export function defineConfig(config: ConfigInput): ConfigInput {
  return config;
}
