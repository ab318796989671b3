import { during, type Column, type Registry, type StreamInfo } from "../core/index.ts";
import {
  compactDataset,
  diffVersions,
  runKey,
  verifyDataset,
  type Catalog,
  type Dataset,
  type DatasetDiff,
  type GcOptions,
  type GcReport,
  type VerifyReport,
  type Version,
} from "../dataset/index.ts";
import type { Engine } from "../engine/index.ts";
import { profile, type HistoryEntry, type Profile } from "../quality/index.ts";
import { abandonErase, eraseFrom, type EraseOptions, type EraseReport } from "./erase.ts";
import { exportDataset, type ExportOptions, type ExportReport } from "./export.ts";
import {
  exportFeatures,
  runFeatures,
  type FeaturesChoice,
  type FeaturesExport,
  type FeaturesExportOptions,
} from "./features.ts";
import { openHandles, type LakeConfig } from "./lake.ts";
import { openFlowSource, requestOf, verifyFlow } from "./plan.ts";
import { openSinkConnection, publishDataset, type Publication, type PublishOptions } from "./publish-copy.ts";
import { previewDataset, queryLake, type Rows } from "./query.ts";
import type { Feed, FeedOptions } from "../feed/feed.ts";
import { reportLeakage, type LeakageOptions, type LeakageReport } from "./leakage.ts";
import { reportFolds, type FoldReport } from "./fold-report.ts";
import type { Selection } from "./folds.ts";
import { feedDatasets, type FeedReference } from "./feed.ts";
import type { Lookup } from "../lookup/lookup.ts";
import type { Transformer } from "../lookup/transform.ts";
import { openLookup, type LookupOptions } from "./lookup.ts";
import { openTransformer } from "./transformer.ts";
import { replayRejected, type ReplayOptions } from "./replay.ts";
import type { RunReport } from "./report.ts";
import { runFlow, type RunOptions } from "./run.ts";
import { objectPath, verifyObjects } from "./assets.ts";
import { collectDataset } from "./gc.ts";
import { readReport } from "./runs.ts";
import { stagingFolder } from "./staging.ts";
import { statusOf, type FlowStatus } from "./status.ts";
import { watchFlow, type WatchOptions } from "./watch.ts";
import { compareWithSource, type SourceComparison } from "./verify-source.ts";

export {
  flowProblems,
  flowSchema,
  checkSchema,
  enrichSchema,
  nameSchema,
  splitSchema,
  type CheckSpec,
  type Flow,
  type SplitSpec,
} from "./flow.ts";
export type { LakeConfig, ResolvedConnection } from "./lake.ts";
export type { Publication, PublishOptions } from "./publish-copy.ts";
export type { CheckResult, PublicationOutcome, RunProgress, RunReport } from "./report.ts";
export type { RunOptions } from "./run.ts";
export type { FlowStatus } from "./status.ts";
export type { WatchOptions } from "./watch.ts";
export type { CostEstimate } from "./stage.ts";
export type { Rows } from "./query.ts";
export type { ExportOptions, ExportReport } from "./export.ts";
export type { Feed, FeedOptions, ReadOptions } from "../feed/feed.ts";
export type { FeedBatch, FeedColumn } from "../feed/batch.ts";
export type { FeedReference } from "./feed.ts";
export type { FoldReport } from "./fold-report.ts";
export type { Selection } from "./folds.ts";
export type { LeakageOptions, LeakageReport } from "./leakage.ts";
export type { FeaturesChoice, FeaturesExport, FeaturesExportOptions } from "./features.ts";
export type { GetOptions, Lookup, LookupResult } from "../lookup/lookup.ts";
export type { LookupOptions } from "./lookup.ts";
export type { Transformed, Transformer } from "../lookup/transform.ts";
export type { EraseOptions, EraseReport } from "./erase.ts";
export type { ReplayOptions } from "./replay.ts";
export type { SourceComparison } from "./verify-source.ts";

