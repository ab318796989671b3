import { type Entry, MillraceError, asMillraceError } from "../core/index.ts";
import { cursorFiles } from "./cursor.ts";
import { assertNoErasure } from "./erasure.ts";
import type { GcOptions, GcReport, Version } from "./dataset.ts";
import { expire } from "./history.ts";
import { ownNumbers } from "./iceberg/log.ts";
import { status } from "./iceberg/manifest.ts";
import { property, retainedMetadataFiles, sweepsOf } from "./iceberg/metadata.ts";
import { isAnyUnnamed, leasedPaths, leasesOf } from "./lease.ts";
import type { Table } from "./table.ts";

const defaultMinimumAgeMs = 24 * 3600 * 1000;

/**
 * Removes files that no retained version names. Nothing is removed unless all that is retained could be read, and never what is
 * younger than the minimum age, what `protect` names, what a leased version needs (lease.ts), or what a commit made while we looked
 * refers to.
 */
export async function collectGarbage(table: Table, options: GcOptions = {}): Promise<GcReport> {
  const { dryRun = false, minimumAgeMs = defaultMinimumAgeMs, protect = () => false, now = Date.now() } = options;
  await table.refresh();
  // What an erasure has written and not yet committed is named by no version.
  assertNoErasure(table, table.metadata);
  const { live: leased, snapshots: read, ended } = await leasesOf(table, options.now);
  const expired = expirable(table, options).filter((version) => !read.has(version.snapshotId));
  if (!dryRun) await expire(table, expired);
  const without = new Set(expired.map((version) => version.snapshotId));

  // The clock of the store decides: ages are measured against what it says of a file, not against our clock alone.
  const before = now - minimumAgeMs;
  const candidates: Entry[] = [];
  let kept = 0;
  const numbers = await ownNumbers(table.store, table.folder);
  const oldestKept = Math.min((numbers.at(-1) ?? 0) - retainedMetadataFiles + 1, table.loaded.number);
  const reachable = await reachablePaths(table, without);
  const entries: Entry[] = [];
  const objects: Entry[] = [];
  for await (const entry of table.store.list(table.folder)) entries.push(entry);
  for (const entry of entries) {
    if (isObject(table, entry.path)) {
      if (options.objects === undefined) continue;
      if (entry.modified >= before || protect(entry.path)) kept++;
      else objects.push(entry);
      continue;
    }
    if (!collectable(table, entry.path, oldestKept)) continue;
    if (reachable.has(entry.path) || entry.modified >= before || protect(entry.path)) kept++;
    else candidates.push(entry);
  }

  // Which objects rows name is asked when there are some: it reads a column of every data file.
  const named = objects.length === 0 ? new Set<string>() : await options.objects!(without);
  for (const entry of objects) {
    if (named.has(entry.path)) kept++;
    else candidates.push(entry);
  }

  // Metadata files go in ascending order, which the commit protocol relies on.
  candidates.sort((left, right) => (metadataNumber(table, left.path) ?? 0) - (metadataNumber(table, right.path) ?? 0));
  const removed: Entry[] = [];
  if (candidates.length > 0) {
    if (!dryRun) await announceSweep(table, candidates);
    // Versions that were committed while we listed may name files that were unreferenced before.
    await table.refresh();
    const still = await reachablePaths(table, without);
    // After the metadata, as lease.ts says.
    const leases = await leasesOf(table, options.now);
    for (const path of await leasedPaths(table, leases, without)) still.add(path);
    const keepObjects = isAnyUnnamed(table, leases, without);
    if (candidates.some(({ path }) => isObject(table, path))) {
      for (const path of await options.objects!(without)) still.add(path);
    }
    for (const entry of candidates) {
      if (still.has(entry.path) || protect(entry.path) || (keepObjects && isObject(table, entry.path))) {
        kept++;
        continue;
      }
      if (!dryRun) await table.store.remove(entry.path);
      removed.push(entry);
    }
  }
  if (!dryRun) for (const path of ended) await table.store.remove(path);
  const bytes = removed.reduce((sum, entry) => sum + entry.size, 0);
  return { expired: expired.map((version) => version.number), leased, removed, kept, bytes };
}

