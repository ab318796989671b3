import type { Session } from "../../protocols/postgres/session.ts";
import type { SubjectColumn } from "../../protocols/postgres/subject.ts";
import type { OpenCell } from "./csv-rows.ts";

/** How the text that the log has of a value becomes the text of the dataset. */
export type Treatment =
  /** It is the same. */
  | "same"
  /** It is the same, unless it lies before our era or beyond all dates. */
  | "date"
  | "time"
  /** The server is asked, by the expression that a reading of the table uses: arrays, composites, money. */
  | "ask";

const dates = new Set(["date", "timestamp", "timestamptz"]);

export function treatmentOf({ mapping, typeName }: SubjectColumn): Treatment {
  if (mapping.select === undefined) return "same";
  if (dates.has(typeName) && mapping.type === typeName) return "date";
  return typeName === "time" && mapping.type === "time" ? "time" : "ask";
}

const [zero, nine, capitalC, two, four] = [0x30, 0x39, 0x43, 0x32, 0x34];

/** Whether the server is to be asked about a value. */
export function isOpen(treatment: Treatment, buffer: Buffer, start: number, end: number): boolean {
  if (treatment === "same") return false;
  if (treatment === "ask") return true;
  const first = buffer[start]!;
  if (treatment === "time") return first === two && buffer[start + 1] === four;
  // `infinity`, `-infinity`, `… BC`
  return first < zero || first > nine || buffer[end - 1] === capitalC;
}

/** The texts of open cells as a reading of the table would give them, in the same order. One statement for each column. */
export async function resolveCells(
  session: Session,
  columns: readonly SubjectColumn[],
  cells: readonly OpenCell[],
): Promise<(string | null)[]> {
  const texts: (string | null)[] = [];
  const byColumn = Map.groupBy(cells.entries(), ([, cell]) => cell.column);
  for (const [at, found] of byColumn) {
    const { mapping, cast } = columns[at]!;
    const rows = await session.query(
      `SELECT (${mapping.select!("typed.v")})::text AS text
       FROM unnest($1::text[]) WITH ORDINALITY AS raw(v, n) CROSS JOIN LATERAL (SELECT raw.v::${cast} AS v) AS typed ORDER BY raw.n`,
      [found.map(([, cell]) => cell.text)],
    );
    for (const [index, [place]] of found.entries()) texts[place] = rows[index]!.text ?? null;
  }
  return texts;
}
