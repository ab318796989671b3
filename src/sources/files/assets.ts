import { type Converter, type KeepAsset, type Payload } from "../../core/index.ts";
import { assetRows, type ComingAsset } from "../assets/read.ts";
import type { Reading } from "./members.ts";
import { unchanged, type PartFile, type PartSpec } from "./parts.ts";
import { fileRef } from "./shapes.ts";

/** The rows of the assets of a part. */
export function readAssets(
  converter: Converter,
  spec: PartSpec,
  reading: Reading,
  { signal, keep }: { signal?: AbortSignal; keep?: KeepAsset },
): Payload {
  const { options, place } = reading;
  const coming = (file: PartFile): ComingAsset => ({
    name: file.name,
    uri: place.id === "" ? file.name : `${place.id}/${file.name}`,
    size: file.size,
    modified: file.modified,
    async hold() {
      const wrapping = await unchanged(file, false, place);
      return fileRef({ ...file, wrapping, format: spec.format }, reading, signal);
    },
  });
  return assetRows(spec.files.map(coming), {
    converter,
    columns: spec.columns,
    formatOptions: spec.options,
    assets: options.assets,
    limits: options,
    signal,
    keep,
  });
}
