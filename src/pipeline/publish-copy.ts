import {
  asMillraceError,
  MillraceError,
  retry,
  suggestion,
  throwIfAborted,
  type PublishReport,
  type Sink,
  type SinkDefinition,
  type VersionRows,
} from "../core/index.ts";
import type { PublishSpec } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { loadSink, openSink } from "./modules.ts";
import type { RunProgress } from "./report.ts";
import { versionRows } from "./version-rows.ts";

export interface PublishOptions {
  /** Connection of a sink. Default: all that the flow of the dataset publishes to. */
  to?: string;
  /** Columns that identify a row. Default: what the flow says for the connection, else the key of the flow. */
  key?: readonly string[];
  /** `replace`: afterwards the copy is the version. `merge`: rows with other keys stay. Default: what the flow says, else `replace`. */
  mode?: "replace" | "merge";
  /** Table, key prefix or collection. Default: what the flow says, else the name of the dataset. */
  target?: string;
  onProgress?: (progress: RunProgress) => void;
  signal?: AbortSignal;
}

/** One copy of a version in a sink. */
export interface Publication {
  connection: string;
  target: string;
  mode: "replace" | "merge";
  key: string[];
  dataset: string;
  version: number;
  /** `unchanged`: the version was there already. */
  status: PublishReport["status"];
  /** Rows written. */
  rows: number;
  seconds: number;
}

/** A sink that is configured as a connection. Throws `not-found`, `config`. Its owner closes it. */
export async function openSinkConnection(
  lake: LakeHandles,
  connection: string,
): Promise<{ sink: Sink; definition: SinkDefinition }> {
  const found = await lake.connection(connection);
  if (found.kind !== "sink") {
    throw new MillraceError("config", `the connection \`${connection}\` is a ${found.kind}, not a sink`, {
      where: { connection },
      hint: "`millrace list sinks` shows where copies can be published to",
    });
  }
  const definition = await loadSink(lake.registry, found.type);
  const sink = await openSink(lake.registry, found.type, found.options, { connection, folder: lake.config.folder });
  return { sink, definition };
}

/** Publishes a version to one connection, or to all that the flow of its dataset names. Stops at the first that fails. */
export async function publishDataset(
  lake: LakeHandles,
  reference: string,
  options: PublishOptions = {},
): Promise<Publication[]> {
  const { dataset, version } = await lake.resolve(reference);
  dataset.assertOpen();
  await using lease = await dataset.lease(version, "publish");
  void lease;
  const specs = specsFor(lake, dataset.name, options);
  const rows = await versionRows(lake, dataset, version);
  const published: Publication[] = [];
  for (const spec of specs) published.push(await publishTo(lake, rows, spec, options));
  return published;
}

/** What the configuration and the call say together. */
function specsFor(lake: LakeHandles, dataset: string, options: PublishOptions): PublishSpec[] {
  const flow = Object.entries(lake.config.flows).find(([name, candidate]) => (candidate.into ?? name) === dataset)?.[1];
  const own = {
    ...(options.key === undefined ? {} : { key: [...options.key] }),
    ...(options.mode === undefined ? {} : { mode: options.mode }),
    ...(options.target === undefined ? {} : { target: options.target }),
  };
  const given = flow?.publish ?? [];
  const chosen = given.filter((spec) => options.to === undefined || spec.connection === options.to);
  // A target of its own is another copy, unless the configuration has it.
  const same = options.target === undefined ? chosen : chosen.filter((spec) => spec.target === options.target);
  if (same.length > 0) return same.map((spec) => withKey({ ...spec, ...own }, flow?.key));
  if (options.to !== undefined) return [withKey({ connection: options.to, mode: "replace", ...own }, flow?.key)];
  const sinks = Object.keys(lake.config.connections);
  throw new MillraceError("usage", `nothing says where \`${dataset}\` is to be published`, {
    where: { dataset },
    hint: `name a connection with --to, or add \`publish: [{ connection: … }]\` to its flow; ${suggestion("", sinks)}`,
  });
}

const withKey = (spec: PublishSpec, key: readonly string[] | undefined): PublishSpec =>
  spec.key === undefined && key !== undefined ? { ...spec, key: [...key] } : spec;

async function publishTo(
  lake: LakeHandles,
  version: VersionRows,
  spec: PublishSpec,
  { onProgress, signal }: Pick<PublishOptions, "onProgress" | "signal">,
): Promise<Publication> {
  const started = performance.now();
  const { connection, mode, key = [] } = spec;
  const target = spec.target ?? version.dataset;
  const { sink, definition } = await openSinkConnection(lake, connection);
  await using closing = sink;
  void closing;
  if (mode === "merge" && !definition.capabilities.merge) {
    throw new MillraceError("unsupported", `\`${definition.name}\` cannot merge`, {
      where: { connection },
      hint: "publish with --mode replace",
    });
  }
  requireColumns(version, key);
  const request = { target, mode, key, ...(signal ? { signal } : {}) };
  let doubt: MillraceError | undefined;
  const onRetry = (error: MillraceError): void => {
    if (error.code === "unknown-outcome") doubt = error;
  };
  try {
    const report = await retry(() => sink.publish(counted(version, onProgress), request), {
      onRetry,
      ...(signal ? { signal } : {}),
    });
    const seconds = (performance.now() - started) / 1000;
    const { dataset, version: number } = version;
    return { connection, target, mode, key: [...key], dataset, version: number, ...report, seconds };
  } catch (error) {
    throwIfAborted(signal);
    const known = asMillraceError(error, { connection, dataset: version.dataset });
    // A later try that did not even get that far says nothing of the one before.
    throw doubt !== undefined && known.temporary ? asMillraceError(doubt, known.where) : known;
  }
}

function requireColumns({ dataset, columns }: VersionRows, key: readonly string[]): void {
  const names = columns.map(({ name }) => name);
  for (const name of key) {
    if (names.includes(name)) continue;
    throw new MillraceError("not-found", `\`${dataset}\` has no column \`${name}\` to be a key`, {
      where: { dataset, column: name },
      hint: suggestion(name, names),
    });
  }
}

/** The same rows, counted as they pass. */
function counted(version: VersionRows, onProgress: PublishOptions["onProgress"]): VersionRows {
  if (onProgress === undefined) return version;
  const show = (rows: number, bytes: number): void =>
    onProgress({ phase: "publish", rows, bytes, totalRows: version.rows, parts: 1, partsDone: 0 });
  return {
    ...version,
    async *bytes(options) {
      let [lines, bytes] = [0, 0];
      for await (const chunk of version.bytes(options)) {
        bytes += chunk.byteLength;
        lines += linesIn(chunk);
        show(Math.min(lines, version.rows), bytes);
        yield chunk;
      }
    },
    async *batches(options) {
      let rows = 0;
      for await (const batch of version.batches(options)) {
        yield batch;
        rows += batch.rows;
        show(rows, 0);
      }
    },
  };
}

/** About as many as rows: texts of several lines count more than once. */
function linesIn(chunk: Uint8Array): number {
  let lines = 0;
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
  return lines;
}
