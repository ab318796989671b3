/** Statistics of one leaf column in one data file. `min` and `max` are in the engine's notation; undefined where unknown. */
export interface LeafStatistics {
  /** Values including nulls (elements of lists counted). */
  values: number;
  nulls: number;
  /** Compressed bytes in the file. */
  bytes: number;
  min?: string;
  max?: string;
  /** Floating point only. */
  nan?: boolean;
}

/** A Parquet file that is written and durable, but that no version names yet. */
export interface StagedFile {
  /** Path in the store. */
  path: string;
  rows: number;
  bytes: number;
  /** Lower-case hexadecimal SHA-256 of the file, when it was computed. */
  sha256?: string;
  /** By Iceberg field id. */
  statistics: Record<number, LeafStatistics>;
}
