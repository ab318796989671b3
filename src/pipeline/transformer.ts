import {
  isMillraceError,
  jsonReader,
  MillraceError,
  sqlName,
  suggestion,
  type Column,
  type LookupValue,
  type Sql,
} from "../core/index.ts";
import type { Dataset, Version } from "../dataset/index.ts";
import { emptyRelation, recordNumber, recordProblem, typedRecords, typeSql } from "../engine/index.ts";
import type { Transformed, Transformer } from "../lookup/transform.ts";
import { valueJson } from "../lookup/values.ts";
import { plainJson } from "../quality/index.ts";
import type { LakeHandles } from "./lake.ts";
import { transformOf } from "./columns.ts";
import { readsOf, readsRelations, type Reads } from "./reads.ts";
import { isRowLocal } from "./row-local.ts";
import { volatileIn } from "./volatile.ts";

interface Definition {
  transform?: string;
  input: Column[];
  /** Absent: the version does not say. */
  reads?: Reads;
}

/**
 * The transform that made a version, with the columns that it was made for, so that what a model is asked about goes the way that its training
 * data went. Throws `unsupported` for transforms that look across rows.
 */
export async function openTransformer(lake: LakeHandles, reference: string): Promise<Transformer> {
  const { dataset, version } = await lake.resolve(reference);
  const definition = definitionOf(dataset, version);
  const { input } = definition;
  const transform = definition.transform ?? "SELECT * FROM input";
  const engine = await lake.engine();
  if (!(await isRowLocal(engine, transform))) {
    throw new MillraceError("unsupported", `the transform of \`${dataset.name}\` counts, sorts out or compares rows`, {
      where: { dataset: dataset.name },
      hint: `what it makes of one row depends on the others: look its rows up instead, millrace lookup ${reference}`,
    });
  }
  const volatile = await volatileIn(
    engine,
    transform,
    input.map(({ name }) => name),
  );
  if (volatile !== undefined) {
    throw new MillraceError(
      "unsupported",
      `the transform of \`${dataset.name}\` has \`${volatile}\`, which is another each time`,
      {
        where: { dataset: dataset.name },
        hint: "a model must be asked with what it was trained on: make it a column of the source, such as the time of the request",
      },
    );
  }
  const reads = await readsRelations(lake, definition.reads ?? (await readsOf(lake, transform)));
  const made = await engine.columnsOf(transformOf(transform, `SELECT * FROM ${emptyRelation(input)}`, reads));
  const names = new Set(made.map(({ name }) => name));
  const columns = dataset.columns(version).filter(({ name }) => names.has(name));
  const known = new Set(input.map(({ name }) => name));
  const read = jsonReader({ type: "struct", fields: columns });

  const ask = async (records: readonly string[], signal?: AbortSignal): Promise<Answer[]> => {
    const found = await engine.query(statement(records, input, transform, columns, reads), signal);
    return found.map(({ number, problem, record }) => ({
      number: Number(number),
      ...(typeof problem === "string" ? { problem } : {}),
      ...(typeof record === "string" ? { row: read(record) as Record<string, LookupValue> } : {}),
    }));
  };

  /** All at once; when the transform fails on them, one by one, so that those that it does not fail on are not lost. */
  const answers = async (records: readonly string[], signal?: AbortSignal): Promise<Answer[]> => {
    try {
      return await ask(records, signal);
    } catch (error) {
      if (!isMillraceError(error) || error.code !== "parse") throw error;
      if (records.length === 1) return [{ number: 0, problem: error.message }];
      const all: Answer[] = [];
      for (const [number, record] of records.entries()) {
        for (const answer of await answers([record], signal)) all.push({ ...answer, number });
      }
      return all;
    }
  };

  return {
    dataset: dataset.name,
    version: version.number,
    input,
    columns,
    async apply(rows, signal) {
      const result: Transformed = { version: version.number, rows: rows.map(() => []), invalid: [] };
      const asked: { index: number; record: string }[] = [];
      for (const [index, given] of rows.entries()) {
        const problem = strangerIn(given, known);
        if (problem === undefined) asked.push({ index, record: valueJson(given) });
        else result.invalid.push({ index, problem });
      }
      if (asked.length === 0) return result;
      for (const { number, problem, row: values } of await answers(
        asked.map(({ record }) => record),
        signal,
      )) {
        const { index } = asked[number]!;
        if (problem !== undefined) result.invalid.push({ index, problem });
        else if (values !== undefined) result.rows[index]!.push(values);
      }
      result.invalid.sort((left, right) => left.index - right.index);
      return result;
    },
  };
}

