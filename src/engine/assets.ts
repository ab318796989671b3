import { assetColumns, MillraceError, type Column, type ColumnBatch, type Asset } from "../core/index.ts";
import type { Landed, LandRequest } from "./engine.ts";

const assetsPerBatch = 64;

async function* batchesOf(assets: AsyncIterable<Asset>): AsyncIterable<ColumnBatch> {
  let held: Asset[] = [];
  for await (const asset of assets) {
    held.push(asset);
    if (held.length < assetsPerBatch) continue;
    yield batchOf(held);
    held = [];
  }
  if (held.length > 0) yield batchOf(held);
}

function batchOf(assets: readonly Asset[]): ColumnBatch {
  return {
    rows: assets.length,
    columns: [
      { values: assets.map((asset) => asset.uri) },
      { values: assets.map((asset) => asset.mediaType) },
      { values: assets.map((asset) => BigInt(asset.size)) },
      { values: assets.map((asset) => asset.sha256) },
      { values: assets.map((asset) => new Date(asset.modified).toISOString()) },
      { values: assets.map((asset) => asset.bytes ?? null) },
      { values: assets.map(() => null) },
    ],
  };
}

export async function landAssets(
  request: LandRequest,
  landColumns: (columns: Column[], batches: AsyncIterable<ColumnBatch>) => Promise<Landed>,
): Promise<Landed> {
  if (request.payload.form !== "assets") throw new MillraceError("internal", "landAssets takes assets");
  return landColumns([...assetColumns], batchesOf(request.payload.assets));
}
