const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Bytes as text: by the mark at their beginning, else UTF-8 if they are, else as the web takes unlabelled bytes. */
export function decodeText(bytes: Uint8Array, declared?: string): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  try {
    return utf8.decode(bytes);
  } catch {
    // Fall through: it is some other encoding.
  }
  if (declared !== undefined) {
    try {
      return new TextDecoder(declared).decode(bytes);
    } catch {
      // A label that nobody knows.
    }
  }
  return new TextDecoder("windows-1252").decode(bytes);
}

/** Lines without trailing blanks, no more than one empty line in a row, none of the characters that no text has. */
export function tidy(text: string): string {
  return (
    text
      .normalize("NFC")
      .replaceAll(/\r\n?/g, "\n")
      // oxlint-disable-next-line no-control-regex
      .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u00ad\ufeff]/g, "")
      .replaceAll(/[^\S\n]+\n/g, "\n")
      .replaceAll(/\n{3,}/g, "\n\n")
      .trim()
  );
}
