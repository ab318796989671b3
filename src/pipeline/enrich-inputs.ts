import { createHash } from "node:crypto";
import { MillraceError, sqlName, sqlString, type CursorValue, type EnricherInput } from "../core/index.ts";
import type { LakeHandles } from "./lake.ts";

/** A row of a staged file and what an enricher is asked of it. */
export interface AskedRow {
  /** Its number in the file, from 0. */
  row: number;
  input: EnricherInput;
  /** For the rejected dataset: where it came from, and its values without bytes. */
  origin: string;
  record: Record<string, CursorValue>;
}

interface Wanted {
  /** Column of bytes; undefined: the asset of the row. */
  of: string | undefined;
  input: "rows" | "assets";
  /** Columns whose values are wanted. */
  reads: readonly string[];
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** JSON of a value as the engine gives it: 64-bit integers as text, as enrichers take them. */
function plain(value: unknown): CursorValue {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (value instanceof Date) return value.toISOString();
  return JSON.parse(
    JSON.stringify(value ?? null, (_, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner)),
  ) as CursorValue;
}

/** Characters of a record that is rejected. */
const recordCharacters = 10_000;

/** All rows of a file; the bytes of assets come when `complete` asks for them. */
export async function inputsOf(
  lake: LakeHandles,
  path: string,
  wanted: Wanted,
): Promise<{ rows: AskedRow[]; complete: (inputs: readonly EnricherInput[]) => Promise<EnricherInput[]> }> {
  const engine = await lake.engine();
  const relation = `read_parquet(${sqlString(path)}, file_row_number = true)`;
  const columns = (await engine.columnsOf(`SELECT * FROM read_parquet(${sqlString(path)})`)).filter(
    ({ type }) => type !== "binary",
  );
  const names = new Set(columns.map(({ name }) => name));
  const { of } = wanted;
  const facts =
    wanted.input === "rows"
      ? []
      : of === undefined
        ? [`sha256 AS "asset hash"`, `"object" AS "asset object"`, `bytes IS NOT NULL AS "asset here"`]
        : [
            `sha256(${sqlName(of)}) AS "asset hash"`,
            `${sqlName(of)} IS NOT NULL AS "asset here"`,
            `octet_length(${sqlName(of)}) AS "asset size"`,
          ];
  const list = [...columns.map(({ name }) => sqlName(name)), ...facts, "file_row_number"];
  const found = await engine.query(`SELECT ${list.join(", ")} FROM ${relation} ORDER BY file_row_number`);
  const assets = new Map<string, { row: number; object: string | undefined; hash: string }>();
  const holders = new Map<string, { row: number; object: string | undefined }>();
  const rows = found.map((row): AskedRow => {
    const number = Number(row["file_row_number"]);
    const record = Object.fromEntries(columns.map(({ name }) => [name, clip(plain(row[name]))]));
    const values = Object.fromEntries(
      wanted.reads.filter((name) => names.has(name)).map((name) => [name, plain(row[name])]),
    );
    const origin = typeof row["uri"] === "string" ? row["uri"] : `row ${number}`;
    const ofAsset = wanted.input === "assets";
    const content = typeof row["asset hash"] === "string" ? row["asset hash"] : undefined;
    const hash =
      ofAsset && wanted.reads.length === 0 && content !== undefined
        ? content
        : sha256(JSON.stringify([content ?? null, values]));
    if (!ofAsset) return { row: number, input: { hash, values }, origin, record };
    const object = typeof row["asset object"] === "string" ? row["asset object"] : undefined;
    if (content !== undefined && (object !== undefined || row["asset here"] === true))
      holders.set(content, { row: number, object });
    assets.set(hash, { row: number, object, hash: content ?? "" });
    const asset = {
      uri: origin,
      mediaType:
        of === undefined && typeof row["media_type"] === "string" ? row["media_type"] : "application/octet-stream",
      size: Number(row[of === undefined ? "size" : "asset size"] ?? 0),
      sha256: content ?? "",
      modified: 0,
      bytes: new Uint8Array(),
    };
    return { row: number, input: { hash, values, asset }, origin, record };
  });

  const bytesOf = async (hash: string): Promise<Uint8Array> => {
    const { hash: content } = assets.get(hash)!;
    const holder = holders.get(content);
    if (holder === undefined) {
      throw new MillraceError("config", "the bytes of an asset are not there to be worked on", {
        hint: "set `assets: { keep: true }`, or name a column of bytes with `of`",
      });
    }
    if (holder.object !== undefined) return lake.store.read(holder.object);
    const query = `SELECT ${sqlName(of ?? "bytes")} AS bytes FROM ${relation} WHERE file_row_number = ${holder.row}`;
    return (await engine.query(query))[0]!["bytes"] as Uint8Array;
  };
  const complete = async (inputs: readonly EnricherInput[]): Promise<EnricherInput[]> => {
    if (wanted.input === "rows") return [...inputs];
    const result: EnricherInput[] = [];
    for (const input of inputs) {
      const bytes = await bytesOf(input.hash);
      result.push({ ...input, asset: { ...input.asset!, size: bytes.length, bytes } });
    }
    return result;
  };
  return { rows, complete };
}

function clip(value: CursorValue): CursorValue {
  return typeof value === "string" && value.length > recordCharacters ? `${value.slice(0, recordCharacters)}…` : value;
}
