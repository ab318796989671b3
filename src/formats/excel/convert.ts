import {
  formatType,
  isMillraceError,
  MillraceError,
  messageOf,
  type Column,
  type Converted,
  type DataType,
  type FileRef,
} from "../../core/index.ts";
import {
  dateText,
  headerOf,
  jsonText,
  placesOf,
  RowWriter,
  timestampText,
  timeText,
  type ConvertOptions,
} from "../values.ts";
import { uniqueNames } from "../sql.ts";
import { openPackage } from "../package.ts";
import { openWorkbook, type Cell, type Row, type Workbook } from "./workbook.ts";

interface ExcelOptions extends ConvertOptions {
  sheet?: string | number;
  header?: boolean;
  first_row?: number;
  errors?: "reject" | "null";
}

/** One sheet of a workbook as rows. The types of its columns are those of all its cells, so without given columns it is read twice. */
export default async function* convert(file: FileRef, options: ExcelOptions): AsyncIterable<Converted> {
  const parts = await openPackage(file.path);
  try {
    const workbook = await openWorkbook(parts, options.sheet);
    const all = await describe(workbook, options);
    const columns = options.columns ?? all;
    yield headerOf(columns);
    if (options.columns_only) return;
    const places = placesOf(
      columns,
      all.map((column) => column.name),
    );
    const writer = new RowWriter(columns);
    let rows = 0;
    for await (const row of tableRows(workbook, options)) {
      rows++;
      try {
        writer.add(
          places.map((place, index) =>
            valueOf(place < 0 ? undefined : row.cells[place], columns[index]!, workbook.date1904, options),
          ),
        );
      } catch (error) {
        if (!isMillraceError(error)) throw error;
        yield {
          rejected: {
            reason: messageOf(error),
            origin: `${file.name}:${row.number}`,
            record: recordOf(row, all, workbook.date1904),
          },
        };
        continue;
      }
      const bytes = writer.take();
      if (bytes !== undefined) yield bytes;
    }
    const rest = writer.take(true);
    if (rest !== undefined) yield rest;
    yield { rows };
  } finally {
    parts.close();
  }
}

const isFilled = (cell: Cell | undefined): boolean => cell !== undefined && !(cell.kind === "text" && cell.text === "");

/** The rows with something in them, from where the table begins. */
async function* filledRows(workbook: Workbook, options: ExcelOptions): AsyncGenerator<Row> {
  for await (const row of workbook.rows()) {
    if (row.number >= (options.first_row ?? 1) && row.cells.some(isFilled)) yield row;
  }
}

/** The rows of data: without the one that names the columns. */
async function* tableRows(workbook: Workbook, options: ExcelOptions): AsyncGenerator<Row> {
  let first = true;
  for await (const row of filledRows(workbook, options)) {
    if (!first || options.header === false) yield row;
    first = false;
  }
}

async function describe(workbook: Workbook, options: ExcelOptions): Promise<Column[]> {
  let header: Row | undefined;
  const types: (DataType | undefined)[] = [];
  let width = 0;
  for await (const row of filledRows(workbook, options)) {
    if (header === undefined) {
      header = row;
      width = lastFilled(row);
      if (options.header !== false) continue;
    }
    width = Math.max(width, lastFilled(row));
    for (let index = 0; index < row.cells.length; index++) {
      const cell = row.cells[index];
      if (isFilled(cell) && cell!.kind !== "error") types[index] = merge(types[index], typeOfCell(cell!));
    }
  }
  if (header === undefined) return [];
  const names = Array.from({ length: width }, (_, index) => {
    const cell = options.header === false ? undefined : header.cells[index];
    return cell === undefined ? "" : (textOf(cell, workbook.date1904) ?? "").trim();
  });
  return uniqueNames(names).map((name, index) => ({ name, type: types[index] ?? "string" }));
}

function lastFilled(row: Row): number {
  let width = row.cells.length;
  while (width > 0 && !isFilled(row.cells[width - 1])) width--;
  return width;
}

function isIntegral(cell: Cell & { kind: "number" }): boolean {
  return Number.isSafeInteger(cell.value);
}

