import { posix } from "node:path";
import { openPromise, type Entry, type ZipFile } from "yauzl";
import { MillraceError } from "../core/index.ts";
import { createEntryGuard } from "../sandbox/zip.ts";
import { xmlReader, type Handler } from "./xml.ts";

/** An Open Packaging archive: ECMA-376 part 2. Reads XML parts as events, without document types and within limits. */
export interface Package {
  has(part: string): boolean;
  /** Feeds a part to a handler; `pause` after each chunk lets the caller take what was gathered. */
  parse(part: string, handler: Handler): AsyncGenerator<void, void, undefined>;
  relations(part: string): Promise<Relation[]>;
  close(): void;
}

export interface Relation {
  id: string;
  /** The last segment of its type: `worksheet`, `sharedStrings`, `styles`. */
  type: string;
  /** Path within the archive. */
  target: string;
}

const maximumEntries = 10_000;
const maximumPartBytes = 8 * 1024 ** 3;
/** Sheets of equal cells compress well, so only large parts are held to the ratio. */
const freeBytes = 16 * 1024 ** 2;
const maximumRatio = 400;

export async function openPackage(path: string): Promise<Package> {
  const archive: ZipFile = await openPromise(path, { autoClose: false });
  const entries = new Map<string, Entry>();
  if (archive.entryCount > maximumEntries)
    throw new MillraceError("limit", `it has ${archive.entryCount} entries, more than ${maximumEntries}`);
  const guard = createEntryGuard(maximumEntries);
  for await (const entry of archive.eachEntry()) {
    guard(entry);
    entries.set(entry.fileName.replaceAll("\\", "/").toLowerCase(), entry);
  }

  async function* parse(part: string, handler: Handler): AsyncGenerator<void, void, undefined> {
    const entry = entries.get(part.toLowerCase());
    if (entry === undefined) throw new MillraceError("parse", `it has no part \`${part}\``);
    if ((entry.generalPurposeBitFlag & 1) === 1)
      throw new MillraceError("unsupported", "it is encrypted", { hint: "save it without a password" });
    const feed = xmlReader(`the part \`${part}\``, handler);
    const allowed = Math.min(maximumPartBytes, Math.max(freeBytes, entry.compressedSize * maximumRatio));
    let total = 0;
    for await (const chunk of (await archive.openReadStreamPromise(entry)) as AsyncIterable<Buffer>) {
      total += chunk.length;
      if (total > allowed)
        throw new MillraceError(
          "limit",
          `the part \`${part}\` unpacks to more than ${allowed} bytes, like a decompression bomb`,
        );
      feed.write(chunk);
      yield;
    }
    feed.close();
    yield;
  }

  return {
    has: (part) => entries.has(part.toLowerCase()),
    parse,
    async relations(part) {
      const folder = posix.dirname(part);
      const file = posix.join(folder, "_rels", `${posix.basename(part)}.rels`);
      if (!entries.has(file.toLowerCase())) return [];
      const relations: Relation[] = [];
      const handler: Handler = {
        open(name, attributes) {
          if (name !== "Relationship" || attributes.TargetMode === "External") return;
          const target = attributes.Target ?? "";
          relations.push({
            id: attributes.Id ?? "",
            type: (attributes.Type ?? "").split("/").at(-1)!,
            target: target.startsWith("/") ? target.slice(1) : posix.join(folder === "." ? "" : folder, target),
          });
        },
      };
      await drain(parse(file, handler));
      return relations;
    },
    close: () => archive.close(),
  };
}

/** Reads to the end. */
export async function drain(steps: AsyncGenerator<void, void, undefined>): Promise<void> {
  while (!(await steps.next()).done);
}
