import {
  formatType,
  MillraceError,
  messageOf,
  sqlName,
  sqlString,
  suggestion,
  type Column,
  type Sql,
} from "../core/index.ts";
import type { NearSpec } from "../pipeline/flow.ts";
import type { CheckResult } from "../pipeline/report.ts";
import { nearHashes } from "./near-hash.ts";
import { nearNumbers } from "./near-numbers.ts";
import { nearTexts } from "./near-text.ts";
import type { NearEngine, NearFinding, NearRequest } from "./near.ts";

/** A check of near-duplicates with what it found. */
export interface NearResult {
  result: CheckResult;
  finding: NearFinding | undefined;
}

/** Above this share rows seem to be alike by themselves (few different values), as for exact copies. */
const copiesAreRare = 0.05;
const number = /^(int|long|float|double|decimal)/;

/** Columns that are not there or cannot be compared that way. Throws `config`. */
export function verifyNear(specs: readonly NearSpec[], columns: readonly Column[]): void {
  for (const spec of specs) {
    for (const name of columnsOf(spec)) {
      const column = columns.find((each) => each.name === name);
      if (column === undefined) {
        const names = columns.map((each) => each.name);
        throw wrong(`\`split.near\` names the column \`${name}\`, which is not there`, name, suggestion(name, names));
      }
      const type = formatType(column.type);
      if ("numbers" in spec && !number.test(type)) {
        throw wrong(
          `\`split.near.numbers\` names \`${name}\` of type \`${type}\`, which is no number`,
          name,
          "leave it out",
        );
      }
      if ("hash" in spec && !/^(long|decimal\(20,0\))$/.test(type)) {
        throw wrong(
          `\`split.near.hash\` is \`${name}\` of type \`${type}\`, but a hash is a \`long\``,
          name,
          "name the column of the hash",
        );
      }
      if ("text" in spec && type !== "string") {
        throw wrong(
          `\`split.near.text\` names \`${name}\` of type \`${type}\`, which is no text`,
          name,
          "name a column of text",
        );
      }
    }
  }
}

function wrong(message: string, column: string, hint: string): MillraceError {
  return new MillraceError("config", message, { hint, where: { column } });
}

function columnsOf(spec: NearSpec): string[] {
  if ("text" in spec) return [spec.text].flat();
  return "numbers" in spec ? spec.numbers : [spec.hash];
}

async function search(spec: NearSpec, request: NearRequest, engine: NearEngine): Promise<NearFinding> {
  if ("text" in spec) return nearTexts(columnsOf(spec), spec.similarity, request, engine);
  if ("numbers" in spec) return nearNumbers(spec.numbers, spec.distance, request, engine);
  return nearHashes(spec.hash, spec.bits, request, engine);
}

/** The name of a check, and what its rows are said to be. */
function words(spec: NearSpec): { check: string; like: string; unit: string } {
  const names = columnsOf(spec)
    .map((name) => `\`${name}\``)
    .join(", ");
  if ("text" in spec)
    return { check: "near-text", like: `a ${names} at least ${spec.similarity} similar to`, unit: "similar" };
  if ("numbers" in spec) {
    return { check: "near-numbers", like: `${names} within ${spec.distance} standard deviations of`, unit: "apart" };
  }
  return { check: "near-hash", like: `a ${names} within ${spec.bits} bits of`, unit: "bits apart" };
}

/**
 * Looks for rows of different splits that are almost the same. `isGuess`: nobody named the columns of numbers, and neighbours among them
 * may be chance, so they only warn. A check that cannot be measured never passes.
 */
export async function nearChecks(
  specs: readonly NearSpec[],
  onFail: "warn" | "fail",
  request: NearRequest,
  engine: NearEngine,
  isGuess = false,
): Promise<NearResult[]> {
  const results: NearResult[] = [];
  for (const spec of specs) {
    const { check, like, unit } = words(spec);
    const options = { check, on_fail: onFail, columns: columnsOf(spec) };
    const bad = onFail === "fail" ? "failed" : "warned";
    try {
      const finding = await search(spec, request, engine);
      const { rows, compared, pairs, examples } = finding;
      const measured = { rows: compared, near_rows: rows, near_pairs: pairs };
      if (rows === 0) {
        const message = `none of ${compared} rows has ${like} one of another split`;
        results.push({ finding, result: { check, options, status: "passed", message, failing: 0, measured } });
        continue;
      }
      const shown = examples
        .slice(0, 1)
        .map(
          ({ left, right, value }) =>
            `${left.split} ${left.origin} and ${right.split} ${right.origin}, ${round(value)} ${unit}`,
        );
      const natural = "numbers" in spec && rows / compared > copiesAreRare;
      const tail = natural
        ? "; so many that rows seem to be alike by themselves"
        : ` (${shown.join("; ")}${pairs > shown.length ? " …" : ""})`;
      const message = `${rows} of ${compared} rows have ${like} one of another split${tail}`;
      const status = natural || ("numbers" in spec && isGuess) ? "warned" : bad;
      results.push({ finding, result: { check, options, status, message, failing: rows, measured } });
    } catch (error) {
      if (request.signal?.aborted) throw new MillraceError("aborted", "stopped by the caller", { cause: error });
      const message = messageOf(error);
      results.push({
        finding: undefined,
        result: {
          check,
          options,
          status: bad,
          message: `the check could not be measured: ${message.split("\n")[0]}`,
          measured: {},
          error: message,
        },
      });
    }
  }
  return results;
}

const round = (value: number): number => Number(value.toPrecision(2));

/** The key of a row, or else the file it lies in and its place there. */
export function originOf(key: readonly string[], inFiles: boolean): Sql {
  if (key.length > 0) {
    return `concat_ws(', ', ${key.map((name) => `${sqlString(`${name}=`)} || coalesce(CAST(${sqlName(name)} AS VARCHAR), 'null')`).join(", ")})`;
  }
  return inFiles ? "parse_filename(filename) || ':' || file_row_number" : "'a row without a key'";
}
