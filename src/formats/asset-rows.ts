import { readFileSync } from "node:fs";
import { assetColumns, type AssetFacts, type Column, type FileRef } from "../core/index.ts";
import { placesOf, RowWriter, timestampText, type ConvertOptions } from "./values.ts";

export interface AssetConvertOptions extends ConvertOptions {
  asset: AssetFacts;
}

const bytesPlace = assetColumns.findIndex(({ name }) => name === "bytes");

/** Rows of one asset: its facts, then the columns of its format, as far as they are wanted. Runs in the sandbox child. */
export class AssetRows {
  /** Rows added so far. */
  rows = 0;
  readonly #writer: RowWriter;
  readonly #places: number[];
  readonly #facts: unknown[];

  /** `own` are the columns of the format, without those of `assetColumns`. */
  constructor(file: FileRef, options: AssetConvertOptions, own: readonly Column[]) {
    const all = [...assetColumns, ...own];
    const wanted = options.columns ?? all;
    const { asset } = options;
    this.#writer = new RowWriter(wanted);
    this.#places = placesOf(
      wanted,
      all.map(({ name }) => name),
    );
    this.#facts = [
      asset.uri,
      asset.mediaType,
      asset.size,
      asset.sha256,
      timestampText(BigInt(Math.trunc(asset.modified)) * 1000n, true),
      asset.inline && wanted.some(({ name }) => name === "bytes") ? readFileSync(file.path) : null,
      asset.object ?? null,
    ];
  }

  /** One row; `values` in the order of the format's columns. */
  add(values: readonly unknown[]): void {
    const row = [...this.#facts, ...values];
    // Once is enough: an asset of a thousand rows has its bytes in the first.
    if (this.rows > 0) row[bytesPlace] = null;
    this.#writer.add(this.#places.map((place) => (place < 0 ? null : row[place])));
    this.rows++;
  }

  /** Text that is worth sending; with `all`, what is left. */
  take(all = false): Uint8Array | undefined {
    return this.#writer.take(all);
  }
}
