import { createHash, randomUUID } from "node:crypto";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import {
  MillraceError,
  type Cursor,
  type Part,
  type Payload,
  type Plan,
  type Source,
  type StreamInfo,
} from "../core/index.ts";
import { joinFeature } from "./features-join.ts";
import { fitFeatures, type FittedFeatures } from "./features-fit.ts";
import type { FeaturesSpec } from "./features-spec.ts";
import type { LakeHandles } from "./lake.ts";

/** A version that a join reads. */
export interface FeaturesInput {
  dataset: string;
  version: number;
}

/** What a run of features has read, as its cursor and its lineage keep it. */
interface FeaturesCursor {
  /** Hash of the entry. */
  definition: string;
  /** The entities, then the features in their order. */
  inputs: FeaturesInput[];
}

/** The versions that a run of features read; undefined for the cursor of another source. */
export function inputsOf(cursor: Cursor | null): FeaturesInput[] | undefined {
  return (cursor as Partial<FeaturesCursor> | null)?.inputs;
}

/** A point-in-time join as the source of a flow: one part that names the versions it reads, so that it gives the same rows again. */
export function openFeatures(lake: LakeHandles, name: string): Source {
  const spec = lake.features(name);
  const definition = createHash("sha256").update(JSON.stringify(spec)).digest("hex").slice(0, 16);

  const newest = async (): Promise<FittedFeatures> => fitFeatures(lake, name, spec);

  return {
    async check() {
      await newest();
    },
    async *streams(): AsyncIterable<StreamInfo> {
      const { columns, inputs } = await newest();
      yield { name, columns, key: [], cursors: [], rows: inputs[0]!.version.rows, kind: "query" };
    },
    async plan(_request, { after }): Promise<Plan> {
      const { columns, inputs } = await newest();
      const cursor = {
        definition,
        inputs: inputs.map(({ dataset, version }) => ({ dataset: dataset.name, version: version.number })),
      } satisfies FeaturesCursor as unknown as Cursor;
      const { rows } = inputs[0]!.version;
      const done = rows === 0 || (after !== undefined && isDeepStrictEqual(after, cursor));
      const part: Part = { id: "join", spec: { inputs: cursor["inputs"]! }, rows };
      return { columns, key: [], parts: done ? [] : [part], cursor };
    },
    async read(part, _request, { signal }): Promise<Payload> {
      const pinned = pin(spec, part.spec["inputs"] as unknown as FeaturesInput[]);
      const fitted = await fitFeatures(lake, name, pinned);
      const path = await joinInto(lake, fitted, signal);
      const { size, mtimeMs } = await stat(path);
      return {
        form: "files",
        format: "parquet",
        files: [{ path, name: `features ${name}`, size, modified: mtimeMs }],
        columns: fitted.columns,
        release: () => rm(path, { force: true }),
      };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** The entry with the versions that a plan has named. */
function pin(spec: FeaturesSpec, inputs: readonly FeaturesInput[]): FeaturesSpec {
  const reference = (index: number): string => `${inputs[index]!.dataset}@${inputs[index]!.version}`;
  return {
    ...spec,
    entities: reference(0),
    from: spec.from.map((feature, index) => ({ ...feature, dataset: reference(index + 1) })),
  };
}

/** Joins one dataset of features after the other. Returns a file in the scratch folder, for the caller to remove. */
export async function joinInto(lake: LakeHandles, fitted: FittedFeatures, signal?: AbortSignal): Promise<string> {
  const engine = await lake.engine();
  const { entities, features, inputs } = fitted;
  let side = entities;
  let current: string | undefined;
  for (const feature of features) {
    const made: string[] = current === undefined ? [] : [current];
    const newFile = (): string => {
      const file = join(lake.scratch, `features-${randomUUID()}.parquet`);
      made.push(file);
      return file;
    };
    try {
      const { file, rows } = await joinFeature(engine, side, feature, newFile, signal);
      current = file;
      if (rows !== inputs[0]!.version.rows) {
        throw new MillraceError("internal", `${inputs[0]!.version.rows} entities became ${rows} rows`, {
          where: { dataset: inputs[0]!.dataset.name },
        });
      }
    } catch (error) {
      for (const file of made) await rm(file, { force: true });
      throw error;
    }
    for (const file of made) if (file !== current) await rm(file, { force: true });
    side = {
      at: side.at,
      columns: [...side.columns, ...feature.taken.map(({ column, as }) => ({ name: as, type: column.type }))],
      relation: `read_parquet(['${current.replaceAll("'", "''")}'])`,
    };
  }
  return current!;
}
