import { randomBytes } from "node:crypto";
import { basename } from "node:path";
import {
  during,
  isMillraceError,
  MillraceError,
  retry,
  type Budget,
  type Part,
  type ReadRequest,
  type Source,
  type StagedFile,
} from "../core/index.ts";
import { assignFieldIds } from "../dataset/index.ts";
import type { Landed } from "../engine/index.ts";
import { assetKeeper } from "./assets.ts";
import { enrichLanded } from "./enrich.ts";
import type { Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { openFormat } from "./modules.ts";
import { admittedSelect } from "./columns.ts";
import { rejectedBatch, rejectedColumns, rejectedName } from "./rejected.ts";
import { stagingFolder } from "./staging.ts";
import { readPart, runToken, writePart, type EnrichedCount, type PartResult, type RunPlan } from "./runs.ts";

/** Brings landed files into the store; their paths are those in the store afterwards. */
export async function adoptFiles(
  lake: LakeHandles,
  dataset: string,
  files: readonly StagedFile[],
): Promise<StagedFile[]> {
  const adopted: StagedFile[] = [];
  for (const file of files) {
    const path = `${dataset}/data/${basename(file.path)}`;
    await lake.store.adopt(file.path, path);
    adopted.push({ ...file, path });
  }
  return adopted;
}

/** A name that no other attempt uses: staged files begin with the run's token, by which gc knows them. */
export function stagedPrefix(run: string, what: string): string {
  return `${runToken(run)}-${what}-${randomBytes(3).toString("hex")}`;
}

export interface StageContext {
  lake: LakeHandles;
  flow: Flow;
  plan: RunPlan;
  source: Source;
  request: ReadRequest;
  signal?: AbortSignal;
  onProgress?: (progress: { rows: number; bytes: number }) => void;
  /** What each enricher of the flow may spend in all parts of the run, where it is bounded. */
  budgets?: readonly (Budget | undefined)[];
  /** Told before an enricher spends something. */
  onCost?: (estimate: CostEstimate) => void;
}

/** What an enricher is going to ask about the rows of one part, and what that costs at most. */
export interface CostEstimate {
  enricher: string;
  inputs: number;
  cost: number;
  currency: string;
  /** Its `max_cost`, in the same currency. */
  maximum?: number;
}

/** Reads one part, unless an earlier attempt already did, and records what it gave. */
export async function stagePart(context: StageContext, part: Part): Promise<PartResult> {
  const { lake, flow, plan } = context;
  const earlier = await readPart(lake.store, plan.run, part.id);
  if (earlier !== undefined) return earlier;

  const { landed, files, rejectedFiles } = await during(lake.store, async () => {
    const raw = await retry(() => landPart(context, part), context.signal ? { signal: context.signal } : {});
    const landed: Landed & { enriched?: EnrichedCount[] } =
      flow.enrich === undefined ? raw : await enrichLanded(context, raw, stagedPrefix(plan.run, part.id));
    const files = await adoptFiles(lake, plan.dataset, landed.files);
    return { landed, files, rejectedFiles: await stageRejected(context, part, landed) };
  });
  const result: PartResult = {
    part: part.id,
    files,
    rejectedFiles,
    read: landed.read,
    written: landed.written,
    rejected: landed.rejected.length,
    filtered: landed.filtered,
    bytes: landed.bytes,
    ...(landed.enriched === undefined ? {} : { enriched: landed.enriched }),
  };
  if (await writePart(lake.store, plan.run, result)) return result;
  for (const file of [...files, ...rejectedFiles]) await lake.store.remove(file.path);
  const winner = await readPart(lake.store, plan.run, part.id);
  if (winner !== undefined) return winner;
  throw new MillraceError("conflict", `the run \`${plan.run}\` was ended by another process`, {
    where: { run: plan.run, dataset: plan.dataset },
    hint: `millrace run ${plan.flow}`,
  });
}

/** Strictly first. A stream whose data does not fit is read again, and its good records are told apart from the bad ones. */
async function landPart(context: StageContext, part: Part): Promise<Landed> {
  const { lake, plan, flow, source, request, signal, onProgress } = context;
  const engine = await lake.engine();
  const keep = assetKeeper(lake, plan);
  const plain =
    plan.whole === true ||
    (plan.enriched === undefined &&
      plan.admitted === undefined &&
      flow.transform === undefined &&
      flow.split === undefined &&
      sameColumns(plan));
  const attempt = async (tolerant: boolean): Promise<{ landed?: Landed; misfit?: MillraceError }> => {
    const payload = await source.read(part, request, { keep, ...(signal ? { signal } : {}) });
    const format =
      payload.form === "files" ? await openFormat(lake.registry, payload.format, payload.options) : undefined;
    try {
      const landed = await engine.land({
        payload,
        ...(format ? { format } : {}),
        rowwise: plan.whole === true || (flow.transform === undefined && plan.admitted === undefined),
        ...(plain ? {} : { select: await admittedSelect(lake, flow, plan) }),
        columns: plan.whole === true ? assignFieldIds(plan.input) : plan.output,
        folder: await stagingFolder(lake, plan.dataset),
        prefix: stagedPrefix(plan.run, part.id),
        ...(tolerant ? { tolerant } : {}),
        ...(onProgress ? { onProgress } : {}),
        ...(signal ? { signal } : {}),
      });
      return { landed };
    } catch (error) {
      if (!tolerant && payload.form === "bytes" && isMillraceError(error) && error.code === "parse")
        return { misfit: error };
      throw error;
    } finally {
      if (payload.form === "files" || payload.form === "bytes") await payload.release?.();
    }
  };
  try {
    const first = await attempt(false);
    return first.landed ?? (await attempt(true)).landed!;
  } catch (error) {
    throw isMillraceError(error) ? error.at({ part: part.id, run: plan.run }) : error;
  }
}

/** True when the source's columns are the dataset's, in name and order, so that rows need no SELECT of their own. */
function sameColumns(plan: RunPlan): boolean {
  return (
    plan.input.length === plan.output.length &&
    plan.input.every((column, index) => column.name === plan.output[index]!.name)
  );
}

async function stageRejected(context: StageContext, part: Part, landed: Landed): Promise<StagedFile[]> {
  if (landed.rejected.length === 0) return [];
  const { lake, plan } = context;
  const engine = await lake.engine();
  const name = rejectedName(plan.dataset);
  const batch = rejectedBatch(landed.rejected, plan.run, plan.startedAt);
  const staged = await engine.land({
    payload: {
      form: "columns",
      columns: rejectedColumns,
      batches: (async function* () {
        yield batch;
      })(),
    },
    columns: rejectedColumns,
    folder: await stagingFolder(lake, name),
    prefix: stagedPrefix(plan.run, part.id),
  });
  return adoptFiles(lake, name, staged.files);
}

/** A run that failed its checks or is given up leaves no files behind. */
export async function dropStaged(lake: LakeHandles, plan: RunPlan): Promise<void> {
  for (const folder of [`${plan.dataset}/data`, `${rejectedName(plan.dataset)}/data`]) {
    for await (const entry of lake.store.list(folder)) {
      if (entry.path.startsWith(`${folder}/${runToken(plan.run)}-`)) await lake.store.remove(entry.path);
    }
  }
}