function typeOfCell(cell: Cell): DataType {
  switch (cell.kind) {
    case "number":
      return isIntegral(cell) ? "long" : "double";
    case "boolean":
      return "boolean";
    case "date":
      return Number.isInteger(cell.value) ? "date" : "timestamp";
    case "time":
      return cell.value >= 0 && cell.value < 1 ? "time" : "timestamp";
    case "timestamp":
      return "timestamp";
    case "iso":
      return /^\d{4}-\d\d-\d\d$/.test(cell.text) ? "date" : /^T?\d\d:\d\d/.test(cell.text) ? "time" : "timestamp";
    case "text":
    case "error":
      return "string";
  }
}

function merge(left: DataType | undefined, right: DataType): DataType {
  if (left === undefined || left === right) return right;
  const pair = new Set([left, right]);
  if (pair.has("long") && pair.has("double")) return "double";
  if (pair.has("date") && pair.has("timestamp")) return "timestamp";
  return "string";
}

const dayMillis = 86_400_000;

/** Days since 1970 of a serial number, with its fraction. Day 60 of the 1900 system, 29 February 1900, never was: ECMA-376 part 1, 18.17.4.1. */
function epochDays(serial: number, date1904: boolean): number {
  if (date1904) return serial - 24_107;
  return serial < 60 ? serial - 25_568 : serial - 25_569;
}

function serialText(cell: Cell & { value: number }, type: DataType, date1904: boolean): string {
  const days = epochDays(cell.value, date1904);
  if (type === "date") return dateText(Math.floor(days));
  // Serial numbers are binary fractions of days: they mean whole milliseconds at best.
  const millis = Math.round(days * dayMillis);
  if (type === "time") return timeText(BigInt(Math.round(cell.value * dayMillis) % dayMillis) * 1000n);
  return timestampText(BigInt(millis) * 1000n, false);
}

/** A cell as people would read it. */
function textOf(cell: Cell, date1904: boolean): string | null {
  switch (cell.kind) {
    case "number":
      return isIntegral(cell) ? String(cell.value) : cell.text;
    case "boolean":
      return String(cell.value);
    case "date":
    case "time":
    case "timestamp":
      return serialText(cell, typeOfCell(cell), date1904);
    default:
      return cell.text;
  }
}

/** A cell in its column. Throws `value` when it does not fit. */
function valueOf(cell: Cell | undefined, column: Column, date1904: boolean, options: ExcelOptions): unknown {
  if (cell === undefined) return null;
  const { type } = column;
  if (cell.kind === "error") {
    if (options.errors === "null") return null;
    throw new MillraceError("value", `column \`${column.name}\`: the cell is the error \`${cell.text}\``);
  }
  if (type === "string") return textOf(cell, date1904);
  if (cell.kind === "text" && cell.text.trim() === "") return null;
  const serial = cell.kind === "date" || cell.kind === "time" || cell.kind === "timestamp";
  if ((type === "long" || type === "int") && cell.kind === "number" && isIntegral(cell)) return cell.value;
  if (
    (type === "double" || type === "float" || (typeof type === "string" && type.startsWith("decimal"))) &&
    cell.kind === "number"
  )
    return cell.text;
  if (type === "boolean" && cell.kind === "boolean") return cell.value;
  if (type === "date" && cell.kind === "date" && Number.isInteger(cell.value)) return serialText(cell, type, date1904);
  if (type === "timestamp" && serial) return serialText(cell, type, date1904);
  if (type === "time" && cell.kind === "time" && typeOfCell(cell) === "time") return serialText(cell, type, date1904);
  if (cell.kind === "iso" && typeOfCell(cell) === type) return cell.text.replace(/^T/, "");
  throw new MillraceError(
    "value",
    `column \`${column.name}\`: \`${(textOf(cell, date1904) ?? "").slice(0, 200)}\` is not ${formatType(type)}`,
  );
}

function recordOf(row: Row, columns: readonly Column[], date1904: boolean): string {
  return jsonText(
    "string",
    new Map(
      columns.map((column, index) => [
        column.name,
        row.cells[index] === undefined ? null : textOf(row.cells[index], date1904),
      ]),
    ),
  );
}
