/** What begins with these bytes is something else than a table, whatever its name says. Latin-1, at the offset given. */
const magics: [number, string, string][] = [
  [0, "%PDF-", "a PDF document"],
  [0, "\x89PNG", "an image"],
  [0, "\xff\xd8\xff", "an image"],
  [0, "GIF8", "an image"],
  [0, "II*\0", "an image"],
  [0, "MM\0*", "an image"],
  [0, "RIFF", "audio, video or an image"],
  [0, "OggS", "audio or video"],
  [0, "fLaC", "audio"],
  [0, "ID3", "audio"],
  [0, "FORM", "audio"],
  [4, "ftyp", "audio, video or an image"],
  [0, "\x1aE\xdf\xa3", "video"],
  [128, "DICM", "a DICOM image"],
  [257, "ustar", "a tar archive"],
  [0, "7z\xbc\xaf\x27\x1c", "a 7-Zip archive"],
  [0, "Rar!\x1a", "a RAR archive"],
  [0, "\xfd7zXZ\0", "a file compressed with xz"],
  [0, "\x04\x22\x4d\x18", "a file compressed with LZ4"],
  [0, "LZIP", "a file compressed with lzip"],
  [0, "\x1f\x9d", "a file compressed with compress"],
  [0, "\x7fELF", "a program"],
  [0, "MZ\x90\0", "a program"],
  [0, "\xca\xfe\xba\xbe", "a program"],
  [0, "SQLite format 3\0", "an SQLite database"],
  [0, "\x89HDF\r\n\x1a\n", "an HDF5 file"],
  [0, "CDF\x01", "a NetCDF file"],
  [0, "CDF\x02", "a NetCDF file"],
  [0, "\x93NUMPY", "a NumPy array"],
  [0, "DUCK", "a DuckDB database"],
];

/** Text that is no table, by the end of its name. */
const names: Record<string, string> = {
  xml: "an XML document",
  xsd: "an XML document",
  osm: "an XML document",
  svg: "an image",
  html: "an HTML page",
  htm: "an HTML page",
  yaml: "a YAML document",
  yml: "a YAML document",
  toml: "a TOML document",
  md: "a text document",
  pdf: "a PDF document",
  rtf: "a text document",
  png: "an image",
  jpg: "an image",
  jpeg: "an image",
  gif: "an image",
  bmp: "an image",
  webp: "an image",
  tif: "an image",
  tiff: "an image",
  fli: "an animation",
  flc: "an animation",
  dcm: "a DICOM image",
  wav: "audio",
  mp3: "audio",
  flac: "audio",
  ogg: "audio",
  mp4: "video",
  mov: "video",
  mkv: "video",
  avi: "video",
  tar: "a tar archive",
  tgz: "a tar archive",
  rar: "a RAR archive",
  "7z": "a 7-Zip archive",
  xz: "a file compressed with xz",
  lz4: "a file compressed with LZ4",
  zlib: "a zlib stream",
};

/**
 * What a file is when it is known to be no table: an image, a document, a program. Undefined when it may be one. Without this every
 * file that is nothing else would be read as CSV, and some would give rows.
 */
export function foreignKind(name: string, head: Buffer): string | undefined {
  for (const [offset, magic, kind] of magics)
    if (head.toString("latin1", offset, offset + magic.length) === magic) return kind;
  const extension = /\.([^./\\]+)$/.exec(name)?.[1]?.toLowerCase();
  if (extension !== undefined && Object.hasOwn(names, extension)) return names[extension];
  const start = head.toString("latin1", 0, 256).trimStart().toLowerCase();
  if (/^(\xef\xbb\xbf)?<(\?xml|!doctype|html|svg)/.test(start)) return "an XML or HTML document";
  return undefined;
}

/** NUL and other bytes that no text has, in a file without the mark of UTF-16. */
export function isBinary(head: Buffer): boolean {
  return head.subarray(0, 8192).some((byte) => byte < 9 || (byte > 13 && byte < 32 && byte !== 27));
}
