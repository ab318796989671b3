import {
  MillraceError,
  parseDuration,
  sameType,
  formatType,
  suggestion,
  type Column,
  type DataType,
} from "../core/index.ts";
import type { Dataset, Version } from "../dataset/index.ts";
import type { FeatureSide, JoinSide } from "./features-join.ts";
import type { FeatureSpec, FeaturesSpec } from "./features-spec.ts";
import type { LakeHandles } from "./lake.ts";

/** An entry with its versions opened and its columns found. */
export interface FittedFeatures {
  /** The entities, then the features in their order. */
  inputs: { dataset: Dataset; version: Version }[];
  entities: JoinSide & { at: string };
  features: FeatureSide[];
  /** Columns of a joined row: those of the entity, then those taken. */
  columns: Column[];
}

/** Opens what a features entry names. Throws `not-found` for datasets and `config` for columns and types that do not fit. */
export async function fitFeatures(lake: LakeHandles, name: string, spec: FeaturesSpec): Promise<FittedFeatures> {
  const inputs: FittedFeatures["inputs"] = [];
  const open = async (reference: string): Promise<JoinSide> => {
    const { dataset, version } = await lake.resolve(reference);
    inputs.push({ dataset, version });
    const columns = dataset.columns(version);
    for (const { name: column } of columns) {
      if (column !== "file_index" && column !== "file_row_number") continue;
      throw misfit(name, `\`${dataset.name}\` has a column \`${column}\`, which the join needs the name of`, column, {
        hint: "rename it in the `transform` of its flow",
      });
    }
    return { columns, relation: version.rows === 0 ? undefined : await dataset.relation(version) };
  };
  const side = await open(spec.entities);
  const at = momentNamed(name, "at", spec.at, side.columns);
  const features: FeatureSide[] = [];
  const columns: Column[] = side.columns.map(plain);
  for (const [index, feature] of spec.from.entries()) {
    const fitted = fitFeature(name, index, feature, spec, { ...side, at }, await open(feature.dataset));
    for (const { column, as } of fitted.taken) {
      if (columns.some((other) => other.name.toLowerCase() === as.toLowerCase())) {
        throw misfit(name, `\`from[${index}]\` takes the column \`${as}\`, but the rows have one already`, as, {
          hint: `set \`prefix: ${feature.dataset.split("@")[0]}_\`, or choose others with \`columns\``,
        });
      }
      columns.push({ ...plain(column), name: as, required: false });
    }
    features.push(fitted);
  }
  return { inputs, entities: { ...side, at: spec.at }, features, columns };
}

/** Field ids belong to the dataset that the column is read from. */
function plain({ id: _id, ...column }: Column): Column {
  return column;
}

function misfit(name: string, message: string, column: string, { hint }: { hint: string }): MillraceError {
  return new MillraceError("config", `features \`${name}\`: ${message}`, { hint, where: { column } });
}

function columnNamed(name: string, setting: string, wanted: string, columns: readonly Column[]): Column {
  const found = columns.find((column) => column.name === wanted);
  if (found !== undefined) return found;
  const names = columns.map((column) => column.name);
  throw misfit(name, `\`${setting}\` names the column \`${wanted}\`, which is not there`, wanted, {
    hint: suggestion(wanted, names),
  });
}

const momentTypes: readonly DataType[] = ["date", "timestamp", "timestamptz"];

function momentNamed(name: string, setting: string, wanted: string, columns: readonly Column[]): Column {
  const column = columnNamed(name, setting, wanted, columns);
  if (momentTypes.includes(column.type)) return column;
  throw misfit(
    name,
    `\`${setting}\` is \`${wanted}\` of type \`${formatType(column.type)}\`, but a moment is a timestamp, a timestamptz or a date`,
    wanted,
    {
      hint: `cast it in the \`transform\` of its flow: \`select * replace (cast(${wanted} as timestamp) as ${wanted}) from input\``,
    },
  );
}

