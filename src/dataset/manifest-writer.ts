import { randomUUID } from "node:crypto";
import { MillraceError } from "../core/index.ts";
import type { Change } from "./dataset.ts";
import {
  type ManifestEntry,
  type ManifestFile,
  encodeManifest,
  manifestFileOf,
  status,
  storedFile,
  widenBounds,
} from "./iceberg/manifest.ts";
import { type Snapshot, type TableMetadata, schemaOf } from "./iceberg/metadata.ts";
import { type IcebergSchema, fromIcebergSchema } from "../core/iceberg-schema.ts";
import type { ReadManifest, Table } from "./table.ts";

/** Manifests of one order of size are merged into one when there are so many, so that their number grows with the logarithm of the files. */
const fanIn = 50;

/** Fields that the commit widens. */
export type Widened = ReadonlyMap<number, "long" | "double">;

interface Written {
  manifest: ManifestFile;
  path: string;
  bytes: Buffer;
}

export interface Manifests {
  list: ManifestFile[];
  /** To be written before the list counts. */
  write: { path: string; bytes: Buffer }[];
  /** Of `write`, what is of no use when this attempt loses. */
  discard: string[];
  removed: { files: number; rows: number; bytes: number };
}

/** Makes the manifests of one commit, over all its attempts. */
export class ManifestWriter {
  readonly #table: Table;
  readonly #id: number;
  #added: Map<number, { path: string; bytes: Buffer; entries: ManifestEntry[] }> = new Map();
  #durable = new Set<string>();

  constructor(table: Table, id: number) {
    this.#table = table;
    this.#id = id;
  }

  /** What was written for attempts before may be gone. */
  forget(): void {
    this.#added.clear();
    this.#durable.clear();
  }