interface Answer {
  number: number;
  problem?: string;
  row?: Record<string, LookupValue>;
}

/** A feature that is misspelt would be null for ever, and nobody would see it. */
function strangerIn(row: unknown, known: ReadonlySet<string>): string | undefined {
  if (typeof row !== "object" || row === null || Array.isArray(row)) return "it is not a JSON object";
  const stranger = Object.keys(row).find((name) => !known.has(name));
  return stranger === undefined ? undefined : `there is no column \`${stranger}\`: ${suggestion(stranger, [...known])}`;
}

/** number, problem, record: of each row that fits those that the transform makes of it alone, and why the others do not fit. */
function statement(
  records: readonly string[],
  input: readonly Column[],
  transform: Sql,
  columns: readonly Column[],
  reads: readonly Sql[],
): Sql {
  const given = "millrace_given";
  const own = input.map(({ name }) => `${given}.${sqlName(name)} AS ${sqlName(name)}`);
  const typed = columns.map(({ name, type }) => `CAST(${sqlName(name)} AS ${typeSql(type)}) AS ${sqlName(name)}`);
  const members = columns.map(({ name, type }) => `${sqlName(name)}: ${plainJson(sqlName(name), type)}`);
  // The number is in the inner query too: rows that are equal, or that count as equal such as 0 and -0, are transformed apart.
  return `WITH ${reads.map((read) => `${read}, `).join("")}millrace_records AS MATERIALIZED (${typedRecords(records, input)})
    SELECT ${recordNumber} AS number, ${recordProblem} AS problem, NULL AS record FROM millrace_records WHERE ${recordProblem} IS NOT NULL
    UNION ALL
    SELECT made.number, NULL, made.record FROM (SELECT * FROM millrace_records WHERE ${recordProblem} IS NULL) AS ${given}, LATERAL (
      WITH input AS (SELECT ${own.join(", ")})
      SELECT ${given}.${recordNumber} AS number, CAST(to_json({${members.join(", ")}}) AS VARCHAR) AS record
      FROM (SELECT ${typed.join(", ")} FROM (${transform}))
    ) AS made`;
}

/** What the newest run that the version rests on says of itself. */
function definitionOf(dataset: Dataset, version: Version): Definition {
  // Compactions and erasures say nothing of a transform; a run that a rollback left behind did not make these rows.
  const made = dataset.ancestry(version).find(({ summary }) => summary["millrace.lineage"] !== undefined);
  const lineage = made === undefined ? {} : (JSON.parse(made.summary["millrace.lineage"]!) as Lineage);
  if (lineage.input === undefined) {
    throw new MillraceError("unsupported", `\`${dataset.name}@${version.number}\` does not say what it was made from`, {
      where: { dataset: dataset.name },
      hint: "run its flow again: versions say so since columns of the source are kept with them",
    });
  }
  const input = lineage.input.map(([name, type]): Column => ({ name, type }));
  return {
    input,
    ...(lineage.transform === undefined ? {} : { transform: lineage.transform }),
    ...(lineage.reads === undefined ? {} : { reads: lineage.reads }),
  };
}

interface Lineage {
  transform?: string;
  input?: [string, Column["type"]][];
  reads?: Reads;
}
