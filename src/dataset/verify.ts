import { createHash } from "node:crypto";
import { type Store, forEachLimited, localFile, messageOf, sqlString } from "../core/index.ts";
import type { Engine } from "../engine/engine.ts";
import { cursorFiles } from "./cursor.ts";
import type { Dataset, VerifyProblem, VerifyReport } from "./dataset.ts";
import { erasureState } from "./erasure.ts";
import { type StoredFile, status } from "./iceberg/manifest.ts";
import { rowCount } from "./iceberg/parquet-footer.ts";
import { tableOf } from "./open.ts";
import { engineFile } from "./relation.ts";
import type { Table } from "./table.ts";

/** Bytes that are hashed at once. */
const blockBytes = 4 * 1024 * 1024;
/** Files whose footers are read by one query. */
const footersAtOnce = 500;

/**
 * Holds every retained version against what its metadata says: manifest lists, manifests and data files exist and have their
 * sizes, totals add up, and the Parquet footers have the rows of the manifests. `deep` reads every file and compares its SHA-256.
 * What is wrong is in `problems`; only a failure to look is thrown.
 */
export async function verifyDataset(
  dataset: Dataset,
  engine: Pick<Engine, "query">,
  options: { deep?: boolean; signal?: AbortSignal } = {},
): Promise<VerifyReport> {
  await dataset.refresh();
  const table = tableOf(dataset);
  const problems: VerifyProblem[] = [];
  const files = new Map<string, { file: StoredFile; version: number }>();
  for (const snapshot of table.metadata.snapshots) {
    const version = snapshot["sequence-number"];
    const note = (file: string, problem: string): void => {
      problems.push({ version, file, problem });
    };
    try {
      let rows = 0;
      let count = 0;
      for (const manifest of await table.manifestsOf(snapshot)) {
        const read = await table.readManifest(manifest).catch((error: unknown) => {
          note(table.pathOf(manifest.manifest_path), messageOf(error));
          return undefined;
        });
        for (const { status: state, data_file: file } of read?.entries ?? []) {
          if (state === status.deleted || file.content !== 0) continue;
          rows += file.record_count;
          count++;
          const path = table.pathOf(file.file_path);
          if (!files.has(path)) files.set(path, { file, version });
        }
      }
      compareTotal(snapshot.summary, "total-records", rows, "rows", (text) => note(snapshot["manifest-list"], text));
      compareTotal(snapshot.summary, "total-data-files", count, "files", (text) =>
        note(snapshot["manifest-list"], text),
      );
    } catch (error) {
      note(snapshot["manifest-list"], messageOf(error));
    }
    for (const path of cursorFiles(table, snapshot)) {
      const size = await sizeOf(table.store, path);
      if (typeof size === "string") note(path, size);
    }
  }
  const { pending } = erasureState(table.metadata);
  if (pending !== undefined) {
    const problem = `an erasure that began at ${pending.begun} is not finished: give the same \`millrace erase ${table.name}\` again`;
    problems.push({ version: dataset.current()?.number ?? 0, file: table.loaded.path, problem });
  }
  const present = await verifyFiles(table, files, problems, options);
  await verifyFooters(table, present, engine, problems, options.signal);
  let [rows, bytes] = [0, 0];
  for (const { file } of files.values()) {
    rows += file.record_count;
    bytes += file.file_size_in_bytes;
  }
  problems.sort((left, right) => left.version - right.version || (left.file < right.file ? -1 : 1));
  return { versions: table.metadata.snapshots.length, files: files.size, rows, bytes, problems };
}

function compareTotal(
  summary: Record<string, string>,
  key: string,
  found: number,
  unit: string,
  note: (text: string) => void,
): void {
  const said = summary[key];
  if (said !== undefined && Number(said) !== found) {
    note(`the manifests hold ${found} ${unit}, the summary of the version says ${said}`);
  }
}

type Known = Map<string, { file: StoredFile; version: number }>;

/** Sizes, and checksums when `deep`. Returns the files that can be read on. */
async function verifyFiles(
  table: Table,
  files: Known,
  problems: VerifyProblem[],
  options: { deep?: boolean; signal?: AbortSignal },
): Promise<Known> {
  const present: Known = new Map();
  await forEachLimited([...files], 8, async ([path, known]) => {
    options.signal?.throwIfAborted();
    const note = (problem: string): void => {
      problems.push({ version: known.version, file: path, problem });
    };
    const size = await sizeOf(table.store, path);
    if (typeof size === "string") return note(size);
    if (size !== known.file.file_size_in_bytes) {
      return note(`the file has ${size} bytes, the manifest says ${known.file.file_size_in_bytes}`);
    }
    if (options.deep && known.file.millrace_sha256) {
      const found = await sha256Of(table.store, path, options.signal);
      if (found !== known.file.millrace_sha256) {
        return note(`the SHA-256 of the file is ${found}, the manifest says ${known.file.millrace_sha256}`);
      }
    }
    present.set(path, known);
  });
  return present;
}

async function sizeOf(store: Store, path: string): Promise<number | string> {
  try {
    await using file = await store.open(path);
    return file.size;
  } catch (error) {
    return messageOf(error);
  }
}

async function sha256Of(store: Store, path: string, signal?: AbortSignal): Promise<string> {
  await using file = await store.open(path);
  const hash = createHash("sha256");
  for (let offset = 0; offset < file.size; offset += blockBytes) {
    hash.update(await file.read(offset, Math.min(blockBytes, file.size - offset), signal));
  }
  return hash.digest("hex");
}

async function verifyFooters(
  table: Table,
  files: Known,
  engine: Pick<Engine, "query">,
  problems: VerifyProblem[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const paths = [...files.keys()];
  for (let start = 0; start < paths.length; start += footersAtOnce) {
    const group = paths.slice(start, start + footersAtOnce);
    const rows = await footerRows(table, group, engine, signal).catch(() => undefined);
    for (const path of group) {
      const { file, version } = files.get(path)!;
      try {
        // One unreadable footer fails the query of its group: then each is asked for alone.
        const found = (rows ?? (await footerRows(table, [path], engine, signal))).get(localFile(table.store, path));
        if (found === file.record_count) continue;
        problems.push({
          version,
          file: path,
          problem: `the file has ${found} rows, the manifest says ${file.record_count}`,
        });
      } catch (error) {
        problems.push({ version, file: path, problem: `the Parquet footer cannot be read: ${messageOf(error)}` });
      }
    }
  }
}

async function footerRows(
  table: Table,
  paths: readonly string[],
  engine: Pick<Engine, "query">,
  signal: AbortSignal | undefined,
): Promise<Map<string, number>> {
  if (!table.store.local) {
    // Of what is elsewhere only the footers are read, and past the copies.
    const rows = new Map<string, number>();
    await forEachLimited(paths, 8, async (path) => {
      signal?.throwIfAborted();
      rows.set(localFile(table.store, path), await rowCount(table.store, path));
    });
    return rows;
  }
  const list = paths.map((path) => sqlString(engineFile(table, path))).join(", ");
  const rows = await engine.query(`SELECT file_name, num_rows FROM parquet_file_metadata([${list}])`, signal);
  return new Map(rows.map((row) => [String(row["file_name"]), Number(row["num_rows"])]));
}
