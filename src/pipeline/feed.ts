import { MillraceError } from "../core/index.ts";
import { openFeed, type Feed, type FeedOptions, type FeedSource } from "../feed/feed.ts";
import { chosenRows, splitColumn, type Selection } from "./folds.ts";
import type { LakeHandles } from "./lake.ts";

/** A version to feed from; `weight` is its share when several are mixed. */
export interface FeedReference {
  dataset: string;
  weight?: number;
}

/** Training batches from one version, or from several mixed. */
export async function feedDatasets(
  lake: LakeHandles,
  references: string | readonly (string | FeedReference)[],
  options: FeedOptions & Selection = {},
): Promise<Feed> {
  const list = typeof references === "string" ? [references] : references;
  const sources: FeedSource[] = [];
  // As long as it is open: a cache that turns out to be damaged is made anew from the files of the version.
  await using leases = new AsyncDisposableStack();
  let unleased: MillraceError | undefined;
  for (const reference of list) {
    const { dataset: name, weight } = typeof reference === "string" ? { dataset: reference } : reference;
    const { dataset, version } = await lake.resolve(name);
    const lease = leases.use(await dataset.lease(version, "feed"));
    unleased ??= lease.missing;
    const columns = dataset.columns(version);
    const names = columns.map((column) => column.name);
    if (weight !== undefined && !(weight > 0)) {
      throw new MillraceError("usage", `${weight} is no weight for \`${name}\``, { hint: "a weight is more than 0" });
    }
    const splitRows = chosenRows(lake, dataset.name, columns, options);
    const column = optionalSplit(lake, dataset.name, names, options.folds === undefined ? options.split : undefined);
    sources.push({
      dataset,
      version,
      ...(column === undefined ? {} : { splitColumn: column }),
      ...(options.folds === undefined || splitRows === undefined ? {} : { splitRows }),
      ...(weight === undefined ? {} : { weight }),
    });
  }
  const cache = options.cache?.folder === undefined ? { ...options.cache, folder: lake.feedCache } : options.cache;
  const feed = await openFeed(() => lake.engine(), sources, { ...options, cache });
  leases.use(feed);
  const held = leases.move();
  return { ...feed, ...(unleased && { unleased }), [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** The split column is no feature, so it is left out also where no split is asked for. */
function optionalSplit(
  lake: LakeHandles,
  dataset: string,
  names: readonly string[],
  split: string | undefined,
): string | undefined {
  if (split !== undefined) return splitColumn(lake, dataset, names);
  try {
    return splitColumn(lake, dataset, names);
  } catch {
    return undefined;
  }
}