/** An open lake: every verb of the command line as a function. Close it with `await using` or `Symbol.asyncDispose`. */
export interface Lake extends AsyncDisposable {
  readonly config: LakeConfig;
  readonly catalog: Catalog;
  engine(): Promise<Engine>;
  /** Reaches a connection and moves no rows. Throws what is wrong with it. */
  check(connection: string, signal?: AbortSignal): Promise<void>;
  /** The streams of a connection with their columns. */
  streams(connection: string, signal?: AbortSignal): AsyncIterable<StreamInfo>;
  /** Reads no rows: that the source can be reached and that transform, split, key, schema and checks fit its columns. */
  checkFlow(flow: string, signal?: AbortSignal): Promise<void>;
  run(flow: string, options?: RunOptions): Promise<RunReport>;
  /** Runs a flow again and again until the signal is given: `await lake.watch("events", { signal, onReport: console.log })`. */
  watch(flow: string, options: WatchOptions): Promise<void>;
  /** How each flow stands: its dataset, its last version, and what waits in the source. */
  status(options?: { flows?: readonly string[]; signal?: AbortSignal }): Promise<FlowStatus[]>;
  /**
   * Joins to each entity the newest features that were known at its moment, and publishes the rows as a version, like a run:
   * `await lake.features("training", { entities: "labels@gold" })`.
   */
  features(name: string, options?: FeaturesChoice & RunOptions): Promise<RunReport>;
  /** The same join into one file; no version is made. */
  exportFeatures(name: string, options: FeaturesExportOptions): Promise<FeaturesExport>;
  /** `orders`, `orders@7`, `orders@gold`. Throws `not-found` with what there is. */
  dataset(reference: string): Promise<{ dataset: Dataset; version: Version }>;
  /** Datasets are tables by their names; versions are quoted: `"orders@7"`. */
  query(
    sql: string,
    options?: Omit<Selection, "split"> & { maximumRows?: number; signal?: AbortSignal },
  ): Promise<Rows>;
  preview(reference: string, options?: Selection & { rows?: number; columns?: string[] }): Promise<Rows>;
  /** The content of an asset by the `object` of its row. Throws `not-found`, and `usage` for a path that is none. */
  asset(object: string): Promise<Uint8Array>;
  /** The file that holds it, where the store is on this machine. Throws `usage` for a path that is none. */
  assetFile(object: string): string | undefined;
  export(reference: string, options: ExportOptions): Promise<ExportReport>;
  /** What of one split is in another: groups, copies, and near-duplicates of text, numbers and perceptual hashes. */
  leakage(reference: string, options?: LeakageOptions): Promise<LeakageReport>;
  /** How many rows each fold of a cross-validation has. */
  folds(reference: string, options: { folds: number; gap?: string; signal?: AbortSignal }): Promise<FoldReport>;
  /** The verdicts of the run that made the version, a profile of its columns, and the newest `history` versions up to it, oldest first. */
  quality(reference: string, options?: { history?: number }): Promise<DatasetQuality>;
  history(name: string): Promise<Version[]>;
  diff(before: string, after: string): Promise<DatasetDiff>;
  tag(reference: string, name: string): Promise<Version>;
  untag(dataset: string, name: string): Promise<void>;
  rollback(reference: string): Promise<Version>;
  verify(reference: string, options?: { deep?: boolean }): Promise<VerifyReport>;
  /** Runs the source's own measures again and sets them beside the dataset's. */
  verifySource(flow: string, signal?: AbortSignal): Promise<SourceComparison>;
  compact(
    name: string,
    options?: { targetBytes?: number },
  ): Promise<{ before: number; after: number; version: Version | undefined }>;
  gc(name: string, options?: GcOptions): Promise<GcReport>;
  /** Removes rows from every version, the rejected records, staged files and reports; or only says what would go. */
  erase(name: string, options: EraseOptions): Promise<EraseReport>;
  /** Gives up an erasure that was begun and cannot be finished. Returns when it began; undefined: there was none. */
  abandonErase(name: string): Promise<string | undefined>;
  /**
   * Training batches of a version, or of several mixed, in an order that depends on version, split, seed and step alone:
   * `for await (const batch of await lake.feed("flights@gold", { split: "train", batch: 256, seed: 7 }))`.
   */
  feed(references: string | readonly (string | FeedReference)[], options?: FeedOptions & Selection): Promise<Feed>;
  /**
   * Rows by key, from an index in this process or from a published copy:
   * `const { rows } = await (await lake.lookup("flights@gold", { key: ["origin"] })).get([["JFK"], ["LAX"]])`.
   */
  lookup(name: string, options?: LookupOptions): Promise<Lookup>;
  /**
   * The transform that made a version, for rows that a model is asked about:
   * `const { rows, invalid } = await (await lake.transformer("trips@gold")).apply([{ start: "2024-05-06T07:08:09Z", km: 3.2 }])`.
   */
  transformer(reference: string): Promise<Transformer>;
  /**
   * Copies a version into a sink, or into all that the flow of the dataset names; a version that is there already is not written again.
   * `await lake.publish("flights@gold", { to: "online", key: ["origin"] })`.
   */
  publish(reference: string, options?: PublishOptions): Promise<Publication[]>;
  /** Puts mended rejected records through the flow again. */
  replay(flow: string, options?: ReplayOptions): Promise<RunReport>;
}

export interface DatasetQuality {
  /** Absent when the version was not made by a run, or its report is not kept. */
  report?: RunReport;
  profile: Profile;
  version: Version;
  columns: Column[];
  history: HistoryEntry[];
}

