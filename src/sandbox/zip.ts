import type { Entry } from "yauzl";
import { MillraceError } from "../core/errors.ts";

const symbolicLink = 0o120000;
const regularFile = 0o100000;
/** The part of a local header before the name: APPNOTE.TXT 6.3.10, section 4.3.7. */
const localHeaderBytes = 30;
const maximumNameBytes = 1024;

/**
 * Looks at the entries of a zip archive one by one, in the order of the directory, and refuses what honest archives do not have:
 * links and devices, names that lead elsewhere or cannot be shown, names that differ only in case or normal form, and entries that
 * lie over each other, with which few bytes become many. Throws `parse` and `limit`.
 */
export function createEntryGuard(maximumEntries: number): (entry: Entry) => void {
  const names = new Set<string>();
  const places: [number, number][] = [];
  return (entry) => {
    const { fileName } = entry;
    const shown = JSON.stringify(fileName.slice(0, 200));
    const refuse = (what: string): never => {
      throw new MillraceError("parse", `the entry ${shown} ${what}`, { hint: "make the archive again without it" });
    };
    if (names.size >= maximumEntries) throw new MillraceError("limit", `it has more than ${maximumEntries} entries`);
    if (fileName === "") refuse("has no name");
    if (Buffer.byteLength(fileName) > maximumNameBytes) refuse(`has a name of more than ${maximumNameBytes} bytes`);
    // The library makes slashes of them: what a name said on Windows is what counts.
    if (/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(fileName)) refuse("has control characters in its name");
    if (/^([\\/]|[a-z]:)/i.test(fileName) || fileName.split(/[\\/]/).some((segment) => segment === ".."))
      refuse("leads out of the archive");
    const type = (entry.externalFileAttributes >>> 16) & 0o170000;
    const isFolder = fileName.endsWith("/");
    if (type === symbolicLink || (!isFolder && type !== 0 && type !== regularFile))
      refuse("is a link or a device, not a file");
    const name = fileName.normalize("NFC").toLowerCase().replace(/\/$/, "");
    if (names.has(name)) refuse("has the name of another, or one that differs only in case or normal form");
    names.add(name);
    const start = entry.relativeOffsetOfLocalHeader;
    const end = start + localHeaderBytes + entry.fileNameLength + entry.compressedSize;
    // By halves: archives list their entries in the order in which they lie, but need not.
    let low = 0;
    for (let high = places.length; low < high;) {
      const middle = (low + high) >>> 1;
      if (places[middle]![0] < start) low = middle + 1;
      else high = middle;
    }
    if ((low > 0 && places[low - 1]![1] > start) || (low < places.length && places[low]![0] < end))
      refuse("lies over another one, like a decompression bomb");
    places.splice(low, 0, [start, end]);
  };
}
