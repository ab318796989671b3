import { rm } from "node:fs/promises";
import {
  Budget,
  enrichAll,
  MillraceError,
  sqlName,
  sqlString,
  suggestion,
  type Column,
  type CursorValue,
  type Enriched,
  type Enricher,
  type EnricherCapabilities,
  type RejectedRecord,
  type StagedFile,
} from "../core/index.ts";
import { assignFieldIds } from "../dataset/index.ts";
import type { Landed } from "../engine/index.ts";
import { answersFolder } from "./enrich-answers.ts";
import { inputsOf, type AskedRow } from "./enrich-inputs.ts";
import type { EnrichSpec, Flow } from "./flow.ts";
import type { LakeHandles } from "./lake.ts";
import { openEnricher } from "./modules.ts";
import { readPart, type EnrichedCount, type RunPlan } from "./runs.ts";
import type { StageContext } from "./stage.ts";
import { stagingFolder } from "./staging.ts";

export interface OpenedEnricher extends AsyncDisposable {
  spec: EnrichSpec;
  enricher: Enricher;
  capabilities: EnricherCapabilities;
}

async function open(lake: LakeHandles, flowName: string, spec: EnrichSpec): Promise<OpenedEnricher> {
  const { enricher: type, of: _of, max_cost: _cost, ...options } = spec;
  const context = { connection: flowName, folder: lake.config.folder };
  const { enricher, capabilities } = await openEnricher(lake.registry, type, options, context);
  return { spec, enricher, capabilities, [Symbol.asyncDispose]: () => enricher[Symbol.asyncDispose]() };
}

/** Those that `made` must have for an enricher: what it reads, and what its assets are made of. Throws `config`. */
function verifyInput({ spec, enricher, capabilities }: OpenedEnricher, made: readonly Column[]): void {
  const { of, enricher: type } = spec;
  const names = made.map(({ name }) => name);
  const missing = (name: string, why: string): MillraceError =>
    new MillraceError("config", `the enricher \`${type}\` ${why} the column \`${name}\`, which the rows do not have`, {
      where: { column: name },
      hint: suggestion(name, names),
    });
  if (capabilities.input === "assets") {
    const needed = of === undefined ? ["sha256", "media_type", "bytes", "object"] : [of];
    for (const name of needed) if (!names.includes(name)) throw missing(name, "works on");
    if (of !== undefined && made.find(({ name }) => name === of)!.type !== "binary") {
      throw new MillraceError(
        "config",
        `\`of\` of the enricher \`${type}\` names \`${of}\`, which is no column of bytes`,
        {
          where: { column: of },
        },
      );
    }
  } else if (of !== undefined) {
    throw new MillraceError("config", `the enricher \`${type}\` works on rows and takes no \`of\``);
  }
  for (const name of enricher.reads?.(made) ?? []) if (!names.includes(name)) throw missing(name, "reads");
}

/** The columns that the enrichers of a flow add to those that transform and split make. Throws `config`. */
export async function enrichedColumns(
  lake: LakeHandles,
  flowName: string,
  flow: Flow,
  made: readonly Column[],
): Promise<Column[]> {
  const added: Column[] = [];
  for (const spec of flow.enrich ?? []) {
    await using opened = await open(lake, flowName, spec);
    const before = [...made, ...added];
    verifyInput(opened, before);
    const columns = opened.enricher.columns(before);
    for (const { name } of columns) {
      if (!before.some((column) => column.name.toLowerCase() === name.toLowerCase())) continue;
      throw new MillraceError(
        "config",
        `the enricher \`${spec.enricher}\` adds \`${name}\`, which the rows have already`,
        {
          where: { flow: flowName, column: name },
          hint: "give its columns another `prefix`",
        },
      );
    }
    added.push(...columns);
  }
  return added;
}

/** What the enrichers of a flow may spend in a run, over all of its parts: less what parts of it cost that an earlier attempt has read. */
export async function budgetsOf(lake: LakeHandles, flow: Flow, plan: RunPlan): Promise<(Budget | undefined)[]> {
  const specs = flow.enrich ?? [];
  if (specs.every(({ max_cost: maximum }) => maximum === undefined)) return [];
  const spent = specs.map(() => 0);
  for (const { id } of plan.parts) {
    const earlier = await readPart(lake.store, plan.run, id);
    for (const [index, { cost }] of (earlier?.enriched ?? []).entries()) spent[index]! += cost;
  }
  return specs.map(({ max_cost: maximum }, index) =>
    maximum === undefined ? undefined : new Budget(maximum, spent[index]),
  );
}

/** Parts are enriched as they come; a transform over all of them comes later. */
export function enrichesWhole(flowName: string): MillraceError {
  return new MillraceError("config", "`enrich` cannot follow a `transform` that looks across rows", {
    where: { flow: flowName },
    hint: "keep the `transform` to single rows, and aggregate with `millrace query` or in another flow",
  });
}

/**
 * The files of a part with what the enrichers say of their rows. Rows that one of them cannot take are rejected. Answers are kept in the
 * store as they come: whoever tries again asks and pays only for what is left.
 */