export async function openLake(config: LakeConfig, registry: Registry): Promise<Lake> {
  const lake = await openHandles(config, registry);
  const flowKey = (dataset: string): string[] => {
    const flow = Object.entries(config.flows).find(([name, candidate]) => (candidate.into ?? name) === dataset)?.[1];
    return flow?.key ?? [];
  };
  /** Copies of objects are in use for as long as the verb that fetched them. */
  const reading = <T>(action: () => Promise<T>): Promise<T> => during(lake.store, action);
  return {
    config,
    catalog: lake.catalog,
    engine: () => lake.engine(),
    async check(connection, signal) {
      if ((await lake.connection(connection)).kind === "sink") {
        const { sink } = await openSinkConnection(lake, connection);
        await using open = sink;
        await open.check(signal);
        return;
      }
      await using source = await lake.source(connection);
      await source.check(signal);
    },
    async *streams(connection, signal) {
      await using source = await lake.source(connection);
      yield* source.streams(signal);
    },
    checkFlow: (name, signal) =>
      reading(async () => {
        const flow = lake.flow(name);
        await using source = await openFlowSource(lake, flow);
        await source.check(signal);
        const { columns } = await source.plan(requestOf(flow), { peek: true, ...(signal ? { signal } : {}) });
        if (columns.length > 0) await verifyFlow(lake, name, flow, columns);
      }),
    run: (flow, options) => reading(() => runFlow(lake, flow, options)),
    watch: (flow, options) => watchFlow(lake, flow, options),
    status: (options) => statusOf(lake, options),
    features: (name, options) => reading(() => runFeatures(lake, name, options)),
    exportFeatures: (name, options) => reading(() => exportFeatures(lake, name, options)),
    dataset: (reference) => lake.resolve(reference),
    query: (sql, options) => reading(() => queryLake(lake, sql, options)),
    preview: (reference, options) => reading(() => previewDataset(lake, reference, options)),
    asset: async (object) => lake.store.read(objectPath(object)),
    assetFile: (object) => lake.store.local?.(objectPath(object)),
    leakage: (reference, options) => reading(() => reportLeakage(lake, reference, options)),
    folds: (reference, options) => reading(() => reportFolds(lake, reference, options)),
    export: (reference, options) => reading(() => exportDataset(lake, reference, options)),
    quality: (reference, { history = 0 } = {}) =>
      reading(async () => {
        const { dataset, version } = await lake.resolve(reference);
        const columns = dataset.columns(version);
        const reportOf = async ({ summary }: Version): Promise<RunReport | undefined> =>
          summary[runKey] === undefined ? undefined : readReport(lake.store, summary[runKey]);
        const report = await reportOf(version);
        const upTo = dataset.versions().filter(({ number }) => number <= version.number);
        const entries: HistoryEntry[] = [];
        for (const entry of history === 0 ? [] : upTo.slice(-history)) {
          const ofEntry = entry.number === version.number ? report : await reportOf(entry);
          const { number, time, rows, tags } = entry;
          entries.push({ version: number, time, rows, tags, ...(ofEntry === undefined ? {} : { report: ofEntry }) });
        }
        const found = await profile(await dataset.relation(version), columns, await lake.engine());
        return { ...(report === undefined ? {} : { report }), profile: found, version, columns, history: entries };
      }),
    async history(name) {
      return (await lake.catalog.open(name)).versions();
    },
    async diff(before, after) {
      const from = await lake.resolve(before);
      const to = await lake.resolve(after);
      const engine = await lake.engine();
      const key = flowKey(from.dataset.name);
      return reading(() => diffVersions(from.dataset, from.version, to.version, engine, { key }));
    },
    async tag(reference, name) {
      const { dataset, version } = await lake.resolve(reference);
      await dataset.tag(name, version);
      return version;
    },
    async untag(name, tag) {
      await (await lake.catalog.open(name)).untag(tag);
    },
    async rollback(reference) {
      const { dataset, version } = await lake.resolve(reference);
      await dataset.rollback(version);
      return version;
    },
    async verify(reference, options) {
      const { dataset } = await lake.resolve(reference);
      const engine = await lake.engine();
      return reading(async () => {
        const report = await verifyDataset(dataset, engine, options);
        // Rows of files that are damaged cannot be asked.
        if (report.problems.length === 0) report.problems.push(...(await verifyObjects(lake, dataset.name)));
        return report;
      });
    },
    verifySource: (flow, signal) => reading(() => compareWithSource(lake, flow, signal)),
    async compact(name, options) {
      const dataset = await lake.catalog.open(name);
      const engine = await lake.engine();
      const folder = await stagingFolder(lake, name);
      return reading(() => compactDataset(dataset, engine, { ...options, folder }));
    },
    gc: (name, options) => collectDataset(lake, name, options),
    erase: (name, options) => reading(() => eraseFrom(lake, name, options)),
    abandonErase: (name) => abandonErase(lake, name),
    feed: (references, options) => feedDatasets(lake, references, options),
    lookup: (name, options) => openLookup(lake, name, options),
    transformer: (reference) => reading(() => openTransformer(lake, reference)),
    publish: (reference, options) => reading(() => publishDataset(lake, reference, options)),
    replay: (flow, options) => reading(() => replayRejected(lake, flow, options)),
    [Symbol.asyncDispose]: () => lake[Symbol.asyncDispose](),
  };
}