function fitFeature(
  name: string,
  index: number,
  feature: FeatureSpec,
  spec: FeaturesSpec,
  entities: JoinSide & { at: Column },
  side: JoinSide,
): FeatureSide {
  const setting = (key: string): string => `from[${index}].${key}`;
  const moment = (key: string, wanted: string): Column => {
    const column = momentNamed(name, setting(key), wanted, side.columns);
    if (column.type === entities.at.type) return column;
    const [theirs, ours] = [formatType(column.type), formatType(entities.at.type)];
    throw misfit(
      name,
      `\`${setting(key)}\` is \`${wanted}\` of type \`${theirs}\`, but \`at\` is \`${entities.at.name}\` of type \`${ours}\`: which moment of the one is which of the other is for you to say`,
      wanted,
      { hint: castHint(wanted, column.type, entities.at.type) },
    );
  };
  const at = moment("at", feature.at);
  const known = feature.known_at === undefined ? undefined : moment("known_at", feature.known_at);
  const key = keyPairs(feature.key ?? spec.key ?? []).map(([left, right]) => {
    const ours = columnNamed(name, feature.key === undefined ? "key" : setting("key"), left, entities.columns);
    const theirs = columnNamed(name, setting("key"), right, side.columns);
    if (!comparable(ours.type, theirs.type)) {
      throw misfit(
        name,
        `the key \`${left}\` of the entities is of type \`${formatType(ours.type)}\`, but \`${right}\` of \`${feature.dataset}\` of type \`${formatType(theirs.type)}\``,
        right,
        { hint: "cast one of them in the `transform` of its flow" },
      );
    }
    return [left, right] as const;
  });
  if (feature.tie !== undefined) columnNamed(name, setting("tie"), feature.tie, side.columns);
  const apart = new Set([at.name, known?.name, ...key.map(([, right]) => right)]);
  const taken =
    feature.columns?.map((wanted) => columnNamed(name, setting("columns"), wanted, side.columns)) ??
    side.columns.filter((column) => !apart.has(column.name));
  const ttlSeconds = feature.ttl === undefined ? undefined : parseDuration(feature.ttl)!;
  if (ttlSeconds !== undefined && at.type === "date" && ttlSeconds % 86_400 !== 0) {
    throw misfit(
      name,
      `\`${setting("ttl")}\` is \`${feature.ttl}\`, but \`${at.name}\` is a date and has no hours`,
      at.name,
      {
        hint: "write whole days, such as `2d`",
      },
    );
  }
  return {
    ...side,
    key,
    at: at.name,
    taken: taken.map((column) => ({ column, as: `${feature.prefix ?? ""}${column.name}` })),
    ...(known === undefined ? {} : { knownAt: known.name }),
    ...(feature.tie === undefined ? {} : { tie: feature.tie }),
    ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
  };
}

function keyPairs(key: string[] | Record<string, string>): [string, string][] {
  return Array.isArray(key) ? key.map((column) => [column, column]) : Object.entries(key);
}

const isWhole = (type: DataType): boolean => type === "int" || type === "long";

function comparable(left: DataType, right: DataType): boolean {
  return sameType(left, right) || (isWhole(left) && isWhole(right));
}

function castHint(column: string, from: DataType, to: DataType): string {
  const name = `"${column}"`;
  const cast =
    from === "timestamp" && to === "timestamptz"
      ? `${name} at time zone 'UTC'`
      : from === "timestamptz" && to === "timestamp"
        ? `${name} at time zone 'UTC'`
        : to === "date"
          ? `cast(${name} as date)`
          : from === "date"
            ? `cast(${name} + 1 as ${formatType(to)})`
            : `cast(${name} as ${formatType(to)})`;
  const what = from === "date" ? ", when a day is known once it is over" : "";
  return `say so in the \`transform\` of its flow: \`select * replace (${cast} as ${name}) from input\`${what}`;
}
