import { stat } from "node:fs/promises";
import {
  allowedBytes,
  messageOf,
  MillraceError,
  type Column,
  type Converter,
  type Converted,
  type FileRef,
  type Payload,
  type RejectedRecord,
} from "../../core/index.ts";
import { deathReason } from "../../sandbox/index.ts";
import { convertJob, poisoned, poisonIdentity } from "../assets/job.ts";
import type { FormatOptions } from "./formats.ts";
import type { FilesOptions } from "./index.ts";
import { limitsOf } from "./members.ts";

type Header = Extract<Converted, { columns: Column[] }>;

/** The columns of a file that a converter reads. */
export async function convertColumns(
  converter: Converter,
  file: FileRef,
  formatOptions: FormatOptions,
  options: FilesOptions,
  signal: AbortSignal | undefined,
): Promise<Column[]> {
  let columns: Column[] | undefined;
  for await (const output of convertJob(converter, file, { ...formatOptions, columns_only: true }, options, signal)) {
    if (!(output instanceof Uint8Array)) columns ??= (output.message as Header).columns;
  }
  if (columns !== undefined) return columns;
  throw new MillraceError("parse", `\`${file.name}\` has no columns`, { where: { file: file.name } });
}

/** What is left of files that cannot be read: of each one rejected record that names it and says why. */
export function tellingPayload(files: readonly [name: string, why: string][], columns: readonly Column[]): Payload {
  return {
    form: "bytes",
    format: "csv",
    columns: [...columns],
    chunks: (async function* (): AsyncGenerator<Uint8Array, void, undefined> {})(),
    rows: () => files.length,
    rejected: () => files.map(([origin, reason]) => ({ reason, origin, record: "" })),
  };
}

/** As text every file may become so much: one of few bytes may hold many equal records. */
const freeBytes = 16 * 1024 ** 2;

function tooMuch(file: string, allowed: number): MillraceError {
  return new MillraceError(
    "limit",
    `the records of \`${file}\` are more than ${allowed} bytes as text, like a decompression bomb`,
    {
      where: { file },
      hint: "raise `unpack_max_ratio` or `unpack_max_bytes` if the file is what it should be",
    },
  );
}

/** The records of a file as text of the wanted columns. What the converter cannot bring into them is rejected. */
export async function convertFile(
  converter: Converter,
  file: FileRef,
  formatOptions: FormatOptions,
  columns: readonly Column[],
  options: FilesOptions,
  signal: AbortSignal | undefined,
): Promise<Payload> {
  const identity = poisonIdentity(file, options);
  const known = poisoned.get(identity);
  if (known !== undefined) {
    poisoned.delete(identity);
    return tellingPayload([[file.name, known]], columns);
  }
  const outputs = convertJob(converter, file, { ...formatOptions, columns }, options, signal);
  const rejected: RejectedRecord[] = [];
  let rows: number | undefined;
  let first: Awaited<ReturnType<typeof outputs.next>>;
  try {
    first = await outputs.next();
  } catch (error) {
    if (deathReason(error) === undefined) throw error;
    return tellingPayload([[file.name, messageOf(error)]], columns);
  }
  if (first.done || first.value instanceof Uint8Array) {
    await outputs.return();
    throw new MillraceError("internal", `the converter of \`${file.name}\` did not say its columns first`, {
      where: { file: file.name },
    });
  }
  const header = first.value.message as Header;
  const limits = limitsOf(options);
  const allowed = Math.max(freeBytes, allowedBytes((await stat(file.path)).size, limits));
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    let total = 0;
    try {
      for await (const output of outputs) {
        if (output instanceof Uint8Array) {
          total += output.length;
          if (total > allowed) throw tooMuch(file.name, allowed);
          yield output;
        } else {
          const message = output.message as { rejected?: RejectedRecord; rows?: number };
          if (message.rows !== undefined) rows = message.rows;
          if (message.rejected !== undefined) rejected.push(message.rejected);
        }
      }
    } catch (error) {
      if (deathReason(error) === undefined) throw error;
      // Half of a file is no data. Read again, as data that does not fit is, it is told of as a whole.
      poisoned.set(identity, messageOf(error));
      throw new MillraceError("parse", messageOf(error), { where: { file: file.name }, cause: error });
    }
    if (rows === undefined)
      throw new MillraceError("internal", `the converter of \`${file.name}\` did not say how many records it read`, {
        where: { file: file.name },
      });
  }
  return {
    form: "bytes",
    format: header.format,
    columns: header.columns,
    ...(header.encodings ? { encodings: header.encodings } : {}),
    chunks: chunks(),
    rows: () => rows ?? 0,
    rejected: () => rejected,
  };
}
