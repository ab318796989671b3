import { isUtf8 } from "node:buffer";
import { randomBytes } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, MillraceError, type Column, type DataType, type EngineView } from "../../core/index.ts";
import ndjson from "../../formats/ndjson/index.ts";
import { nameOf } from "./lines.ts";
import { Members } from "./members.ts";

/** Objects stay JSON text: nothing of them is lost when their members change. Lists of plain values are lists. */
function flat(type: DataType): DataType {
  if (typeof type === "string") return type;
  return type.type === "list" && typeof type.element === "string" ? type : "string";
}

/**
 * The columns of JSON objects by a sample of them. `known` are those that there are already, with their types; `reserved` names belong to others.
 * Keys that differ in case only, or are empty, have no column of their own.
 */
export async function inferColumns(
  sample: readonly Uint8Array[],
  options: {
    known: readonly Column[];
    reserved: readonly string[];
    types: Record<string, string>;
    engine: EngineView;
    scratch: string;
    where: { connection: string };
  },
): Promise<Column[]> {
  const { known, engine, scratch, types } = options;
  const taken = new Set([...options.reserved, ...known.map(({ name }) => name)].map((name) => name.toLowerCase()));
  const members = new Members();
  const found = new Map<string, string>();
  const lines: string[] = [];
  for (const value of sample) {
    if (members.scan(value) !== undefined || !isUtf8(value)) continue;
    const line: string[] = [];
    const own = new Set<string>();
    for (let index = 0; index < members.count; index++) {
      const [key, keyEnd, from, to] = members.places.subarray(index * 4, index * 4 + 4) as unknown as number[];
      const name = nameOf(value.subarray(key, keyEnd));
      const lower = name.toLowerCase();
      if (name === "" || taken.has(lower) || (found.get(lower) ?? name) !== name || own.has(lower)) continue;
      own.add(lower);
      found.set(lower, name);
      line.push(
        `${JSON.stringify(name)}:${Buffer.from(value.subarray(from, to))
          .toString("utf8")
          .replaceAll(/[\r\n]/g, " ")}`,
      );
    }
    if (line.length > 0) lines.push(`{${line.join(",")}}\n`);
  }
  if (lines.length === 0) return [...known];
  await mkdir(scratch, { recursive: true });
  const path = join(scratch, `sample-${randomBytes(6).toString("hex")}.ndjson`);
  const text = Buffer.from(lines.join(""));
  await writeFile(path, text);
  try {
    const chosen = Object.fromEntries(Object.entries(types).filter(([name]) => found.has(name.toLowerCase())));
    const parsed = ndjson.options.parse({ records: "objects", sample_rows: -1, types: chosen });
    const format = (await ndjson.load()).open(parsed);
    const file = { path, name: "the sample", size: text.length, modified: 0 };
    const { columns } = await format.native!.infer!(file, engine);
    return [
      ...known,
      ...columns.map(({ name, type }) => ({ name, type: Object.hasOwn(types, name) ? type : flat(type) })),
    ];
  } catch (cause) {
    throw new MillraceError("schema", `the columns of the messages cannot be told: ${messageOf(cause)}`, {
      cause,
      where: options.where,
      hint: "name types with `columns`, or read the values as text with `value: text`",
    });
  } finally {
    await rm(path, { force: true });
  }
}
