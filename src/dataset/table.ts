import { setTimeout as sleep } from "node:timers/promises";
import { type Column, MillraceError, type Store, forEachLimited } from "../core/index.ts";
import type { DataFile, Version } from "./dataset.ts";
import { erasureState } from "./erasure.ts";
import { type RowFilter, mayHoldRows } from "./row-filter.ts";
import { dataFileOf, versionOf, versionsOf } from "./versions.ts";
import { type Loaded, loadNewest, publish } from "./iceberg/log.ts";
import {
  type ManifestEntry,
  type ManifestFile,
  decodeManifest,
  decodeManifestList,
  status,
} from "./iceberg/manifest.ts";
import { type Snapshot, type TableMetadata, currentSnapshot, property, schemaOf } from "./iceberg/metadata.ts";
import { type IcebergSchema, fromIcebergSchema, leavesOf } from "../core/iceberg-schema.ts";

/** Entries of manifests that are kept in memory, about 1 kB each. */
const cachedEntries = 50_000;
/** Tries at a commit that loses to others each time. */
const maximumTries = 100;

export interface ReadManifest {
  manifest: ManifestFile;
  entries: ManifestEntry[];
  schema: IcebergSchema | undefined;
}

/** The state of one dataset in this process, and what all operations share. */
export class Table {
  readonly name: string;
  readonly store: Store;
  readonly folder: string;
  /** Files of other writers that were seen to have field ids. */
  readonly withFieldIds = new Set<string>();
  #loaded: Loaded;
  readonly #manifests = new Map<string, ReadManifest>();
  #cached = 0;
  /** The manifest list read or written last: the next commit begins with it. */
  #list: { uri: string; manifests: ManifestFile[] } | undefined;

  constructor(name: string, store: Store, folder: string, loaded: Loaded) {
    this.name = name;
    this.store = store;
    this.folder = folder;
    this.#loaded = loaded;
  }

  get metadata(): TableMetadata {
    return this.#loaded.metadata;
  }

  get loaded(): Loaded {
    return this.#loaded;
  }

  async refresh(): Promise<void> {
    const loaded = await loadNewest(this.store, this.folder, this.#loaded);
    if (loaded === undefined) {
      throw new MillraceError("not-found", `the dataset \`${this.name}\` has lost its metadata`, {
        where: { dataset: this.name },
      });
    }
    this.#loaded = loaded;
  }

  /**
   * Changes the metadata: `change` gets the newest and returns the next, or undefined when there is nothing to do.
   * It runs again when somebody else commits first.
   */
  async update(change: (metadata: TableMetadata) => Promise<TableMetadata | undefined>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await this.refresh();
      const base = this.#loaded;
      const next = await change(base.metadata);
      if (next === undefined) return;
      this.assertWritable();
      const published = await publish(this.store, this.folder, base, withLog(next, base, this.store.uri(base.path)));
      if (published !== undefined) {
        this.#loaded = published;
        return;
      }
      if (attempt >= maximumTries) {
        throw new MillraceError(
          "conflict",
          `${maximumTries} tries to commit to \`${this.name}\` each lost to another writer`,
          {
            temporary: true,
            hint: "run again when fewer writers are active",
            where: { dataset: this.name },
          },
        );
      }
      await sleep(Math.random() * Math.min(20, 2 * attempt));
    }
  }

  get isWritable(): boolean {
    const { ours, metadata } = this.#loaded;
    return ours && metadata["format-version"] === 2 && metadata.properties[property.commit] !== undefined;
  }

  assertWritable(): void {
    if (this.isWritable) return;
    throw new MillraceError(
      "unsupported",
      `the table \`${this.name}\` was made by another engine and can only be read`,
      {
        hint: "copy it into a dataset, or write to it with the engine that made it",
        where: { dataset: this.name },
      },
    );
  }

  /** URI in the metadata → path in the store. A table that was moved still works: only what follows its location counts. */
  pathOf(uri: string): string {
    const location = plainUri(this.metadata.location);
    const plain = plainUri(uri);
    if (!plain.startsWith(`${location}/`)) {
      throw new MillraceError(
        "unsupported",
        `\`${this.name}\` names the file \`${uri}\`, which lies outside of the table`,
        {
          hint: "rewrite the table in place with the engine that made it",
          where: { dataset: this.name, file: uri },
        },
      );
    }
    return `${this.folder}/${plain.slice(location.length + 1)}`;
  }

  uriOf(path: string): string {
    if (!path.startsWith(`${this.folder}/`)) {
      throw new MillraceError("usage", `\`${path}\` does not lie in the folder \`${this.folder}\` of the dataset`);
    }
    return `${this.metadata.location.replace(/\/+$/, "")}/${path.slice(this.folder.length + 1)}`;
  }

  columns(schemaId?: number): Column[] {
    return fromIcebergSchema(schemaOf(this.metadata, schemaId));
  }

  versions(): Version[] {
    return versionsOf(this.metadata);
  }

  /** Without tags, and taken to be in the current lineage. */
  versionOf(snapshot: Snapshot): Version {
    return versionOf(this.metadata, snapshot);
  }

  snapshotOf(version: Version | undefined): Snapshot | undefined {
    if (version === undefined) return currentSnapshot(this.metadata);
    const snapshot = this.metadata.snapshots.find(
      (candidate) => BigInt(candidate["snapshot-id"]) === version.snapshotId,
    );
    if (snapshot === undefined) {
      throw new MillraceError("not-found", `\`${this.name}@${version.number}\` has expired`, {
        hint: `\`millrace history ${this.name}\` lists the versions there are`,
        where: { dataset: this.name },
      });
    }
    return snapshot;
  }