export async function enrichLanded(
  context: StageContext,
  landed: Landed,
  prefix: string,
): Promise<Landed & { enriched: EnrichedCount[] }> {
  const { lake, flow, plan, budgets } = context;
  let { files } = landed;
  const rejected: RejectedRecord[] = [...landed.rejected];
  const enriched: EnrichedCount[] = [];
  for (const [index, spec] of flow.enrich!.entries()) {
    await using opened = await open(lake, plan.flow, spec);
    const sum: EnrichedCount = { enricher: spec.enricher, rows: 0, asked: 0, cost: 0 };
    const next: StagedFile[] = [];
    for (const [number, file] of files.entries()) {
      const step = await enrichFile(context, opened, file.path, `${prefix}-e${index}-${number}`, sum, budgets?.[index]);
      next.push(...step.files);
      rejected.push(...step.rejected);
    }
    for (const file of files) await rm(file.path, { force: true });
    files = next;
    enriched.push(sum);
  }
  const written = files.reduce((total, file) => total + file.rows, 0);
  return { ...landed, files, written, rejected, enriched };
}

/** In the answers' file, which has no other columns of this kind. */
const rowColumn = "millrace row";

async function enrichFile(
  { lake, plan, signal, onCost }: StageContext,
  opened: OpenedEnricher,
  path: string,
  prefix: string,
  sum: EnrichedCount,
  budget: Budget | undefined,
): Promise<{ files: StagedFile[]; rejected: RejectedRecord[] }> {
  const engine = await lake.engine();
  const { enricher, capabilities, spec } = opened;
  const folder = await stagingFolder(lake, plan.dataset);
  const made = plan.made.filter(({ name }) => !plan.enriched!.includes(name));
  const own = enricher.columns(made);
  const reads = enricher.reads?.(made) ?? [];
  const { rows, complete } = await inputsOf(lake, path, { of: spec.of, input: capabilities.input, reads });
  // A frame that is null has nothing that could be asked.
  const asked = rows.filter(({ input }) => input.asset?.sha256 !== "");
  const report = await enrichAll(
    enricher,
    asked.map(({ input }) => input),
    {
      cache: { store: lake.store, folder: answersFolder(plan.dataset) },
      batch: capabilities.maximumBatch,
      complete,
      ...(budget === undefined ? {} : { budget }),
      onEstimate: (estimate) =>
        onCost?.({
          enricher: spec.enricher,
          ...estimate,
          ...(spec.max_cost === undefined ? {} : { maximum: spec.max_cost }),
        }),
      ...(signal ? { signal } : {}),
    },
  );
  const nothing: Enriched = { values: own.map(() => null) };
  const given = new Map(asked.map((row, index) => [row, report.answers[index]!]));
  const said = rows.map((row) => given.get(row) ?? nothing);
  sum.rows += asked.length;
  sum.asked += report.asked;
  sum.cost += report.cost;

  const answers = await engine.land({
    payload: {
      form: "bytes",
      format: "ndjson",
      columns: [{ name: rowColumn, type: "long" }, ...own.map(({ name, type }) => ({ name, type }))],
      encodings: Object.fromEntries(own.filter(({ type }) => type === "binary").map(({ name }) => [name, "base64"])),
      chunks: lines(rows, said, own),
    },
    columns: assignFieldIds([{ name: rowColumn, type: "long" }, ...own.map(({ name, type }) => ({ name, type }))]),
    folder,
    prefix: `${prefix}-answers`,
    ...(signal ? { signal } : {}),
  });
  const names = new Set(own.map(({ name }) => name));
  const list = plan.output.map(({ name }) => `${names.has(name) ? "a" : "r"}.${sqlName(name)}`);
  const answered = `read_parquet([${answers.files.map((file) => sqlString(file.path)).join(", ")}])`;
  const files =
    answers.written === 0
      ? []
      : await engine.write(
          `SELECT ${list.join(", ")} FROM read_parquet(${sqlString(path)}, file_row_number = true) r
           JOIN ${answered} a ON a.${sqlName(rowColumn)} = r.file_row_number ORDER BY r.file_row_number`,
          { columns: plan.output, folder, prefix, ...(signal ? { signal } : {}) },
        );
  for (const file of answers.files) await rm(file.path, { force: true });
  return { files, rejected: refusals(rows, said, spec) };
}

async function* lines(
  rows: readonly AskedRow[],
  answers: readonly Enriched[],
  columns: readonly Column[],
): AsyncGenerator<Uint8Array> {
  let text = "";
  for (const [index, answer] of answers.entries()) {
    if (!("values" in answer)) continue;
    const record: Record<string, CursorValue> = { [rowColumn]: rows[index]!.row };
    for (const [at, { name }] of columns.entries()) record[name] = answer.values[at] ?? null;
    text += `${JSON.stringify(record)}\n`;
    if (text.length < 1 << 20) continue;
    yield Buffer.from(text);
    text = "";
  }
  if (text !== "") yield Buffer.from(text);
}

function refusals(rows: readonly AskedRow[], answers: readonly Enriched[], spec: EnrichSpec): RejectedRecord[] {
  return answers.flatMap((answer, index) =>
    "rejected" in answer
      ? [
          {
            reason: `${spec.enricher}: ${answer.rejected}`,
            origin: rows[index]!.origin,
            record: JSON.stringify(rows[index]!.record),
          },
        ]
      : [],
  );
}
