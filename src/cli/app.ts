import { buildApplication, buildCommand, buildRouteMap, type Application } from "@stricli/core";
import type { Context } from "./context.ts";
import { exitCodeOf } from "./errors.ts";
import {
  amountFlag,
  argument,
  atMostOne,
  countFlag,
  durationFlag,
  foldFlags,
  globalFlags,
  listFlag,
  many,
  one,
  optionalArgument,
  requiredTextFlag,
  sizeFlag,
  switchFlag,
  textFlag,
} from "./flags.ts";
import { text } from "./usage.ts";

const reference = "Dataset, or a version of it: `orders`, `orders@7`, `orders@gold`";

/** All verbs. Their code is loaded when they run; here is only what help needs. */
export const routes = buildRouteMap({
  routes: {
    init: buildCommand({
      loader: () => import("./commands/init.ts"),
      parameters: {
        flags: globalFlags,
        positional: atMostOne("folder", "Folder to make the lake in (default: this one)"),
      },
      docs: { brief: "Make a folder with a configuration and a small flow that works at once" },
    }),
    list: buildCommand({
      loader: () => import("./commands/list.ts"),
      parameters: {
        flags: globalFlags,
        positional: atMostOne("kind", "sources, stores, sinks, formats or checks (default: all)"),
      },
      docs: { brief: "List the modules there are" },
    }),
    describe: buildCommand({
      loader: () => import("./commands/describe.ts"),
      parameters: {
        flags: globalFlags,
        positional: {
          kind: "tuple",
          parameters: [
            argument("kind", "source, store, sink, format or check"),
            argument("name", "Name of the module"),
          ],
        },
      },
      docs: { brief: "Show what a module does, its options and examples" },
    }),
    check: buildCommand({
      loader: () => import("./commands/check.ts"),
      parameters: { flags: globalFlags, positional: many("name", "Connections or flows (default: all of them)") },
      docs: {
        brief: "Check the configuration, and that a connection or the source of a flow can be read; moves no rows",
      },
    }),
    discover: buildCommand({
      loader: () => import("./commands/discover.ts"),
      parameters: {
        flags: { ...globalFlags, columns: switchFlag("Show the columns of each stream") },
        positional: {
          kind: "tuple",
          parameters: [
            argument("connection", "Name of a connection"),
            optionalArgument("stream", "Show this stream only"),
          ],
        },
      },
      docs: { brief: "Show the streams (tables, topics, files) of a connection" },
    }),
    run: buildCommand({
      loader: () => import("./commands/run.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          all: switchFlag("Run every flow of the configuration"),
          full: switchFlag("Read everything again, not only what is new (with mode replace or merge)"),
          watch: switchFlag("Go on until it is stopped: a version whenever there is something new"),
          every: textFlag("10s", "With --watch: least time between two versions (default: that of the flow, else 5s)"),
          metrics: textFlag("9464", "With --watch: serve figures for Prometheus at this port of this machine"),
        },
        positional: many("flow", "Names of flows"),
      },
      docs: { brief: "Run flows: read what is new, check it, publish one version; safe to repeat" },
    }),
    status: buildCommand({
      loader: () => import("./commands/status.ts"),
      parameters: { flags: globalFlags, positional: many("flow", "Names of flows (default: all of them)") },
      docs: { brief: "Show how flows stand: last version, rows of the last hour, what waits in the source" },
    }),
    collect: buildCommand({
      loader: () => import("./commands/collect.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          host: textFlag("address", "Address to listen at (default: that of the configuration, or 127.0.0.1)"),
          port: countFlag("Port to listen at (default: that of the configuration, or 4300)"),
        },
        positional: many("connection", "Connections (default: all that others send to)"),
      },
      docs: { brief: "Take in what others send (clickstreams, logs, webhooks, forms) until it is stopped" },
    }),
    forms: buildCommand({
      loader: () => import("./commands/forms.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          html: requiredTextFlag("file", "Write the page of the form to this file"),
          url: textFlag("address", "Where `millrace collect` is reached: `https://collect.example.com`"),
          channel: textFlag("name", "Channel that the answers come from"),
        },
        positional: one("connection", "Connection of the kind `form`"),
      },
      docs: { brief: "Write the page of a form, to be put anywhere" },
    }),
    datasets: buildCommand({
      loader: () => import("./commands/datasets.ts"),
      parameters: { flags: globalFlags },
      docs: { brief: "List the datasets of the lake" },
    }),
    show: buildCommand({
      loader: () => import("./commands/show.ts"),
      parameters: { flags: globalFlags, positional: one("dataset", reference) },
      docs: { brief: "Show a version: columns, counts, verdict, where it came from" },
    }),
    preview: buildCommand({
      loader: () => import("./commands/preview.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          split: textFlag("split", "Rows of this split only: train, validation or test"),
          rows: countFlag("How many rows (default 10)"),
          columns: textFlag("a,b", "Columns to show, separated by commas"),
          html: textFlag("file", "Write a page with pictures, players and text instead"),
          ...foldFlags,
        },
        positional: one("dataset", reference),
      },
      docs: { brief: "Show some rows of a version" },
    }),
    query: buildCommand({
      loader: () => import("./commands/query.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          csv: switchFlag("Print CSV"),
          rows: countFlag("At most this many rows (default 10000; 100 on a terminal)"),
          ...foldFlags,
        },
        positional: one("sql", 'A SELECT; datasets are tables: orders, "orders@7". `-` reads it from the input'),
      },
      docs: { brief: "Query datasets with SQL" },
    }),
    history: buildCommand({
      loader: () => import("./commands/history.ts"),
      parameters: { flags: globalFlags, positional: one("dataset", "Dataset") },
      docs: { brief: "List the versions of a dataset" },
    }),
    diff: buildCommand({
      loader: () => import("./commands/diff.ts"),
      parameters: {
        flags: globalFlags,
        positional: { kind: "tuple", parameters: [argument("before", reference), argument("after", reference)] },
      },
      docs: { brief: "Compare two versions: rows, columns and files" },
    }),
    tag: buildCommand({
      loader: () => import("./commands/tag.ts"),
      parameters: {
        flags: { ...globalFlags, remove: switchFlag("Remove the tag") },
        positional: {
          kind: "tuple",
          parameters: [argument("dataset", reference), argument("tag", "Name of the tag, such as `gold`")],
        },
      },
      docs: { brief: "Give a version a name that stays" },
    }),
    rollback: buildCommand({
      loader: () => import("./commands/rollback.ts"),
      parameters: { flags: globalFlags, positional: one("dataset@version", "The version to go back to: `orders@2`") },
      docs: { brief: "Make an earlier version the current one again; nothing is lost" },
    }),
    quality: buildCommand({
      loader: () => import("./commands/quality.ts"),
      parameters: {
        flags: { ...globalFlags, html: textFlag("file", "Write a page with plots to this file") },
        positional: one("dataset", reference),
      },
      docs: { brief: "Show the verdict of each check and a profile of each column" },
    }),
    verify: buildCommand({
      loader: () => import("./commands/verify.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          deep: switchFlag("Read every file and compare its checksum and rows, not only names and sizes"),
          source: switchFlag("Compare counts and checksums with the source as it is now"),
        },
        positional: many("dataset", "Datasets (default: all); with --source: flows"),
      },
      docs: { brief: "Prove that every file of every version is there and undamaged" },
    }),
    gc: buildCommand({
      loader: () => import("./commands/gc.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          dryRun: switchFlag("Only say what would go"),
          olderThan: durationFlag("Expire versions older than this first (tags stay)"),
          keep: countFlag("Keep at least this many versions when expiring (default 1)"),
          minimumAge: durationFlag("Keep files without a version that are younger than this (default 24h)"),
        },
        positional: many("dataset", "Datasets (default: all)"),
      },
      docs: { brief: "Remove files that no version, tag or running writer needs" },
    }),
    compact: buildCommand({
      loader: () => import("./commands/compact.ts"),
      parameters: {
        flags: { ...globalFlags, target: sizeFlag("Size of the files to make (default 256 MiB)") },
        positional: many("dataset", "Datasets (default: all)"),
      },
      docs: { brief: "Rewrite many small files as few; the rows stay the same" },
    }),
    export: buildCommand({
      loader: () => import("./commands/export.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          format: {
            kind: "enum",
            values: ["parquet", "csv", "tsv", "jsonl", "json", "arrow", "webdataset", "mds", "tfrecord"],
            brief: "Format of the files",
          },
          to: requiredTextFlag("folder", "Folder for the files, or an address such as s3://bucket/prefix"),
          store: textFlag("connection", "--to is a path in this store of the configuration"),
          split: textFlag("a,b", "Rows of this split only; several go into a folder each"),
          ...foldFlags,
          columns: textFlag("a,b,c", "Columns, in this order (default: all)"),
          where: textFlag("sql", "Only rows for which this holds"),
          order: {
            kind: "enum",
            values: ["stored", "shuffle"],
            optional: true,
            brief: "Order of the rows: as they are stored (default), or shuffled by --seed",
          },
          seed: countFlag("Seed of the shuffle (default 0)"),
          shardSize: sizeFlag("Begin a new file before this size (default: 64MB for training formats, else one file)"),
          compression: textFlag("name", "gzip for tfrecord, zstd for mds (default: none)"),
          as: listFlag("column=type", "webdataset: a column as a file of its own: --as label=cls --as photo=jpg"),
          key: textFlag("column", "webdataset: the column that names the samples (default: they are numbered)"),
          float32: switchFlag("tfrecord: 64-bit floats rounded to 32 bits, as float_list"),
          force: switchFlag("Also between files of others, and in the place of another export"),
        },
        positional: one("dataset", reference),
      },
      docs: { brief: "Write a version as files for training or for other programs" },
    }),
    publish: buildCommand({
      loader: () => import("./commands/publish.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          to: textFlag("connection", "Sink to publish to (default: those of the flow)"),
          key: textFlag("a,b", "Columns that identify a row (default: those of the flow)"),
          mode: {
            kind: "enum",
            values: ["replace", "merge"],
            optional: true,
            brief: "The copy becomes the version, or rows with other keys stay (default replace)",
          },
          target: textFlag("name", "Table, key prefix or collection (default: the name of the dataset)"),
        },
        positional: one("dataset", reference),
      },
      docs: { brief: "Copy a version into a database, all at once; safe to repeat" },
    }),
    replay: buildCommand({
      loader: () => import("./commands/replay.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          where: textFlag("sql", "Which rejected records: a predicate over reason, check, origin, record"),
          set: listFlag("column=sql", 'Mend a column before the checks: --set "price=abs(price)"'),
        },
        positional: one("flow", "Name of the flow whose rejected records are put through again"),
      },
      docs: { brief: "Mend rejected records and put them through the checks of their flow again" },
    }),
    erase: buildCommand({
      loader: () => import("./commands/erase.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          where: textFlag("sql", "Which rows: a predicate over the columns, such as \"email = 'a@b.example'\""),
          keys: textFlag("file", "Which rows: a file with one value of the key a line"),
          column: textFlag("column", "The column of --keys (default: the key of the flow)"),
          text: listFlag("text", "Also rejected records whose text has this in it, for those that could not be parsed"),
          suppress: switchFlag("Keep rows with these --keys out of later runs; only hashes of the keys are kept"),
          reason: textFlag("text", "Why, for the record that stays; it must not name the person"),
          dryRun: switchFlag("Only say what would go"),
          verify: switchFlag("Only look whether anything is left; ends with 1 if so"),
          abandon: switchFlag("Give up an erasure that was begun and cannot be finished"),
          yes: switchFlag("Do not ask for confirmation"),
        },
        positional: one("dataset", "Dataset"),
      },
      docs: { brief: "Remove rows from every version of a dataset, for good" },
    }),
    leakage: buildCommand({
      loader: () => import("./commands/leakage.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          text: textFlag(
            "a,b",
            "Columns of text to look for near-duplicates in (default: what the flow or the columns say)",
          ),
          similarity: amountFlag("How similar texts must be, 0.5 to 1 (default 0.8)"),
          numbers: textFlag("a,b", "Columns of numbers to look for neighbours in"),
          distance: amountFlag("How far apart neighbours may be in each column, in standard deviations (default 0.01)"),
          hash: textFlag("column", "Column of 64-bit perceptual hashes"),
          bits: countFlag("How many bits of them may differ (default 4)"),
          maxRows: countFlag("So many rows of each kind are allowed (default 0)"),
          maxShare: amountFlag("So great a share of the rows is allowed, 0 to 1 (default 0)"),
          ...foldFlags,
        },
        positional: one("dataset", reference),
      },
      docs: { brief: "Find what of one split is in another: groups, copies, near-duplicates; ends with 1 if so" },
    }),
    folds: buildCommand({
      loader: () => import("./commands/folds.ts"),
      parameters: {
        flags: { ...globalFlags, folds: countFlag("How many folds (default 5)"), gap: foldFlags.gap },
        positional: one("dataset", reference),
      },
      docs: { brief: "Show how a version falls into folds for cross-validation" },
    }),
    features: buildCommand({
      loader: () => import("./commands/features.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          entities: textFlag("dataset", "Dataset or version of the entities, instead of the entry's"),
          at: textFlag("column", "Column with the moment of an entity, instead of the entry's"),
          to: textFlag("file", "Write this file (.parquet, .csv, .jsonl) instead of a version"),
          full: switchFlag("Join again though no input has changed"),
        },
        positional: one("name", "Entry of `features` in the configuration"),
      },
      docs: { brief: "Join to each entity the newest features that were known at its moment; publish one version" },
    }),
    feed: buildCommand({
      loader: () => import("./commands/feed.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          split: textFlag("name", "One split only: train, validation or test"),
          ...foldFlags,
          batch: countFlag("Samples of a step, over all ranks (default 256)"),
          seed: countFlag("Seed of the shuffle (default 0)"),
          epochs: countFlag("How many times over the data (default 1)"),
          repeat: switchFlag("Go on for ever"),
          columns: textFlag("a,b,c", "Columns of a batch (default: all but the split)"),
          where: textFlag("sql", "Only rows for which this holds"),
          block: countFlag("Shuffle blocks of so many neighbouring rows instead of single rows"),
          image: listFlag(
            "column=224x224",
            "Serve a column of images as samples of a byte; also `photo=64x64,chw,grey,contain`",
          ),
          onBad: {
            kind: "enum",
            values: ["error", "skip"],
            optional: true,
            brief: "What to do with a row whose image cannot be decoded (default error)",
          },
          weights: textFlag("column", "Draw rows with replacement, as often as the numbers of this column say"),
          keepLast: switchFlag("Also the last step of an epoch when it is smaller"),
          port: countFlag("Port on this machine (default: a free one)"),
          socket: textFlag("path", "Unix socket instead of a port"),
        },
        positional: many("dataset", "Datasets or versions; several are mixed, `name=2` with that weight"),
      },
      docs: { brief: "Serve training batches in an order that can be resumed at any step" },
    }),
    lookup: buildCommand({
      loader: () => import("./commands/lookup.ts"),
      parameters: {
        flags: {
          ...globalFlags,
          key: textFlag("a,b", "Columns that identify a row (default: the entry's, else the key of the flow)"),
          columns: textFlag("a,b,c", "Columns to show (default: all)"),
          where: textFlag("sql", "Only rows for which this holds"),
          lastBy: textFlag("column", "Of several rows with one key, the one with the greatest value here counts"),
          memory: sizeFlag("Larger indexes are read from disk for each answer (default 1 GiB)"),
          serve: switchFlag("Answer over HTTP until it is stopped: /v1/lookup/NAME?key=…"),
          port: countFlag("Port of the server on this machine (default: a free one)"),
          socket: textFlag("path", "Unix socket of the server instead of a port"),
          redisPort: countFlag("Also answer clients of Redis at this port: GET NAME:KEY"),
        },
        positional: many("name", "What to look up in, then the keys"),
      },
      docs: {
        brief: "Look up rows by key: in a dataset, or in a published copy of it",
        fullDescription: [
          "Looks up rows by key. What to look up in comes first, then any number of keys:",
          "",
          "  millrace lookup flights@gold JFK LAX --key origin   a dataset or a version of it, by an index that is made here",
          "  millrace lookup flights JFK LAX                     an entry of `lookup` in the configuration, or a dataset",
          "  millrace lookup online flights JFK LAX              the copy that was published to the connection `online`",
          "",
          "A first word that is the name of a sink connection means the published copy there, and its name follows. With a key of",
          "several columns their values are separated by commas (JFK,2024), or are a JSON list ('[\"a,b\", 7]').",
          "Keys that are not there are said to be missing; that is no error.",
          "",
          "  millrace lookup --serve [NAME…]                     answers over HTTP; without names, every entry of `lookup`",
          "  millrace lookup --serve --redis-port 6380           the same, and to clients of Redis: GET flights:JFK",
        ].join("\n"),
      },
    }),
    transform: buildCommand({
      loader: () => import("./commands/transform.ts"),
      parameters: {
        flags: globalFlags,
        positional: {
          kind: "tuple",
          parameters: [
            argument("dataset", `${reference}; the one whose transform it is`),
            optionalArgument("file", "Rows as NDJSON (default: standard input)"),
          ],
        },
      },
      docs: {
        brief: "Apply the transform of a dataset to rows that are not in it, such as those that a model is asked about",
        fullDescription: [
          "Reads one JSON object a line and prints what the transform of the version makes of each, one JSON object a line:",
          "",
          "  echo '{\"km\": 3.2}' | millrace transform trips@gold",
          "  millrace transform trips requests.ndjson",
          "",
          "It is the transform that made the version, whatever the configuration says now. Lines that do not fit are named on",
          "standard error, and end the command with an error once the others are through. Checks are not applied.",
          "`millrace lookup --serve` answers the same over HTTP: POST /v1/transform/NAME.",
        ].join("\n"),
      },
    }),
    schema: buildCommand({
      loader: () => import("./commands/schema.ts"),
      parameters: { flags: globalFlags },
      docs: { brief: "Print the JSON schema of the configuration, for editors" },
    }),
  },
  docs: { brief: "Any data source becomes trusted, versioned, training-ready data." },
});

export function createApp(version: string): Application<Context> {
  return buildApplication<Context>(routes, {
    name: "millrace",
    versionInfo: { currentVersion: version },
    scanner: { caseStyle: "allow-kebab-for-camel", allowArgumentEscapeSequence: true },
    documentation: { disableAnsiColor: true, onlyRequiredInUsageLine: true },
    localization: { text },
    determineExitCode: exitCodeOf,
  });
}
