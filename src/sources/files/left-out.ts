import { MillraceError, type Column, type Part } from "../../core/index.ts";
import type { Position } from "./identity.ts";
import type { PartSpec } from "./parts.ts";
import type { Found } from "./places.ts";

/** Files of one part that only tells of them. */
const maximumTold = 1_000;

/**
 * The files that can be read, and those that are to be told of: what nobody can read and was not told of before. Marks the latter in
 * the position.
 */
export function tellApart(found: readonly Found[], position: Position): { files: Found[]; told: Found[] } {
  const files = found.filter(({ unreadable }) => unreadable === undefined);
  const told: Found[] = [];
  for (const file of found) {
    if (file.unreadable === undefined) continue;
    const { name, size, modified, revision } = file;
    const seen = position.get(name);
    // What was read of it stays.
    if (file.isAway === true && seen !== undefined && seen.etag !== "") continue;
    if (seen?.size === size && seen.modified === modified && seen.revision === revision) continue;
    position.set(name, { size, modified, etag: "", ...(revision === undefined ? {} : { revision }) });
    told.push(file);
  }
  return { files, told };
}

/** Parts that tell of files instead of reading them. */
export function tellingParts(told: readonly Found[], columns: Column[]): Omit<Part, "id">[] {
  const parts: Omit<Part, "id">[] = [];
  for (let start = 0; start < told.length; start += maximumTold) {
    const some = told.slice(start, start + maximumTold);
    const spec: PartSpec = {
      format: "",
      options: {},
      columns,
      files: [],
      told: some.map((file) => [file.name, unreadableError(file).message]),
    };
    parts.push({ spec: spec as unknown as Part["spec"], bytes: 0 });
  }
  return parts;
}

export function unreadableError({ name, unreadable }: Found): MillraceError {
  return new MillraceError("unsupported", `\`${name}\` ${unreadable}: it is not read`, {
    where: { file: name },
    hint: "copy what it holds to another name, or leave it out of `path`",
  });
}