/**
 * What no version names may be the manifests of a writer that was frozen for a day just before its commit. The announcement takes the
 * number that it would commit under, so that it has to look again, and then makes anew what is gone.
 */
async function announceSweep(table: Table, candidates: readonly Entry[]): Promise<void> {
  const metadataOnly = candidates.every(({ path }) => metadataNumber(table, path) !== undefined);
  if (metadataOnly || !table.isWritable) return;
  await table.update(async (metadata) => {
    assertNoErasure(table, metadata);
    const sweeps = String(sweepsOf(metadata) + 1);
    return { ...metadata, properties: { ...metadata.properties, [property.sweeps]: sweeps } };
  });
}

function expirable(table: Table, options: GcOptions): Version[] {
  if (options.expireOlderThanMs === undefined && options.keepVersions === undefined) return [];
  const { expireOlderThanMs = 0, keepVersions = 1 } = options;
  const versions = table.versions();
  const current = table.metadata["current-snapshot-id"];
  const newest = new Set(versions.slice(Math.max(0, versions.length - keepVersions)));
  const limit = (options.now ?? Date.now()) - expireOlderThanMs;
  return versions.filter(
    (version) =>
      version.tags.length === 0 &&
      version.snapshotId !== BigInt(current) &&
      !newest.has(version) &&
      version.time < limit,
  );
}

/** The content of an asset, which rows name. */
function isObject(table: Table, path: string): boolean {
  return path.startsWith(`${table.folder}/assets/`);
}

/** Only what a dataset consists of is ever removed: data, and metadata in the forms that Iceberg has. */
function collectable(table: Table, path: string, oldestKept: number): boolean {
  const inside = path.slice(table.folder.length + 1);
  if (inside.startsWith("data/")) return true;
  if (!inside.startsWith("metadata/")) return false;
  const number = metadataNumber(table, path);
  if (number !== undefined) return number < oldestKept;
  return /\.avro$|^metadata\/cursor-[0-9a-f]{64}\.json$/.test(inside);
}

function metadataNumber(table: Table, path: string): number | undefined {
  const match = /^metadata\/v(\d{1,15})\.metadata\.json$/.exec(path.slice(table.folder.length + 1));
  return match ? Number(match[1]) : undefined;
}

/** Every path that a retained version needs. Throws `corrupt` when one of them cannot be known. */
export async function reachablePaths(table: Table, without: ReadonlySet<bigint>): Promise<Set<string>> {
  const paths = new Set<string>([table.loaded.path]);
  const seen = new Set<string>();
  try {
    for (const snapshot of table.metadata.snapshots) {
      if (without.has(BigInt(snapshot["snapshot-id"]))) continue;
      paths.add(table.pathOf(snapshot["manifest-list"]));
      for (const path of cursorFiles(table, snapshot)) paths.add(path);
      for (const manifest of await table.manifestsOf(snapshot)) {
        if (seen.has(manifest.manifest_path)) continue;
        seen.add(manifest.manifest_path);
        paths.add(table.pathOf(manifest.manifest_path));
        for (const entry of (await table.readManifest(manifest)).entries) {
          // A deleted entry tells what its snapshot took out: the file lives only through versions that still have it.
          if (entry.status !== status.deleted) paths.add(table.pathOf(entry.data_file.file_path));
        }
      }
    }
  } catch (error) {
    const cause = asMillraceError(error, { dataset: table.name });
    throw new MillraceError(cause.code, `nothing was removed from \`${table.name}\`: ${cause.message}`, {
      cause,
      where: cause.where,
      hint: cause.hint ?? "see `millrace verify`; what cannot be read may name files that look unused",
      temporary: cause.temporary,
    });
  }
  return paths;
}
