import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { MillraceError, isMillraceError, type Entry } from "../core/index.ts";
import type { Lease, LeaseInfo, LeaseOptions, Version } from "./dataset.ts";
import { decodeManifest, decodeManifestList, status } from "./iceberg/manifest.ts";
import type { Table } from "./table.ts";

/*
 * A version that somebody reads is leased: an object in `<dataset>/leases/` names it, for as long as it is written again in time. So that
 * a lease and a gc that begin at the same moment cannot miss each other, each writes before it looks:
 *
 *   reader   1. writes the lease          2. reads the newest metadata: is the version still named there? If not, it is refused.
 *   gc       1. commits metadata that     2. lists the leases, and spares the files of every version that is leased,
 *               names fewer versions         also of those that no metadata names any more; then removes files.
 *
 * Either the reader looks after the commit of the gc, and is refused; or before it: then its lease was there before the commit, and the gc
 * finds it. A gc also looks at the leases before its commit, so that a version that is read stays one that people can name; that is a
 * courtesy, and the second look is what protects.
 *
 * A lease counts for `ttlMs` from when it was written last, by the clock of the store, on both ends. One of a process that is dead ends by
 * itself; gc then takes it away.
 */

/** What a lease says. */
interface LeaseFile {
  version: number;
  /** Decimal. */
  snapshot: string;
  /** URI, as in the metadata: from it all files of the version are found, also when no metadata names it. */
  manifestList: string;
  by: string;
  host: string;
  pid: number;
  ttlMs: number;
}

const defaultTtlMs = 15 * 60_000;
/** Longer than this no lease counts, whatever it says. */
const maximumTtlMs = 24 * 3_600_000;
const folderOf = (table: Table): string => `${table.folder}/leases`;
const none = async (): Promise<void> => undefined;

/** See `Dataset.lease`. */
export async function leaseVersion(
  table: Table,
  version: Version,
  by: string,
  { ttlMs = defaultTtlMs }: LeaseOptions = {},
): Promise<Lease> {
  // gc of ours does not expire versions of other engines' tables.
  if (!table.isWritable) return { [Symbol.asyncDispose]: none };
  const snapshot = table.snapshotOf(version)!;
  const lease: LeaseFile = {
    version: version.number,
    snapshot: String(version.snapshotId),
    manifestList: snapshot["manifest-list"],
    by,
    host: hostname(),
    pid: process.pid,
    ttlMs,
  };
  const path = `${folderOf(table)}/${randomUUID()}.json`;
  const bytes = new TextEncoder().encode(JSON.stringify(lease));
  try {
    await table.store.write(path, bytes);
  } catch (error) {
    const refused = isMillraceError(error) && ["permission", "full", "unsupported"].includes(error.code);
    if (refused) return { missing: error, [Symbol.asyncDispose]: none };
    throw error;
  }
  let renewed = Date.now();
  let renewing: Promise<unknown> | undefined;
  const timer = setInterval(() => {
    // One that ran out, because this machine slept, is not taken up again: its files may be gone.
    if (renewing !== undefined || Date.now() - renewed > ttlMs) return;
    const now = Date.now();
    renewing = table.store.write(path, bytes).then(
      () => (renewed = now),
      // The next time comes before it ends.
      () => undefined,
    );
    void renewing.finally(() => (renewing = undefined));
  }, ttlMs / 3);
  timer.unref();
  const end = async (): Promise<void> => {
    clearInterval(timer);
    await renewing;
    // What stays behind ends by itself.
    await table.store.remove(path).catch(() => undefined);
  };
  try {
    await table.refresh();
    table.snapshotOf(version);
  } catch (error) {
    await end();
    throw error;
  }
  return { [Symbol.asyncDispose]: end };
}

interface Leases {
  /** Those that count, for people. */
  live: LeaseInfo[];
  /** Snapshots that are leased. */
  snapshots: ReadonlySet<bigint>;
  /** Paths of objects of leases that ended without being taken away. */
  ended: string[];
  files: LeaseFile[];
}

