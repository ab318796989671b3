import { during, MillraceError, type Sink } from "../core/index.ts";
import type { CacheOptions } from "../feed/cache.ts";
import { openEntityIndex } from "../lookup/entity-index.ts";
import { openIndexLookup, sinkLookup, type IndexSource, type Lookup } from "../lookup/lookup.ts";
import type { LakeHandles } from "./lake.ts";
import type { LookupSpec } from "./lookup-spec.ts";
import { openSink } from "./modules.ts";

export interface LookupOptions {
  /** Connection of a sink: look up in the copy that was published there, not in an index of this process. */
  connection?: string;
  /** Columns that identify a row. Default: what the configuration says, else the key of the flow. */
  key?: readonly string[];
  /** Columns that the index holds besides the key. Default: all. */
  columns?: readonly string[];
  /** Only rows for which this SQL condition holds. */
  where?: string;
  /** Of several rows with one key, the one with the greatest value here counts. Default: they are an error. */
  lastBy?: string;
  /** `memoryBytes`: what is larger is read from disk for each answer. */
  cache?: CacheOptions;
  signal?: AbortSignal;
}

/**
 * Opens a lookup: an entry of `lookup` in the configuration, a dataset or a version of it, or with `connection` the target of a published copy.
 * Throws `not-found`, and `usage` for keys that are null or that several rows have.
 */
export async function openLookup(lake: LakeHandles, name: string, options: LookupOptions = {}): Promise<Lookup> {
  const entries = lake.config.lookup ?? {};
  const entry: LookupSpec = Object.hasOwn(entries, name) ? entries[name]! : {};
  const connection = options.connection ?? entry.connection;
  if (connection !== undefined) return openCopy(lake, connection, name, entry, options);
  const reference = entry.dataset ?? name;
  const choice = {
    key: options.key ?? entry.key,
    columns: options.columns ?? entry.columns,
    where: options.where ?? entry.where,
    lastBy: options.lastBy ?? entry.last_by,
  };
  const newest = async (): Promise<IndexSource> => {
    const { dataset, version } = await lake.resolve(reference);
    const { epoch, pending, done } = dataset.erasures();
    return {
      stamp: JSON.stringify([String(version.snapshotId), version.schemaId, epoch, pending?.id ?? null, done.length]),
      open: (signal) =>
        during(lake.store, async () => {
          await using lease = await dataset.lease(version, "lookup");
          void lease;
          return await openEntityIndex(() => lake.engine(), dataset, version, {
            key: choice.key ?? flowKey(lake, dataset.name),
            ...(choice.columns === undefined ? {} : { columns: choice.columns }),
            ...(choice.where === undefined ? {} : { where: choice.where }),
            ...(choice.lastBy === undefined ? {} : { lastBy: choice.lastBy }),
            cache: { folder: lake.feedCache, ...options.cache },
            ...(signal === undefined ? {} : { signal }),
          });
        }),
    };
  };
  return openIndexLookup(name, newest, options.signal);
}

function flowKey(lake: LakeHandles, dataset: string): readonly string[] {
  const flow = Object.entries(lake.config.flows).find(([name, candidate]) => (candidate.into ?? name) === dataset)?.[1];
  if (flow?.key !== undefined) return flow.key;
  throw new MillraceError("usage", `nothing says which columns identify a row of \`${dataset}\``, {
    where: { dataset },
    hint: `name them with --key, or write \`lookup: { ${dataset}: { key: [column] } }\` in the configuration`,
  });
}

async function openCopy(
  lake: LakeHandles,
  connection: string,
  name: string,
  entry: LookupSpec,
  options: LookupOptions,
): Promise<Lookup> {
  const found = await lake.connection(connection);
  if (found.kind !== "sink") {
    throw new MillraceError("config", `the connection \`${connection}\` is a ${found.kind}, not a sink`, {
      where: { connection },
      hint: "`millrace list sinks` shows where copies can be published to and looked up",
    });
  }
  const sink = await openSink(lake.registry, found.type, found.options, { connection, folder: lake.config.folder });
  if (!canGet(sink)) {
    await sink[Symbol.asyncDispose]();
    throw new MillraceError("unsupported", `copies in \`${connection}\` cannot be looked up`, {
      where: { connection },
      hint: `look up in an index of this process instead: millrace lookup ${name}`,
    });
  }
  const target = entry.target ?? name;
  const dataset = entry.dataset ?? target;
  const publishedAt = async (version: number): Promise<number | undefined> => {
    const [of] = dataset.split("@");
    if (of === undefined || !(await lake.catalog.exists(of))) return undefined;
    return (await lake.catalog.open(of)).versions().find((each) => each.number === version)?.time;
  };
  return sinkLookup(name, sink, target, options.key ?? entry.key, publishedAt);
}

const canGet = (sink: Sink): sink is Sink & Required<Pick<Sink, "get">> => sink.get !== undefined;
