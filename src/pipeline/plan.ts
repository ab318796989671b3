import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import {
  isMillraceError,
  MillraceError,
  type Column,
  type Cursor,
  type ReadRequest,
  type Source,
} from "../core/index.ts";
import { assignFieldIds, type Dataset } from "../dataset/index.ts";
import { verifyFlowChecks } from "./checks.ts";
import { flowColumns } from "./columns.ts";
import { enrichedColumns, enrichesWhole } from "./enrich.ts";
import type { Flow } from "./flow.ts";
import { openFeatures } from "./features-source.ts";
import { filesOptions, splitReference, type LakeHandles } from "./lake.ts";
import { rejectedName } from "./rejected.ts";
import { cancelRun, newRunToken, unfinishedRuns, writePlan, type RunPlan } from "./runs.ts";
import { canRead, readsOf, type Reads } from "./reads.ts";
import { isRowLocal } from "./row-local.ts";
import { marksOf } from "./marks.ts";

/** How far a flow has come, as the snapshot keeps it. `run` grows with every commit of the flow, which fences zombies. */
export interface FlowCursor {
  run: number;
  position: Cursor | null;
}

export interface Planned {
  plan: RunPlan;
  resumed: boolean;
  source: Source;
  request: ReadRequest;
  dataset: Dataset | undefined;
}

export function datasetOf(flowName: string, flow: Flow): string {
  return flow.into ?? flowName;
}

export function requestOf(flow: Flow): ReadRequest {
  const { key } = flow;
  const { stream, query, cursor, lag, columns, connection, path, options, part_bytes: partBytes } = flow.from;
  return {
    ...(stream === undefined ? {} : { stream }),
    ...(query === undefined ? {} : { query }),
    ...(cursor === undefined ? {} : { cursor }),
    ...(lag === undefined ? {} : { lag }),
    ...(columns === undefined ? {} : { columns }),
    ...(partBytes === undefined ? {} : { partBytes }),
    ...(key === undefined ? {} : { key }),
    ...(connection === undefined || path !== undefined || options === undefined ? {} : { options }),
  };
}

/** What a run of the flow asks of its source. */
export function runRequest(lake: LakeHandles, flowName: string, flow: Flow): ReadRequest {
  return { ...requestOf(flow), flow: flowName, readers: readersOf(lake, flow) };
}

/** The flows that read what this one reads. */
function readersOf(lake: LakeHandles, { from }: Flow): string[] {
  return Object.entries(lake.config.flows)
    .filter(([, flow]) => from.connection !== undefined && flow.from.connection === from.connection)
    .map(([name]) => name);
}

/** Key, in a snapshot's summary, of the definition of the flow that made it. */
export const definitionKey = "millrace.definition";

/** What must not change between a plan and its completion. */
function definitionOf(lake: LakeHandles, flow: Flow): string {
  const hash = createHash("sha256").update(JSON.stringify({ ...flow, watch: undefined }));
  if (flow.from.features !== undefined) hash.update(JSON.stringify(lake.features(flow.from.features)));
  return hash.digest("hex").slice(0, 16);
}

export function flowCursor(dataset: Dataset | undefined, flowName: string): FlowCursor {
  const stored = dataset?.cursor(flowName);
  if (stored === undefined) return { run: 0, position: null };
  return { run: Number(stored.run), position: (stored.position ?? null) as Cursor | null };
}

export async function openFlowSource(lake: LakeHandles, flow: Flow): Promise<Source> {
  const { connection, format, path, features } = flow.from;
  if (features !== undefined) return openFeatures(lake, features);
  if (connection === undefined || path !== undefined) return lake.source(undefined, filesOptions(flow));
  const ofStore = format !== undefined && (await lake.connection(connection)).kind === "store";
  return lake.source(connection, ofStore ? { format } : undefined);
}

export async function openIfExists(lake: LakeHandles, name: string): Promise<Dataset | undefined> {
  return (await lake.catalog.exists(name)) ? lake.catalog.open(name) : undefined;
}

