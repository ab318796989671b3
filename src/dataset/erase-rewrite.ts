import { randomUUID } from "node:crypto";
import { basename } from "node:path";
import {
  type Column,
  MillraceError,
  type Sql,
  type StagedFile,
  during,
  isMillraceError,
  localFile,
  sqlName,
} from "../core/index.ts";
import { type IcebergSchema, fromIcebergSchema } from "../core/iceberg-schema.ts";
import type { Engine } from "../engine/engine.ts";
import { status } from "./iceberg/manifest.ts";
import { type TableMetadata, schemaOf } from "./iceberg/metadata.ts";
import { engineFile, readFiles } from "./relation.ts";
import type { Table } from "./table.ts";

/** Files that one query looks through. */
const filesAtOnce = 500;

/** A data file that a retained version names. */
interface LiveFile {
  path: string;
  rows: number;
  /** Of the manifest that names it: what the file was written with. */
  schema: IcebergSchema;
  /** Schemas of the versions that have it: the predicate is asked with the names that people see. */
  schemaIds: Set<number>;
}

/** What takes the place of a file: no file when all its rows go. */
export interface Replacement {
  files: StagedFile[];
  erased: number;
}

/** Finds the rows of a predicate in every file that any version names, and writes those files again without them. */
export class EraseRewriter {
  readonly #table: Table;
  readonly #engine: Pick<Engine, "query" | "write">;
  readonly #where: Sql;
  readonly #folder: string;
  readonly #signal: AbortSignal | undefined;
  /** Files that were looked at, over all attempts at the commit. */
  readonly #matched = new Map<string, number>();
  readonly #replacements = new Map<string, Replacement>();

  constructor(
    table: Table,
    engine: Pick<Engine, "query" | "write">,
    request: { where: Sql; folder: string; signal?: AbortSignal | undefined },
  ) {
    this.#table = table;
    this.#engine = engine;
    this.#where = request.where;
    this.#folder = request.folder;
    this.#signal = request.signal;
  }