/** The leases of a dataset. `now`: milliseconds since the epoch; absent: by the clock of the store. Throws `corrupt` for one that cannot be read. */
export async function leasesOf(table: Table, now?: number): Promise<Leases> {
  const leases: Leases & { snapshots: Set<bigint> } = { live: [], snapshots: new Set(), ended: [], files: [] };
  const entries = await Array.fromAsync(table.store.list(folderOf(table)));
  if (entries.length === 0) return leases;
  const moment = now ?? (await storeTime(table));
  for (const entry of entries) {
    const age = moment - entry.modified;
    const isLease = entry.path.endsWith(".json");
    // The clock of a gc that was killed.
    if (age > (isLease ? maximumTtlMs : defaultTtlMs)) leases.ended.push(entry.path);
    if (!isLease || age > maximumTtlMs) continue;
    const lease = await readLease(table, entry);
    // It ended while we looked.
    if (lease === undefined) continue;
    if (age > Math.min(lease.ttlMs, maximumTtlMs)) {
      leases.ended.push(entry.path);
      continue;
    }
    const { version, by, host, pid, ttlMs } = lease;
    leases.live.push({ version, by, host, pid, until: entry.modified + ttlMs });
    leases.snapshots.add(BigInt(lease.snapshot));
    leases.files.push(lease);
  }
  return leases;
}

/** Paths of all files of leased versions that no metadata of `table` names any more. */
export async function leasedPaths(table: Table, leases: Leases, without: ReadonlySet<bigint>): Promise<Set<string>> {
  const named = new Set(table.metadata.snapshots.map((snapshot) => BigInt(snapshot["snapshot-id"])));
  const paths = new Set<string>();
  for (const { snapshot, manifestList } of leases.files) {
    const id = BigInt(snapshot);
    if (named.has(id) && !without.has(id)) continue;
    const list = table.pathOf(manifestList);
    // A lease whose reader was refused at the same moment may name what is gone.
    const bytes = await readIfThere(table, list);
    if (bytes === undefined) continue;
    paths.add(list);
    for (const manifest of decodeManifestList(bytes, list)) {
      const path = table.pathOf(manifest.manifest_path);
      const content = await readIfThere(table, path);
      if (content === undefined) continue;
      paths.add(path);
      for (const entry of decodeManifest(content, manifest, path).entries) {
        if (entry.status !== status.deleted) paths.add(table.pathOf(entry.data_file.file_path));
      }
    }
  }
  return paths;
}

/** True when a leased version is named by no metadata, so that which objects its rows name cannot be asked. */
export function isAnyUnnamed(table: Table, leases: Leases, without: ReadonlySet<bigint>): boolean {
  const named = new Set(table.metadata.snapshots.map((snapshot) => BigInt(snapshot["snapshot-id"])));
  return [...leases.snapshots].some((id) => !named.has(id) || without.has(id));
}

/** Our clock may be wrong; what ages are measured against must be the clock that wrote the leases. */
async function storeTime(table: Table): Promise<number> {
  const path = `${folderOf(table)}/clock-${randomUUID()}`;
  try {
    await table.store.write(path, new Uint8Array());
  } catch {
    // Who cannot write removes nothing either.
    return Date.now();
  }
  try {
    for await (const entry of table.store.list(folderOf(table))) if (entry.path === path) return entry.modified;
    throw new MillraceError("internal", `the store does not list \`${path}\`, which was just written`);
  } finally {
    await table.store.remove(path);
  }
}

async function readIfThere(table: Table, path: string): Promise<Uint8Array | undefined> {
  try {
    return await table.store.read(path);
  } catch (error) {
    if (isMillraceError(error) && error.code === "not-found") return undefined;
    throw error;
  }
}

async function readLease(table: Table, { path }: Entry): Promise<LeaseFile | undefined> {
  const bytes = await readIfThere(table, path);
  if (bytes === undefined) return undefined;
  try {
    const lease = JSON.parse(new TextDecoder().decode(bytes)) as LeaseFile;
    BigInt(lease.snapshot);
    if (!(lease.ttlMs > 0) || typeof lease.manifestList !== "string") throw new Error("fields are missing");
    return lease;
  } catch (cause) {
    throw new MillraceError(
      "corrupt",
      `nothing was removed from \`${table.name}\`: the lease \`${path}\` cannot be read`,
      {
        cause,
        where: { dataset: table.name, file: path },
        hint: `remove ${table.store.uri(path)} when nobody reads the dataset`,
      },
    );
  }
}
