import { MillraceError, sqlName, type ColumnFacts } from "../core/index.ts";
import { columnChecksum } from "../engine/index.ts";
import type { LakeHandles } from "./lake.ts";
import { datasetOf, flowCursor, openFlowSource, requestOf } from "./plan.ts";

export interface SourceComparison {
  dataset: string;
  version: number;
  rows: { source: number; dataset: number };
  columns: { name: string; source: ColumnFacts; dataset: ColumnFacts; same: boolean }[];
  same: boolean;
}

/**
 * What the source computes of its stream, up to the position of the dataset, beside what the dataset holds.
 * Throws `unsupported` where the two cannot be the same by construction.
 */
export async function compareWithSource(
  lake: LakeHandles,
  flowName: string,
  signal?: AbortSignal,
): Promise<SourceComparison> {
  const flow = lake.flow(flowName);
  const where = { flow: flowName };
  const changes = flow.transform === undefined ? "a check with `on_fail: mask`" : "a `transform`";
  if (flow.transform !== undefined || flow.checks.some((check) => check.on_fail === "mask")) {
    throw new MillraceError("unsupported", `the flow has ${changes}, so its rows are not those of the source`, {
      where,
      hint: "land the source without it into a dataset of its own and compare that",
    });
  }
  const { dataset, version } = await lake.resolve(datasetOf(flowName, flow));
  await using source = await openFlowSource(lake, flow);
  if (!source.measure) {
    throw new MillraceError("unsupported", "this source cannot measure a stream by itself", { where });
  }
  const columns = dataset.columns(version).filter((column) => column.name !== flow.split?.into);
  const { position } = flowCursor(dataset, flowName);
  const theirs = await source.measure(requestOf(flow), {
    columns,
    ...(position === null ? {} : { upTo: position }),
    ...(signal ? { signal } : {}),
  });
  const engine = await lake.engine();
  const expressions = columns.flatMap((column, index) => {
    const name = sqlName(column.name);
    const checksum = columnChecksum(name, column.type);
    return [
      `count(*) - count(${name}) AS nulls_${index}`,
      ...(checksum === undefined ? [] : [`${checksum} AS sum_${index}`]),
    ];
  });
  const [ours] = await engine.query(
    `SELECT count(*) AS rows, ${expressions.join(", ")} FROM ${await dataset.relation(version)}`,
    signal,
  );
  const compared = columns.map((column, index) => {
    const fromDataset: ColumnFacts = { nulls: Number(ours![`nulls_${index}`]) };
    const checksum = ours![`sum_${index}`];
    if (checksum !== undefined) fromDataset.checksum = checksum as string;
    const fromSource = theirs.columns[column.name] ?? { nulls: Number.NaN };
    const comparable = fromDataset.checksum !== undefined && fromSource.checksum !== undefined;
    const same =
      fromSource.nulls === fromDataset.nulls && (!comparable || fromSource.checksum === fromDataset.checksum);
    return { name: column.name, source: fromSource, dataset: fromDataset, same };
  });
  const rows = { source: theirs.rows, dataset: Number(ours!.rows) };
  return {
    dataset: dataset.name,
    version: version.number,
    rows,
    columns: compared,
    same: rows.source === rows.dataset && compared.every((column) => column.same),
  };
}