  /** Files that hold rows of the predicate, and how many. Throws `usage` when no version has the columns that it names. */
  async find(metadata: TableMetadata): Promise<{ live: Map<string, LiveFile>; hits: Map<string, number> }> {
    const live = await this.#live(metadata);
    const bound = await this.#boundSchemas(metadata, live);
    const groups = new Map<string, { ids: number[]; paths: string[] }>();
    for (const { path, schemaIds } of live.values()) {
      if (this.#matched.has(path)) continue;
      const ids = [...schemaIds].filter((id) => bound.has(id)).sort((left, right) => left - right);
      if (ids.length === 0) {
        this.#matched.set(path, 0);
        continue;
      }
      const key = ids.join(",");
      let group = groups.get(key);
      if (group === undefined) groups.set(key, (group = { ids, paths: [] }));
      group.paths.push(path);
    }
    for (const { ids, paths } of groups.values()) {
      for (let start = 0; start < paths.length; start += filesAtOnce) {
        const some = paths.slice(start, start + filesAtOnce);
        await during(this.#table.store, () => this.#count(metadata, ids, some));
      }
    }
    const hits = new Map<string, number>();
    for (const path of live.keys()) if (this.#matched.get(path)! > 0) hits.set(path, this.#matched.get(path)!);
    return { live, hits };
  }

  /** How many data files hold such rows and are named by no version. What cannot be read as Parquet is not counted. */
  async unnamed(metadata: TableMetadata): Promise<number> {
    const live = await this.#live(metadata);
    let count = 0;
    for await (const { path } of this.#table.store.list(`${this.#table.folder}/data`)) {
      if (live.has(path) || !path.endsWith(".parquet")) continue;
      if (await during(this.#table.store, () => this.#holds(metadata, path))) count++;
    }
    return count;
  }

  async #holds(metadata: TableMetadata, path: string): Promise<boolean> {
    await this.#table.store.fetch?.([{ path }], this.#signal);
    for (const schema of metadata.schemas) {
      const relation = readFiles(this.#table, fromIcebergSchema(schemaOf(metadata, schema["schema-id"])), [path]);
      const select = `SELECT 1 FROM ${relation} AS t WHERE coalesce((${this.#where}), false) LIMIT 1`;
      const found = await this.#engine.query(select, this.#signal).catch((error: unknown) => {
        if (!isMillraceError(error) || error.code === "aborted") throw error;
        return [];
      });
      if (found.length > 0) return true;
    }
    return false;
  }

  /** `find`, and a replacement for each file that was hit. */
  async replace(
    metadata: TableMetadata,
  ): Promise<{ live: Map<string, LiveFile>; replacements: Map<string, Replacement> }> {
    const { live, hits } = await this.find(metadata);
    const bound = await this.#boundSchemas(metadata, live);
    const replacements = new Map<string, Replacement>();
    for (const [path, erased] of hits) {
      let replacement = this.#replacements.get(path);
      if (replacement === undefined) {
        const file = live.get(path)!;
        const ids = [...file.schemaIds].filter((id) => bound.has(id));
        const files =
          erased === file.rows ? [] : await during(this.#table.store, () => this.#rewrite(metadata, file, ids, erased));
        replacement = { erased, files };
        this.#replacements.set(path, replacement);
      }
      replacements.set(path, replacement);
    }
    return { live, replacements };
  }

  async #live(metadata: TableMetadata): Promise<Map<string, LiveFile>> {
    const live = new Map<string, LiveFile>();
    for (const snapshot of metadata.snapshots) {
      const isCurrent = snapshot["snapshot-id"] === metadata["current-snapshot-id"];
      const schemaId = isCurrent
        ? metadata["current-schema-id"]
        : (snapshot["schema-id"] ?? metadata["current-schema-id"]);
      for (const { manifest, entries, schema } of await this.#table.readManifests(snapshot)) {
        for (const entry of entries) {
          if (entry.status === status.deleted) continue;
          if (manifest.content !== 0 || entry.data_file.content !== 0) {
            throw new MillraceError("unsupported", `\`${this.#table.name}\` has delete files of another engine`, {
              where: { dataset: this.#table.name },
              hint: "compact the table with the engine that wrote them, expire its old snapshots, and erase again",
            });
          }
          const path = this.#table.pathOf(entry.data_file.file_path);
          const known = live.get(path);
          if (known !== undefined) known.schemaIds.add(schemaId);
          else {
            const rows = entry.data_file.record_count;
            live.set(path, {
              path,
              rows,
              schema: schema ?? schemaOf(metadata, schemaId),
              schemaIds: new Set([schemaId]),
            });
          }
        }
      }
    }
    return live;
  }

  /** The schemas that have the columns of the predicate. */
  async #boundSchemas(metadata: TableMetadata, live: ReadonlyMap<string, LiveFile>): Promise<Set<number>> {
    const bound = new Set<number>();
    let problem: unknown;
    const ids = new Set([...live.values()].flatMap((file) => [...file.schemaIds]));
    for (const id of [...ids, metadata["current-schema-id"]]) {
      if (bound.has(id)) continue;
      const empty = readFiles(this.#table, fromIcebergSchema(schemaOf(metadata, id)), []);
      try {
        await this.#engine.query(`SELECT 1 FROM ${empty} AS t WHERE coalesce((${this.#where}), false)`, this.#signal);
        bound.add(id);
      } catch (error) {
        if (!isMillraceError(error) || error.code === "aborted") throw error;
        problem = error;
      }
    }
    if (bound.size > 0) return bound;
    const columns = fromIcebergSchema(schemaOf(metadata, undefined));
    throw new MillraceError("usage", `the predicate does not fit the columns of \`${this.#table.name}\``, {
      // The engine quotes the predicate, which may name a person: only its own words about columns are of use.
      where: { dataset: this.#table.name },
      cause: problem,
      hint: `it has ${columns.map((column) => `\`${column.name}\``).join(", ")}; text is quoted with '…'`,
    });
  }

  /** Row numbers of the predicate in files, with their file names. */
  #rowNumbers(metadata: TableMetadata, ids: readonly number[], paths: readonly string[]): Sql {
    return ids
      .map((id) => {
        const columns = fromIcebergSchema(schemaOf(metadata, id));
        const relation = readFiles(this.#table, columns, paths, { filename: true, rowNumber: true });
        return `SELECT filename, file_row_number FROM ${relation} AS t WHERE coalesce((${this.#where}), false)`;
      })
      .join(" UNION ");
  }

  async #count(metadata: TableMetadata, ids: readonly number[], paths: readonly string[]): Promise<void> {
    await this.#table.store.fetch?.(
      paths.map((path) => ({ path })),
      this.#signal,
    );
    const rows = await this.#engine.query(
      `SELECT filename, count(*) AS matched FROM (${this.#rowNumbers(metadata, ids, paths)}) GROUP BY filename`,
      this.#signal,
    );
    const counts = new Map(rows.map((row) => [String(row["filename"]), Number(row["matched"])]));
    for (const path of paths) {
      const name = localFile(this.#table.store, path);
      this.#matched.set(path, counts.get(name) ?? 0);
      counts.delete(name);
    }
    const [stray] = counts.keys();
    if (stray === undefined) return;
    throw new MillraceError("internal", `the engine names a file \`${stray}\` that is not of \`${this.#table.name}\``);
  }

  async #rewrite(
    metadata: TableMetadata,
    file: LiveFile,
    ids: readonly number[],
    erased: number,
  ): Promise<StagedFile[]> {
    const columns: Column[] = fromIcebergSchema(file.schema);
    await this.#table.store.fetch?.([{ path: file.path }], this.#signal);
    const names = columns.map((column) => sqlName(column.name)).join(", ");
    const all = readFiles(this.#table, columns, [file.path], { rowNumber: true });
    const gone = `SELECT file_row_number FROM (${this.#rowNumbers(metadata, ids, [file.path])})`;
    const written = await this.#engine.write(
      `SELECT ${names} FROM ${all} AS t WHERE file_row_number NOT IN (${gone})`,
      {
        columns,
        folder: this.#folder,
        prefix: `erase-${randomUUID()}`,
        ...(this.#signal ? { signal: this.#signal } : {}),
      },
    );
    const kept = written.reduce((sum, one) => sum + one.rows, 0);
    if (kept + erased !== file.rows) {
      throw new MillraceError(
        "corrupt",
        `the erasure kept ${kept} of the ${file.rows} rows of \`${engineFile(this.#table, file.path)}\`, but ${erased} were to go; no version was changed`,
        {
          where: { dataset: this.#table.name, file: file.path },
          hint: `the predicate must say the same each time it is asked: \`millrace erase ${this.#table.name} --abandon\`, then another one; else see \`millrace verify ${this.#table.name} --deep\``,
        },
      );
    }
    const adopted: StagedFile[] = [];
    for (const one of written) {
      const path = `${this.#table.folder}/data/${basename(one.path)}`;
      await this.#table.store.adopt(one.path, path);
      adopted.push({ ...one, path });
    }
    return adopted;
  }
}