/** Finds what of a flow does not fit the columns of its source, as a run would before it reads anything. */
export async function verifyFlow(
  lake: LakeHandles,
  flowName: string,
  flow: Flow,
  input: readonly Column[],
): Promise<void> {
  const dataset = await openIfExists(lake, datasetOf(flowName, flow));
  const made = await flowColumns(lake, flowName, flow, input, await readsOf(lake, flow.transform));
  const wanted = [...made, ...(await enrichedColumns(lake, flowName, flow, made))];
  const output = dataset ? dataset.evolve(wanted, flow.schema).columns : assignFieldIds(wanted);
  await verifyFlowChecks(lake, flow, { output, key: flow.key ?? [], startedAt: new Date().toISOString() }, dataset);
}

const noErasures = { dataset: 0, rejected: 0 };

/** How many erasures were begun where a run writes. Throws `conflict` while one is going on. */
export async function erasuresOf(
  lake: LakeHandles,
  name: string,
  dataset: Dataset | undefined,
): Promise<{ dataset: number; rejected: number }> {
  const rejected = await openIfExists(lake, rejectedName(name));
  dataset?.assertOpen();
  rejected?.assertOpen();
  return { dataset: dataset?.erasures().epoch ?? 0, rejected: rejected?.erasures().epoch ?? 0 };
}

/** True when rows were erased where the run writes since it was planned, and it was not published before. */
export async function isErasedSince(lake: LakeHandles, plan: RunPlan): Promise<boolean> {
  const dataset = await openIfExists(lake, plan.dataset);
  if (dataset === undefined || dataset.versionOfRun(plan.run) !== undefined) return false;
  return dataset.erasures().epoch !== (plan.erasures ?? noErasures).dataset;
}

/** One part that is read from files is the whole already, and files can be read as often as the transform names `input`. */
async function needsWhole(lake: LakeHandles, flow: Flow, parts: number): Promise<boolean> {
  const fromFiles = flow.from.path !== undefined || flow.from.features !== undefined;
  if (flow.transform === undefined || (parts === 1 && fromFiles)) return false;
  return !(await isRowLocal(await lake.engine(), flow.transform));
}

/** False when another flow has changed the columns of the dataset since: its field ids may mean something else by now. */
function columnsStillFit(plan: RunPlan, flow: Flow, dataset: Dataset | undefined): boolean {
  const facts = (columns: readonly Column[]): unknown =>
    JSON.parse(JSON.stringify(columns.map(({ id, name, type }) => ({ id, name, type }))));
  try {
    const now = dataset ? dataset.evolve(plan.made, flow.schema).columns : assignFieldIds(plan.made);
    return isDeepStrictEqual(facts(now), facts(plan.output));
  } catch (error) {
    if (isMillraceError(error) && error.code === "schema") return false;
    throw error;
  }
}

/** False when the flow had another definition when it last filled the dataset, or read others: the same source gives other rows now. */
function madeBy(dataset: Dataset | undefined, flowName: string, definition: string, reads: Reads): boolean {
  const last = dataset
    ?.versions()
    .findLast(
      ({ current, summary }) =>
        current && summary["millrace.flow"] === flowName && summary[definitionKey] !== undefined,
    );
  if (last === undefined) return true;
  const { reads: before } = JSON.parse(last.summary["millrace.lineage"] ?? "{}") as { reads?: Reads };
  const isOther = (name: string): boolean =>
    splitReference(name).name.toLowerCase() !== dataset!.name.toLowerCase() && before?.[name] !== reads[name];
  return last.summary[definitionKey] === definition && (before === undefined || !Object.keys(reads).some(isOther));
}

