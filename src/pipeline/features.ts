import { copyFile, mkdir, rename, rm, stat } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { dirname, extname, join, resolve } from "node:path";
import { asMillraceError, MillraceError, sqlName, systemCode } from "../core/index.ts";
import { flowColumns, rowsSelect } from "./columns.ts";
import { fitFeatures } from "./features-fit.ts";
import { joinInto } from "./features-source.ts";
import { featuresFlow, type FeaturesSpec } from "./features-spec.ts";
import type { LakeHandles } from "./lake.ts";
import { openFormat } from "./modules.ts";
import { readsOf, readsRelations } from "./reads.ts";
import type { RunReport } from "./report.ts";
import { runFlow, type RunOptions } from "./run.ts";

/** What takes the place of the entry's own settings, for one call. */
export interface FeaturesChoice {
  /** Dataset or version of the entities. */
  entities?: string;
  /** Column of the moment of an entity. */
  at?: string;
}

export interface FeaturesExportOptions extends FeaturesChoice {
  /** File to write; its ending says the format: `.parquet`, `.csv`, `.tsv`, `.jsonl`, `.json`. Relative to the working folder. */
  to: string;
  signal?: AbortSignal;
}

export interface FeaturesExport {
  path: string;
  rows: number;
  bytes: number;
  /** Entities without a moment, which are not in the file. */
  withoutMoment: number;
  /** What was joined: the entities first. */
  inputs: { dataset: string; version: number }[];
}

/** The lake as if the entry had been written with the choice. */
function choose(lake: LakeHandles, name: string, choice: FeaturesChoice): LakeHandles {
  const spec: FeaturesSpec = {
    ...lake.features(name),
    ...(choice.entities === undefined ? {} : { entities: choice.entities }),
    ...(choice.at === undefined ? {} : { at: choice.at }),
  };
  const config = { ...lake.config, features: { ...lake.config.features, [name]: spec } };
  return { ...lake, config, features: (other) => (other === name ? spec : lake.features(other)) };
}

/** Joins and publishes: the run of the flow that reads the entry. Throws `not-found` for a name that is not there. */
export async function runFeatures(
  lake: LakeHandles,
  name: string,
  options: FeaturesChoice & RunOptions = {},
): Promise<RunReport> {
  const chosen = choose(lake, name, options);
  return runFlow(chosen, featuresFlow(lake.config.flows, name), options);
}

/** Joins into one file, through the transform and the split of the flow, without checks; no version is made. */
export async function exportFeatures(
  lake: LakeHandles,
  name: string,
  options: FeaturesExportOptions,
): Promise<FeaturesExport> {
  const chosen = choose(lake, name, options);
  const { signal } = options;
  const flowName = featuresFlow(lake.config.flows, name);
  const flow = lake.flow(flowName);
  const path = resolve(options.to);
  const copy = await copyOptions(lake, path);
  const engine = await lake.engine();
  const fitted = await fitFeatures(chosen, name, chosen.features(name));
  if (fitted.inputs[0]!.version.rows === 0) {
    throw new MillraceError("usage", `\`${fitted.inputs[0]!.dataset.name}\` has no rows to join features to`);
  }
  const reads = await readsOf(lake, flow.transform);
  const columns = await flowColumns(chosen, flowName, flow, fitted.columns, reads);
  const select = rowsSelect(flow, columns, await readsRelations(lake, reads));
  const joined = await joinInto(lake, fitted, signal);
  const temporary = join(lake.scratch, `features-${randomUUID()}${extname(path)}`);
  try {
    const relation = `read_parquet(['${joined.replaceAll("'", "''")}'])`;
    const at = sqlName(fitted.entities.at);
    const rows = await engine.export(
      select(`(SELECT * FROM ${relation} WHERE ${at} IS NOT NULL)`),
      temporary,
      copy,
      signal,
    );
    const [counted] = await engine.query(`SELECT count(*) AS n FROM ${relation} WHERE ${at} IS NULL`, signal);
    await moveInto(temporary, path);
    return {
      path,
      rows,
      bytes: (await stat(path)).size,
      withoutMoment: Number(counted!["n"]),
      inputs: fitted.inputs.map(({ dataset, version }) => ({ dataset: dataset.name, version: version.number })),
    };
  } catch (error) {
    throw asMillraceError(error, { file: path });
  } finally {
    await rm(temporary, { force: true });
    await rm(joined, { force: true });
  }
}

async function copyOptions(lake: LakeHandles, path: string): Promise<string> {
  const ending = extname(path).slice(1);
  const format = ending === "jsonl" ? "ndjson" : ending;
  const copy = Object.hasOwn(lake.registry.formats, format)
    ? (await openFormat(lake.registry, format, {})).copy
    : undefined;
  if (copy !== undefined) return copy;
  throw new MillraceError("usage", `\`${path}\` does not end in a format to write`, {
    hint: "end it in .parquet, .csv, .tsv, .jsonl or .json",
  });
}

/** The file appears under its name only when it is complete. */
async function moveInto(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  try {
    await rename(from, to);
  } catch (error) {
    if (systemCode(error) !== "EXDEV") throw error;
    const partial = `${to}.${randomUUID()}.partial`;
    try {
      await copyFile(from, partial);
      await rename(partial, to);
    } catch (failed) {
      await rm(partial, { force: true });
      throw failed;
    }
  }
}
