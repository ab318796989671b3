import {
  formatType,
  MillraceError,
  parseDecimal,
  sameType,
  suggestion,
  type Column,
  type DataType,
} from "../../core/index.ts";

/** The type that holds all values of both without loss, or undefined. */
export function widen(left: DataType, right: DataType): DataType | undefined {
  if (sameType(left, right)) return left;
  if (typeof left !== "string" || typeof right !== "string") {
    if (typeof left === "string" || typeof right === "string") return undefined;
    if (left.type === "list" && right.type === "list") {
      const element = widen(left.element, right.element);
      return element === undefined ? undefined : { type: "list", element };
    }
    if (left.type === "map" && right.type === "map") {
      const key = widen(left.key, right.key);
      const value = widen(left.value, right.value);
      return key === undefined || value === undefined ? undefined : { type: "map", key, value };
    }
    if (left.type === "struct" && right.type === "struct") {
      const fields: Column[] = left.fields.map((field) => ({ ...field }));
      for (const field of right.fields) {
        const twin = fields.find((each) => each.name === field.name);
        if (twin === undefined) fields.push(field);
        else {
          const type = widen(twin.type, field.type);
          if (type === undefined) return undefined;
          twin.type = type;
        }
      }
      return { type: "struct", fields };
    }
    return undefined;
  }
  const decimals = [left, right].map(asDecimal);
  if (decimals[0] && decimals[1] && (parseDecimal(left) || parseDecimal(right))) {
    const scale = Math.max(decimals[0].scale, decimals[1].scale);
    const whole = Math.max(decimals[0].precision - decimals[0].scale, decimals[1].precision - decimals[1].scale);
    return whole + scale <= 38 ? `decimal(${whole + scale},${scale})` : undefined;
  }
  const ladder = ["int", "long"];
  if (ladder.includes(left) && ladder.includes(right)) return "long";
  const numbers = ["int", "float", "double"];
  if (numbers.includes(left) && numbers.includes(right)) return "double";
  if (left === "date" && right === "timestamp") return "timestamp";
  if (left === "timestamp" && right === "date") return "timestamp";
  return undefined;
}

function asDecimal(type: DataType): { precision: number; scale: number } | undefined {
  if (type === "int") return { precision: 10, scale: 0 };
  if (type === "long") return { precision: 19, scale: 0 };
  return typeof type === "string" ? parseDecimal(type) : undefined;
}

/** Text that is a long here and a double there is a column of doubles; what else differs is text. */
function widenText(left: DataType, right: DataType): DataType {
  const numbers = ["int", "long", "float", "double"];
  if (typeof left === "string" && typeof right === "string" && numbers.includes(left) && numbers.includes(right)) {
    return widen(left, right) ?? "double";
  }
  return widen(left, right) ?? "string";
}

export interface FileColumns {
  file: string;
  columns: Column[];
  /** Types are guesses from text, not statements of the file. */
  guessed: boolean;
  /** Columns of which only nulls were seen, so that their guessed type says nothing. */
  empty: () => Promise<Set<string>>;
}

/**
 * One set of columns for all files. Guessed types yield to what the first runs fixed (`known`); stated types are widened.
 * Throws `schema` for stated types that do not fit, naming both files.
 */
export async function mergeColumns(files: readonly FileColumns[], known: readonly Column[]): Promise<Column[]> {
  const merged = new Map<string, { column: Column; file: string; fixed: boolean; empty: boolean }>();
  const place = (name: string): string => name.toLowerCase();
  for (const column of known)
    merged.set(place(column.name), { column, file: "earlier files", fixed: true, empty: false });
  for (const { file, columns, guessed, empty } of files) {
    for (const column of columns) {
      const earlier = merged.get(place(column.name));
      if (earlier === undefined) {
        const alone = guessed && column.type === "string" && files.length > 1 && (await empty()).has(column.name);
        merged.set(place(column.name), { column: plain(column), file, fixed: false, empty: alone });
        continue;
      }
      const left = earlier.column.type;
      if (sameType(left, column.type) || (guessed && earlier.fixed)) continue;
      if (guessed) {
        if (column.type === "string" && (await empty()).has(column.name)) continue;
        earlier.column = { ...earlier.column, type: earlier.empty ? column.type : widenText(left, column.type) };
        earlier.empty = false;
        continue;
      }
      const wide = widen(left, column.type);
      if (wide === undefined) {
        throw new MillraceError(
          "schema",
          `the column \`${column.name}\` is ${formatType(left)} in \`${earlier.file}\` and ${formatType(column.type)} in \`${file}\``,
          {
            where: { file, column: column.name },
            hint: "read the files with different types in flows of their own, and bring them together with casts",
          },
        );
      }
      earlier.column = { ...earlier.column, type: wide };
    }
  }
  return [...merged.values()].map(({ column }) => column);
}

/** A file cannot promise for later ones that a column has no nulls. */
function plain(column: Column): Column {
  const { required: _, id: _id, ...rest } = column;
  return rest;
}

/** The wanted columns in the order asked for. Throws `config` for one that there is not. */
export function chooseColumns(columns: readonly Column[], wanted: readonly string[] | undefined): Column[] {
  if (wanted === undefined) return [...columns];
  return wanted.map((name) => {
    const found = columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
    if (found === undefined) {
      throw new MillraceError("not-found", `the files have no column \`${name}\``, {
        where: { column: name },
        hint: suggestion(
          name,
          columns.map((column) => column.name),
        ),
      });
    }
    return found;
  });
}