/** Plans a run, or takes up the newest unfinished one that still fits. Undefined: the source has nothing new. */
export async function planRun(
  lake: LakeHandles,
  flowName: string,
  options: { full?: boolean; fresh?: boolean; source?: Source; signal?: AbortSignal },
): Promise<Planned | { source: Source; dataset: Dataset | undefined; plan: undefined }> {
  const flow = lake.flow(flowName);
  const name = datasetOf(flowName, flow);
  const dataset = await openIfExists(lake, name);
  const done = flowCursor(dataset, flowName);
  const definition = definitionOf(lake, flow);
  const request = runRequest(lake, flowName, flow);
  const source = options.source ?? (await openFlowSource(lake, flow));
  try {
    const erasures = await erasuresOf(lake, name, dataset);
    for (const plan of await unfinishedRuns(lake.store, flowName)) {
      const fits =
        plan.definition === definition &&
        plan.sequence === done.run &&
        plan.dataset === name &&
        isDeepStrictEqual(plan.erasures ?? noErasures, erasures) &&
        columnsStillFit(plan, flow, dataset);
      if (fits && !options.fresh && !options.full && (await canRead(lake, plan.reads ?? {}))) {
        return { plan, resumed: true, source, request, dataset };
      }
      await cancelRun(lake.store, plan.run, fits ? "planned anew" : "the flow or its dataset has changed since");
    }
    if (options.full && flow.mode === "append") {
      throw new MillraceError("usage", `\`${flowName}\` appends: reading all again would put every row in twice`, {
        where: { flow: flowName },
        hint: "set `mode: replace` or `mode: merge` with a `key`, or give the flow another dataset with `into`",
      });
    }
    const whole = options.full === true || flow.mode === "replace";
    const sourcePlan = await source.plan(request, {
      ...(done.position === null ? {} : whole ? { instead: done.position } : { after: done.position }),
      ...(options.signal ? { signal: options.signal } : {}),
    });
    if (sourcePlan.overlap && flow.mode === "append") {
      throw new MillraceError("config", "`from.lag` reads rows again, but `mode: append` would keep them twice", {
        where: { flow: flowName },
        hint: "set `mode: merge` with a `key`",
      });
    }
    const reads = await readsOf(lake, flow.transform);
    const sameAsBefore =
      flow.mode === "replace" &&
      options.full !== true &&
      madeBy(dataset, flowName, definition, reads) &&
      sourcePlan.cursor !== undefined &&
      JSON.stringify(sourcePlan.cursor) === JSON.stringify(done.position);
    if (sourcePlan.parts.length === 0 || sameAsBefore) return { source, dataset, plan: undefined };

    const made = await flowColumns(lake, flowName, flow, sourcePlan.columns, reads);
    const added = await enrichedColumns(lake, flowName, flow, made);
    const wanted = [...made, ...added];
    const isWhole = await needsWhole(lake, flow, sourcePlan.parts.length);
    if (isWhole && added.length > 0) throw enrichesWhole(flowName);
    const fitted = dataset ? dataset.evolve(wanted, flow.schema) : { columns: assignFieldIds(wanted), changed: false };
    const admitted = dataset?.admitted(fitted.columns);
    const marks = marksOf(flow, sourcePlan, fitted.columns);
    const now = new Date();
    const plan: RunPlan = {
      run: `${flowName}/${newRunToken(now)}`,
      flow: flowName,
      dataset: name,
      startedAt: now.toISOString(),
      definition,
      sequence: done.run,
      base: dataset?.current()?.number ?? null,
      input: sourcePlan.columns,
      made: wanted,
      output: fitted.columns,
      evolves: fitted.changed,
      key: flow.key ?? [],
      parts: sourcePlan.parts,
      cursor: sourcePlan.cursor ?? null,
      overlap: sourcePlan.overlap ?? false,
      erasures,
      ...(admitted === undefined ? {} : { admitted }),
      ...(sourcePlan.more === true ? { more: true } : {}),
      ...(Object.keys(reads).length === 0 ? {} : { reads }),
      ...(marks === undefined ? {} : { marks }),
      ...(sourcePlan.warnings === undefined || sourcePlan.warnings.length === 0
        ? {}
        : { warnings: sourcePlan.warnings }),
      ...(isWhole ? { whole: true } : {}),
      ...(added.length === 0 ? {} : { enriched: added.map(({ name: column }) => column) }),
    };
    await verifyFlowChecks(lake, flow, plan, dataset);
    await writePlan(lake.store, plan);
    return { plan, resumed: false, source, request, dataset };
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}
