import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as z from "zod";
import {
  defineSink,
  MillraceError,
  systemCode,
  throwIfAborted,
  type Column,
  type LookupValue,
  type Sink,
  type SinkDefinition,
  type VersionRows,
} from "../../../src/core/index.ts";
import type { SinkContract } from "../sink.ts";

/** What a reference sink can be made to do wrong: each must be caught by a rule. */
export interface SinkDefects {
  /** Empties the copy before it writes the new one. */
  truncatesFirst?: boolean;
  /** Adds to the copy, and does not look whether the version is there already. */
  publishesTwice?: boolean;
  /** Takes what came before an error for the whole. */
  keepsPartial?: boolean;
  /** Passes numbers through JavaScript's. */
  roundsNumbers?: boolean;
  /** Leaves missing keys out of the answer. */
  dropsMissing?: boolean;
  /** Joins the columns of a key with nothing between. */
  mixesKeys?: boolean;
}

interface Copy {
  dataset: string;
  version: number;
  key: readonly string[];
  columns: readonly Column[];
  rows: Record<string, string | null>[];
}

/** A sink of one JSON file a target, replaced by rename: as little as passes the contract. */
export function referenceSink(defects: SinkDefects = {}): SinkContract {
  const definition = defineSink({
    name: "reference",
    title: "Reference",
    summary: "A folder of JSON files, to try the contract on.",
    options: z.strictObject({ path: z.string().describe("Folder.") }),
    needs: [],
    capabilities: { lookup: true, merge: true, atomic: true },
    examples: [],
    load: async () => ({ open: async ({ path }) => openSink(path, defects) }),
  });
  return {
    name: "reference",
    definition: definition as unknown as SinkDefinition,
    async start() {
      const folder = await mkdtemp(join(tmpdir(), "millrace-sink-"));
      return {
        options: { path: folder },
        wrong: [{ what: "no folder", options: { path: join(folder, "absent") }, code: "config" }],
        rows: async (target) => (await readCopy(folder, target))?.rows,
        [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
      };
    },
  };
}

function openSink(folder: string, defects: SinkDefects): Sink {
  return {
    async check(signal) {
      throwIfAborted(signal);
      const probe = join(folder, randomUUID());
      await writeFile(probe, "").catch((cause: unknown) => {
        throw new MillraceError("config", `\`${folder}\` cannot be written to`, { cause, hint: "make the folder" });
      });
      await rm(probe);
    },
    async publish(version, { target, mode, key, signal }) {
      if (mode === "merge" && key.length === 0) throw new MillraceError("usage", "`merge` needs a `key`");
      const before = await readCopy(folder, target);
      const isThere = before?.dataset === version.dataset && before.version === version.version;
      if (isThere && !defects.publishesTwice) return { status: "unchanged", rows: 0 };
      const { dataset, columns } = version;
      const head = { dataset, version: version.version, key, columns };
      if (defects.truncatesFirst) await writeCopy(folder, target, { ...head, rows: [] });
      const rows: Record<string, string | null>[] = [];
      try {
        for await (const row of rowsOf(version, defects, signal)) rows.push(row);
      } catch (error) {
        if (signal?.aborted) throw new MillraceError("aborted", "stopped by the caller", { cause: error });
        if (!defects.keepsPartial) throw error;
      }
      const stays = mode === "merge" || defects.publishesTwice ? (before?.rows ?? []) : [];
      const taken = new Set(rows.map((row) => keyOf(key, row)));
      const kept = defects.publishesTwice ? stays : stays.filter((row) => !taken.has(keyOf(key, row)));
      await writeCopy(folder, target, { ...head, rows: [...kept, ...rows] });
      return { status: "published", rows: rows.length };
    },
    async get({ target, keys, columns }) {
      const copy = await readCopy(folder, target);
      if (copy === undefined) throw new MillraceError("not-found", `nothing was published to \`${target}\``);
      const join = (values: readonly string[]): string =>
        defects.mixesKeys ? values.join("") : JSON.stringify(values);
      const byKey = new Map(copy.rows.map((row) => [join(copy.key.map((name) => row[name] ?? "")), row]));
      const rows = keys.map((values) => {
        const row = byKey.get(join(values.map(String)));
        return row && lookupRow(copy.columns, row, columns);
      });
      return { version: copy.version, rows: defects.dropsMissing ? rows.filter(Boolean) : rows };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

const keyOf = (key: readonly string[], row: Record<string, string | null>): string =>
  JSON.stringify(key.map((name) => row[name]));

async function* rowsOf(
  version: VersionRows,
  defects: SinkDefects,
  signal: AbortSignal | undefined,
): AsyncGenerator<Record<string, string | null>> {
  for await (const batch of version.batches(signal ? { signal } : {})) {
    for (let row = 0; row < batch.rows; row++) {
      const entries = batch.columns.map(({ values, validity }, index) => {
        const value = validity?.[row] === 0 ? null : values[row]!;
        const { name, type } = version.columns[index]!;
        const isNumber = typeof type === "string" && /^(long|decimal)/.test(type);
        const text = value === null ? null : String(defects.roundsNumbers && isNumber ? Number(value) : value);
        return [name, text] as const;
      });
      yield Object.fromEntries(entries);
    }
  }
}

function lookupRow(
  columns: readonly Column[],
  row: Record<string, string | null>,
  wanted: readonly string[] | undefined,
): Record<string, LookupValue> {
  const chosen = columns.filter(({ name }) => wanted?.includes(name) ?? true);
  return Object.fromEntries(chosen.map(({ name, type }) => [name, lookupValue(type, row[name] ?? null)]));
}

function lookupValue(type: Column["type"], text: string | null): LookupValue {
  if (text === null) return null;
  if (type === "long") return BigInt(text);
  if (type === "boolean") return text === "true";
  return type === "double" ? Number(text) : text;
}

function fileOf(folder: string, target: string): string {
  const name = encodeURIComponent(target);
  if (name.length > 200) throw new MillraceError("limit", "the name of the target is too long");
  return join(folder, `${name}.json`);
}

async function readCopy(folder: string, target: string): Promise<Copy | undefined> {
  try {
    return JSON.parse(await readFile(fileOf(folder, target), "utf8")) as Copy;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function writeCopy(folder: string, target: string, copy: Copy): Promise<void> {
  const file = fileOf(folder, target);
  const staged = join(folder, randomUUID());
  await writeFile(staged, JSON.stringify(copy));
  await rename(staged, file);
}
