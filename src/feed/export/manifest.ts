import { MillraceError, type Column } from "../../core/index.ts";
import { formatType } from "../../core/index.ts";
import type { WrittenField } from "./format.ts";
import type { ExportedFile } from "./shard.ts";

/** Written last: where it is, the export is complete. */
export const manifestName = "manifest.json";
export const croissantName = "croissant.json";
/** Lies where files come one by one, until the manifest is there. */
export const pendingName = "manifest.json.partial";

/** What an export is of and what it consists of. Nothing in it depends on when and where it was made. */
export interface Manifest {
  millraceExport: 1;
  dataset: string;
  version: number;
  /** Iceberg snapshot, as text: it has up to 53 bits here, and 64 elsewhere. */
  snapshot: string;
  format: string;
  compression?: string;
  splits?: string[];
  /** Cross-validation: the splits are those of it. */
  folds?: { folds: number; fold?: number; gap?: string };
  where?: string;
  order: { kind: "stored" } | { kind: "shuffle"; seed: number };
  rows: number;
  columns: (Omit<WrittenField, "column"> & { column: string; type: string })[];
  files: (ExportedFile & { split?: string })[];
}

export function manifestBytes(manifest: Manifest): Uint8Array {
  return Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`);
}

export function manifestColumns(columns: readonly Column[], written: readonly WrittenField[]): Manifest["columns"] {
  return columns.map(({ name, type }, index) => ({ ...written[index]!, column: name, type: formatType(type) }));
}

/** What the files of a place say of it. `read` gives the bytes of one. */
export async function occupiedBy(
  names: readonly string[],
  read: (name: string) => Promise<Uint8Array>,
): Promise<Occupied> {
  const parse = async (name: string): Promise<Manifest | undefined> =>
    names.includes(name) ? parseManifest(await read(name)) : undefined;
  const [manifest, pending] = [await parse(manifestName), await parse(pendingName)];
  return { names, manifest, ...(pending && { pending }) };
}

/** Undefined for what is no manifest of an export. */
export function parseManifest(bytes: Uint8Array): Manifest | undefined {
  try {
    const value = JSON.parse(Buffer.from(bytes).toString()) as Partial<Manifest> | null;
    if (value?.millraceExport !== 1 || !Array.isArray(value.files)) return undefined;
    // What it names is removed before a new export takes its place, so it must not lead elsewhere.
    if (!value.files.every(({ path }) => isInside(path))) return undefined;
    return value as Manifest;
  } catch {
    return undefined;
  }
}

/** What is to come, as a manifest that names files only. */
export function pendingBytes(made: ExportSubject, paths: readonly string[]): Uint8Array {
  return Buffer.from(`${JSON.stringify({ millraceExport: 1, ...made, files: paths.map((path) => ({ path })) })}\n`);
}

const isInside = (path: unknown): path is string =>
  typeof path === "string" &&
  path !== "" &&
  path.split("/").every((part) => part !== "" && part !== "." && part !== "..");

/** What an export is of, whatever the version. */
export type ExportSubject = Pick<Manifest, "dataset" | "format" | "splits" | "folds">;

/** One export takes the place of another one of the same: dataset, format and splits. */
export function sameExport(left: ExportSubject, right: ExportSubject): boolean {
  const key = ({ dataset, format, splits, folds }: ExportSubject): string =>
    JSON.stringify([dataset, format, splits ?? null, folds?.folds ?? null, folds?.fold ?? null]);
  return key(left) === key(right);
}

/** What lies where an export is to go. */
export interface Occupied {
  /** Paths relative to it. */
  names: readonly string[];
  manifest: Manifest | undefined;
  /** Of one that was cut off. */
  pending?: ExportSubject & { files: { path: string }[] };
}

/**
 * The files that a new export removes. Throws `already-exists` when there are some that are not of an earlier export of the same,
 * unless `force`: then files of other names stay, and those of the same name are written over.
 */
export function displaced(occupied: Occupied, made: ExportSubject, place: string, force: boolean): string[] {
  const { names, manifest, pending } = occupied;
  const known = [
    ...(manifest === undefined ? [] : [...manifest.files.map(({ path }) => path), croissantName, manifestName]),
    ...(pending === undefined ? [] : [...pending.files.map(({ path }) => path), pendingName]),
  ];
  if (!force) {
    const foreign = names.filter((name) => !known.includes(name));
    if (foreign.length > 0) {
      const named = foreign.slice(0, 3).map((name) => `\`${name}\``);
      throw new MillraceError(
        "already-exists",
        `\`${place}\` has files that no export of ours made: ${named.join(", ")}${foreign.length > 3 ? " …" : ""}`,
        { hint: "name another folder with `--to`, or add `--force` to write between them" },
      );
    }
    const earlier = manifest ?? pending;
    if (earlier !== undefined && !sameExport(earlier, made)) {
      const of = earlier.splits === undefined ? "" : ` (${earlier.splits.join(", ")})`;
      const what =
        manifest === undefined
          ? `a part of the export of \`${earlier.dataset}\``
          : `the export of \`${manifest.dataset}@${manifest.version}\``;
      throw new MillraceError("already-exists", `\`${place}\` holds ${what}${of} as ${earlier.format}`, {
        hint: "name another folder with `--to`, or add `--force` to replace it",
      });
    }
  }
  return [...new Set(known)].filter((name) => names.includes(name));
}
