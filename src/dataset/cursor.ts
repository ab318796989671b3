import { createHash } from "node:crypto";
import { type Cursor, MillraceError, messageOf } from "../core/index.ts";
import { type Snapshot, currentSnapshot } from "./iceberg/metadata.ts";
import type { Table } from "./table.ts";

/** Summary keys of cursors: the prefix and the name of the flow; the value is JSON. Each snapshot carries those of its parent on. */
export const cursorPrefix = "millrace.cursor.";

/**
 * Every commit writes the summaries of all retained versions. A cursor longer than this (a list of files, say) goes
 * into a file named by its checksum, and the summary refers to it.
 */
const inlineCharacters = 2048;
const reference = /^\{"\$file":"(cursor-[0-9a-f]{64}\.json)"\}$/;

const contents = new WeakMap<Table, Map<string, string>>();

function loadedCursors(table: Table): Map<string, string> {
  let map = contents.get(table);
  if (map === undefined) contents.set(table, (map = new Map()));
  return map;
}

/** Files with cursors may be gone: they are read, or written, again. */
export function forgetCursors(table: Table): void {
  contents.delete(table);
}

/** What goes into the summary for the JSON of a cursor. */
export async function cursorText(table: Table, json: string): Promise<string> {
  if (json.length <= inlineCharacters && !reference.test(json)) return json;
  const bytes = Buffer.from(json);
  const name = `cursor-${createHash("sha256").update(bytes).digest("hex")}.json`;
  if (!loadedCursors(table).has(name)) {
    await table.store.write(`${table.folder}/metadata/${name}`, bytes);
    loadedCursors(table).set(name, json);
  }
  return JSON.stringify({ $file: name });
}

/** Files with cursors that a snapshot refers to: paths in the store. */
export function cursorFiles(table: Table, snapshot: Snapshot): string[] {
  const files: string[] = [];
  for (const [key, value] of Object.entries(snapshot.summary)) {
    const match = key.startsWith(cursorPrefix) ? reference.exec(value) : null;
    if (match) files.push(`${table.folder}/metadata/${match[1]}`);
  }
  return files;
}

/** Reads the long cursors of the current snapshot, so that `readCursor` has them. */
export async function loadCursors(table: Table): Promise<void> {
  const current = currentSnapshot(table.metadata);
  if (current === undefined) return;
  const loaded = loadedCursors(table);
  const wanted = cursorFiles(table, current);
  for (const path of wanted) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (!loaded.has(name)) loaded.set(name, Buffer.from(await table.read(path)).toString("utf8"));
  }
  for (const name of loaded.keys()) if (!wanted.some((path) => path.endsWith(name))) loaded.delete(name);
}

export function readCursor(table: Table, snapshot: Snapshot | undefined, flow: string): Cursor | undefined {
  const text = snapshot?.summary[cursorPrefix + flow];
  if (text === undefined) return undefined;
  const match = reference.exec(text);
  try {
    return JSON.parse(match ? (loadedCursors(table).get(match[1]!) ?? "") : text) as Cursor;
  } catch (cause) {
    throw new MillraceError(
      "corrupt",
      `the cursor of flow \`${flow}\` in \`${table.name}\` is not JSON: ${messageOf(cause)}`,
      {
        cause,
        where: { dataset: table.name, flow },
      },
    );
  }
}
