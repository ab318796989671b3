import * as z from "zod";
import { assetsOptions } from "../../core/asset-options.ts";
import { defineSource } from "../../core/index.ts";
import { localFolders } from "./scratch.ts";

const paths = z.union([z.string(), z.array(z.string()).min(1)]);

export const filesOptions = z.strictObject({
  path: paths
    .optional()
    .describe(
      "File, folder (with all below it) or glob such as `data/**/*.csv`, or a list of them. Relative to the configuration. Or URLs of files: `https://example.com/2024.csv.gz`.",
    ),
  store: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Name of a connection that is a store, such as a bucket: `path` is in it then. Default: this machine, or the store that `path` addresses (`s3://bucket/in/*.csv`, with the credentials of the environment).",
    ),
  urls: z
    .strictObject({
      path: z.string().min(1).describe("A table on this machine: CSV, TSV, NDJSON, JSON or Parquet."),
      column: z.string().min(1).describe("Its column of URLs."),
    })
    .optional()
    .describe(
      "Instead of `path`: a column of URLs, each the address of a file. Those that cannot be had are rejected with the reason, and looked at again in the next run.",
    ),
  paths: paths.optional().describe("The same as `path`."),
  format: z
    .string()
    .optional()
    .describe("Format of all files: see `millrace list formats`. Default: what content and name of each say."),
  options: z
    .record(z.string(), z.unknown())
    .optional()
    .describe("Options of the format, as `millrace describe format <name>` lists them."),
  changed: z
    .enum(["fail", "ignore", "reread"])
    .default("fail")
    .describe(
      "What to do with a file that was read before and has changed other than by new lines at its end: `fail`, `ignore` the change, or `reread` it whole, which doubles its rows unless the flow replaces or merges. Default `fail`.",
    ),
  assets: assetsOptions.prefault({}).describe("What becomes of the bytes of documents, images, recordings."),
  allow_hosts: z
    .array(z.string().min(1))
    .default([])
    .describe(
      "Hosts of URLs that may be called though they are not public, and ports besides 80, 443, 8080 and 8443: `intranet`, `10.0.0.5:9000`, `*.corp.example`.",
    ),
  headers: z
    .record(z.string().regex(/^[\w-]+$/), z.string())
    .default({})
    .meta({ secret: true })
    .describe("Headers for URLs, such as `authorization`. They are not sent to hosts that the server redirects to."),
  part_bytes: z
    .number()
    .int()
    .positive()
    .default(1024 ** 3)
    .describe("Files are grouped into parts of about this size. Default 1 GiB."),
  sample_files: z
    .number()
    .int()
    .positive()
    .default(32)
    .describe("From how many files of equal shape the types are inferred, when text says no types. Default 32."),
  unpack_max_bytes: z
    .number()
    .int()
    .positive()
    .default(64 * 1024 ** 3)
    .describe("A file that unpacks to more is refused. Default 64 GiB."),
  unpack_max_ratio: z
    .number()
    .positive()
    .default(200)
    .describe("A file that unpacks to more times its size is refused as a decompression bomb. Default 200."),
  unpack_max_entries: z
    .number()
    .int()
    .positive()
    .default(10_000)
    .describe("An archive with more entries is refused. Default 10,000."),
  parse_timeout_s: z
    .number()
    .positive()
    .default(60)
    .describe("How long a parser may work on a file without giving anything, seconds. Default 60."),
  parse_memory_mb: z
    .number()
    .int()
    .positive()
    .default(1024)
    .describe("How much memory a parser may take, MiB. Default 1024."),
});
export type FilesOptions = z.output<typeof filesOptions>;

export default defineSource({
  name: "files",
  title: "Files",
  summary:
    "CSV, TSV, JSON, NDJSON, Parquet, Arrow, Avro and Excel files on this machine, in any store or behind URLs, also in gzip, zstd, bzip2 and zip; only new and grown ones are read again.",
  options: filesOptions,
  needs: [],
  capabilities: {
    discover: true,
    incremental: true,
    query: false,
    replayable: true,
    snapshot: false,
    deletes: false,
    measure: false,
  },
  examples: [
    { title: "Without a connection", yaml: "flows:\n  weather:\n    from: { path: data/*.csv }" },
    {
      title: "A folder that others put files into",
      yaml: "connections:\n  inbox: { source: files, path: ./inbox }\nflows:\n  orders:\n    from: { connection: inbox, stream: orders/*.ndjson }",
    },
    {
      title: "Objects of a bucket",
      yaml: "connections:\n  bucket: { store: s3, bucket: events, region: eu-west-1 }\nflows:\n  events:\n    from: { connection: bucket, path: 2024/**/*.ndjson.gz }",
    },
    {
      title: "Files of a web server",
      yaml: 'connections:\n  archive:\n    source: files\n    path: [https://intranet:8443/2023.parquet, https://intranet:8443/2024.parquet]\n    allow_hosts: [intranet]\n    headers: { authorization: "Bearer ${env:ARCHIVE_TOKEN}" }\nflows:\n  orders:\n    from: { connection: archive }',
    },
    {
      title: "Images behind a column of URLs",
      yaml: "connections:\n  pictures: { source: files, urls: { path: products.csv, column: photo_url }, format: images }\nflows:\n  photos:\n    from: { connection: pictures }",
    },
    {
      title: "Semicolons and decimal commas",
      yaml: 'flows:\n  prices:\n    from: { path: prices.csv, options: { delimiter: ";", decimal_separator: "," } }',
    },
  ],
  localPaths: (options, folder) => localFolders(options, folder),
  load: () => import("./driver.ts"),
});