  async manifests(
    metadata: TableMetadata,
    parent: Snapshot | undefined,
    change: Change,
    sequence: number,
    widened: Widened,
  ): Promise<Manifests> {
    const before = parent ? await this.#table.manifestsOf(parent) : [];
    // Manifests of nothing but deletions told of the snapshot that made them; the next one leaves them out.
    let kept = before.filter((manifest) => manifest.added_files_count + manifest.existing_files_count > 0);
    const removed = { files: 0, rows: 0, bytes: 0 };
    const rewritten: Written[] = [];
    if (change.removeAll || change.remove?.length) {
      const touched = await this.#remove(kept, change, removed, sequence, widened);
      kept = kept.filter((manifest) => !touched.replaced.has(manifest));
      rewritten.push(...touched.written);
    } else if (widened.size === 0) {
      const merged = await this.#merge(kept, sequence);
      kept = kept.filter((manifest) => !merged.replaced.has(manifest));
      rewritten.push(...merged.written);
    }
    if (widened.size > 0) {
      const narrow = await this.#widen(kept, widened, sequence);
      kept = kept.filter((manifest) => !narrow.replaced.has(manifest));
      rewritten.push(...narrow.written);
    }
    const write: { path: string; bytes: Buffer }[] = [...rewritten];
    const list = [...rewritten.map(({ manifest }) => manifest), ...kept];
    if (change.add.length > 0) {
      const schema = schemaOf(metadata, undefined);
      const added = this.#add(schema, change);
      const manifest = this.#describe(added.path, added.bytes, added.entries, sequence, schema);
      list.unshift(manifest);
      if (!this.#durable.has(added.path)) write.push(added);
      this.#durable.add(added.path);
    }
    return { list, write, discard: rewritten.map(({ path }) => path), removed };
  }

  #add(schema: IcebergSchema, change: Change): { path: string; bytes: Buffer; entries: ManifestEntry[] } {
    const known = this.#added.get(schema["schema-id"]);
    if (known !== undefined) return known;
    const columns = fromIcebergSchema(schema);
    const entries = change.add.map((file): ManifestEntry => ({
      status: status.added,
      snapshot_id: this.#id,
      // Inherited from the manifest list, so that the manifest serves whatever number the commit gets.
      sequence_number: null,
      file_sequence_number: null,
      data_file: storedFile(file, this.#table.uriOf(file.path), columns),
    }));
    const added = { path: this.#newPath(), bytes: encodeManifest(entries, schema), entries };
    this.#added.set(schema["schema-id"], added);
    return added;
  }

  async #remove(
    manifests: readonly ManifestFile[],
    change: Change,
    removed: Manifests["removed"],
    sequence: number,
    widened: Widened,
  ): Promise<{ replaced: Set<ManifestFile>; written: Written[] }> {
    const wanted = change.removeAll ? undefined : new Set(change.remove);
    const replaced = new Set<ManifestFile>();
    const touched: ReadManifest[] = [];
    for (const manifest of manifests) {
      const read = await this.#table.readManifest(manifest);
      let hit = false;
      for (const entry of read.entries) {
        if (entry.status === status.deleted) continue;
        const path = this.#table.pathOf(entry.data_file.file_path);
        if (wanted !== undefined && !wanted.delete(path)) continue;
        hit = true;
        removed.files++;
        removed.rows += entry.data_file.record_count;
        removed.bytes += entry.data_file.file_size_in_bytes;
      }
      if (hit) {
        replaced.add(manifest);
        touched.push({
          ...read,
          entries: read.entries.map((entry) => ({ ...entry, data_file: widenBounds(entry.data_file, widened) })),
        });
      }
    }
    if (wanted !== undefined && wanted.size > 0) {
      const [path] = wanted;
      throw new MillraceError(
        "conflict",
        `\`${path}\` is not a file of the current version of \`${this.#table.name}\``,
        { hint: "another run has replaced it; run again", where: { dataset: this.#table.name, file: path! } },
      );
    }
    const gone = change.removeAll ? undefined : new Set(change.remove);
    return {
      replaced,
      written: this.#rewrite(
        touched,
        sequence,
        (entry) => gone === undefined || gone.has(this.#table.pathOf(entry.data_file.file_path)),
      ),
    };
  }

  async #merge(
    manifests: readonly ManifestFile[],
    sequence: number,
  ): Promise<{ replaced: Set<ManifestFile>; written: Written[] }> {
    const replaced = new Set<ManifestFile>();
    if (manifests.length < fanIn) return { replaced, written: [] };
    const orders = new Map<number, ManifestFile[]>();
    for (const manifest of manifests) {
      const live = manifest.added_files_count + manifest.existing_files_count;
      const order = Math.floor(Math.log(Math.max(live, 1)) / Math.log(fanIn));
      if (manifest.content === 0) orders.set(order, [...(orders.get(order) ?? []), manifest]);
    }
    const full = [...orders.values()].find((group) => group.length >= fanIn);
    if (full === undefined) return { replaced, written: [] };
    const reads: ReadManifest[] = [];
    for (const manifest of full) {
      reads.push(await this.#table.readManifest(manifest));
      replaced.add(manifest);
    }
    return { replaced, written: this.#rewrite(reads, sequence, () => false) };
  }

  /**
   * Iceberg lets bounds of a widened column stay narrow, but not every reader takes them (PyIceberg 0.9 fails on any filter of the
   * column), so the version that widens has them widened too.
   */
  async #widen(
    manifests: readonly ManifestFile[],
    widened: Widened,
    sequence: number,
  ): Promise<{ replaced: Set<ManifestFile>; written: Written[] }> {
    const replaced = new Set<ManifestFile>();
    const reads: ReadManifest[] = [];
    for (const manifest of manifests) {
      const read = await this.#table.readManifest(manifest);
      const entries = read.entries.map((entry) => ({ ...entry, data_file: widenBounds(entry.data_file, widened) }));
      if (entries.every((entry, index) => entry.data_file === read.entries[index]!.data_file)) continue;
      replaced.add(manifest);
      reads.push({ ...read, entries });
    }
    return { replaced, written: this.#rewrite(reads, sequence, () => false) };
  }

  /** One manifest per schema with the live entries as existing; those that `gone` names as deleted by this snapshot. */
  #rewrite(reads: readonly ReadManifest[], sequence: number, gone: (entry: ManifestEntry) => boolean): Written[] {
    const groups = new Map<string, { schema: IcebergSchema; entries: ManifestEntry[] }>();
    for (const { entries, schema } of reads) {
      const used = schema ?? schemaOf(this.#table.metadata, undefined);
      const key = JSON.stringify(used);
      let group = groups.get(key);
      if (group === undefined) groups.set(key, (group = { schema: used, entries: [] }));
      for (const entry of entries) {
        if (entry.status === status.deleted) continue;
        if (gone(entry)) group.entries.push({ ...entry, status: status.deleted, snapshot_id: this.#id });
        else group.entries.push({ ...entry, status: status.existing });
      }
    }
    return [...groups.values()].map(({ schema, entries }) => {
      const path = this.#newPath();
      const bytes = encodeManifest(entries, schema);
      return { path, bytes, manifest: this.#describe(path, bytes, entries, sequence, schema) };
    });
  }

  #describe(
    path: string,
    bytes: Buffer,
    entries: ManifestEntry[],
    sequence: number,
    schema: IcebergSchema,
  ): ManifestFile {
    const manifest = manifestFileOf(this.#table.uriOf(path), bytes.length, entries, this.#id, sequence);
    const complete = entries.map((entry) => ({
      ...entry,
      sequence_number: entry.sequence_number ?? sequence,
      file_sequence_number: entry.file_sequence_number ?? sequence,
    }));
    this.#table.remember({ manifest, entries: complete, schema });
    return manifest;
  }

  #newPath(): string {
    return `${this.#table.folder}/metadata/${this.#id}-${randomUUID()}-m.avro`;
  }
}