  async manifestsOf(snapshot: Snapshot): Promise<ManifestFile[]> {
    const uri = snapshot["manifest-list"];
    if (this.#list?.uri === uri) return this.#list.manifests;
    const path = this.pathOf(uri);
    const manifests = decodeManifestList(await this.read(path), path);
    this.rememberList(uri, manifests);
    return manifests;
  }

  rememberList(uri: string, manifests: ManifestFile[]): void {
    this.#list = { uri, manifests };
  }

  async readManifest(manifest: ManifestFile): Promise<ReadManifest> {
    const cached = this.#manifests.get(manifest.manifest_path);
    if (cached !== undefined) {
      this.#manifests.delete(manifest.manifest_path);
      this.#manifests.set(manifest.manifest_path, cached);
      return cached;
    }
    const path = this.pathOf(manifest.manifest_path);
    const bytes = await this.read(path);
    if (this.#loaded.ours && bytes.length !== manifest.manifest_length) {
      throw new MillraceError(
        "corrupt",
        `\`${path}\` has ${bytes.length} bytes, the manifest list says ${manifest.manifest_length}`,
        { where: { dataset: this.name, file: path } },
      );
    }
    const read = { manifest, ...decodeManifest(bytes, manifest, path) };
    this.remember(read);
    return read;
  }

  /** Keeps a manifest in memory; the longest unused ones make room. Its entries must be complete. */
  remember(read: ReadManifest): void {
    if (read.entries.length > cachedEntries / 2) return;
    const before = this.#manifests.get(read.manifest.manifest_path);
    if (before !== undefined) this.#cached -= before.entries.length + 1;
    this.#manifests.set(read.manifest.manifest_path, read);
    this.#cached += read.entries.length + 1;
    for (const [key, old] of this.#manifests) {
      if (this.#cached <= cachedEntries) break;
      this.#manifests.delete(key);
      this.#cached -= old.entries.length + 1;
    }
  }

  /** All manifests of a snapshot with their entries, in the order of the list. */
  async readManifests(snapshot: Snapshot): Promise<ReadManifest[]> {
    const manifests = await this.manifestsOf(snapshot);
    const result: ReadManifest[] = [];
    await forEachLimited(manifests, 8, async (manifest, index) => {
      result[index] = await this.readManifest(manifest);
    });
    return result;
  }

  /** Live entries of a snapshot. Throws `unsupported` for tables with delete files. */
  async liveEntries(snapshot: Snapshot): Promise<ManifestEntry[]> {
    const live: ManifestEntry[] = [];
    for (const { manifest, entries } of await this.readManifests(snapshot)) {
      for (const entry of entries) {
        if (entry.status === status.deleted) continue;
        if (manifest.content !== 0 || entry.data_file.content !== 0) {
          throw new MillraceError("unsupported", `\`${this.name}\` has delete files, which Millrace does not read`, {
            hint: "compact the table with the engine that wrote them (Spark: `rewrite_data_files` with `delete-file-threshold` 1)",
            where: { dataset: this.name, file: entry.data_file.file_path },
          });
        }
        live.push(entry);
      }
    }
    return live;
  }

  async files(version: Version | undefined, filter?: RowFilter): Promise<DataFile[]> {
    const snapshot = this.snapshotOf(version);
    if (snapshot === undefined) return [];
    const leaves = leavesOf(this.columns(snapshot["schema-id"]));
    const columns = this.columns(version?.schemaId);
    return (await this.liveEntries(snapshot))
      .filter((entry) => filter === undefined || mayHoldRows(entry.data_file, filter, columns))
      .map((entry) => dataFileOf(entry, this.pathOf(entry.data_file.file_path), leaves));
  }

  /** A file that the metadata names: absent means damage. */
  async read(path: string): Promise<Uint8Array> {
    try {
      return await this.store.read(path);
    } catch (error) {
      if (!(error instanceof MillraceError) || error.code !== "not-found") throw error;
      await this.#assertNotErased(error);
      throw new MillraceError("corrupt", `\`${this.name}\` names the file \`${path}\`, which does not exist`, {
        cause: error,
        where: { dataset: this.name, file: path },
      });
    }
  }

  /** An erasure removes files at once: who still has the metadata from before it must read that again. */
  async #assertNotErased(cause: unknown): Promise<void> {
    const newest = await loadNewest(this.store, this.folder);
    if (newest === undefined || erasureState(newest.metadata).epoch === erasureState(this.metadata).epoch) return;
    throw new MillraceError("conflict", `rows were erased from \`${this.name}\` while it was read`, {
      cause,
      temporary: true,
      hint: "run again: every version is still there, without the erased rows",
      where: { dataset: this.name },
    });
  }
}

function withLog(next: TableMetadata, base: Loaded, uri: string): TableMetadata {
  const kept = Number(next.properties["write.metadata.previous-versions-max"] ?? 100);
  const entry = { "timestamp-ms": base.metadata["last-updated-ms"], "metadata-file": uri };
  return {
    ...next,
    "last-updated-ms": Math.max(Date.now(), base.metadata["last-updated-ms"]),
    "metadata-log": [...next["metadata-log"], entry].slice(-kept),
  };
}

/** `file:///a`, `file:/a` and `/a` are one place. */
function plainUri(uri: string): string {
  return uri.replace(/^file:(\/\/)?(?=\/|[^/])/, "").replace(/\/+$/, "");
}
