import { TextDecoder } from "node:util";

/**
 * Character sets of DICOM: PS3.3, C.12.1.1.2, defined terms of (0008,0005), as encodings of the platform. Those that switch within a
 * text (ISO 2022) begin with their first value.
 */
const sets: Record<string, string> = {
  "": "ascii",
  "6": "ascii",
  "100": "iso-8859-1",
  "101": "iso-8859-2",
  "109": "iso-8859-3",
  "110": "iso-8859-4",
  "144": "iso-8859-5",
  "127": "iso-8859-6",
  "126": "iso-8859-7",
  "138": "iso-8859-8",
  "148": "iso-8859-9",
  "203": "iso-8859-15",
  "13": "shift_jis",
  "166": "windows-874",
  "192": "utf-8",
  "87": "iso-2022-jp",
  "159": "iso-2022-jp",
  "149": "euc-kr",
  "58": "gb18030",
  GB18030: "gb18030",
  GBK: "gbk",
};

/** Escape sequences (PS3.3, tables C.12-3 and C.12-4) and what follows each. */
const escapes: Record<string, string> = {
  "(B": "ascii",
  "-A": "iso-8859-1",
  "-B": "iso-8859-2",
  "-C": "iso-8859-3",
  "-D": "iso-8859-4",
  "-L": "iso-8859-5",
  "-G": "iso-8859-6",
  "-F": "iso-8859-7",
  "-H": "iso-8859-8",
  "-M": "iso-8859-9",
  "-b": "iso-8859-15",
  "-T": "windows-874",
  ")I": "shift_jis",
  "(J": "shift_jis",
  $B: "iso-2022-jp",
  "$(D": "jis-0212",
  "$)C": "euc-kr",
  "$)A": "gb18030",
};

const decoders = new Map<string, TextDecoder>();
function decode(bytes: Uint8Array, encoding: string): string {
  if (encoding === "ascii") return decodeAscii(bytes);
  if (encoding === "jis-0212") {
    // The same characters in the third set of EUC-JP.
    const shifted: number[] = [];
    for (let at = 0; at + 1 < bytes.length; at += 2) shifted.push(0x8f, bytes[at]! | 0x80, bytes[at + 1]! | 0x80);
    return decode(Uint8Array.from(shifted), "euc-jp");
  }
  let decoder = decoders.get(encoding);
  if (decoder === undefined) decoders.set(encoding, (decoder = new TextDecoder(encoding)));
  return decoder.decode(bytes);
}

/** Text that says nothing of its set, or lies: UTF-8 when it is, else Latin-1. */
function decodeAscii(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return Buffer.from(bytes).toString("latin1");
  }
}

/** Decodes text by the values of (0008,0005). */
export function decodeText(bytes: Buffer, charsets: readonly string[]): string {
  const [first = ""] = charsets;
  const name = first.replace(/^ISO[ _]?(2022 )?IR[ _]/, "").trim();
  const encoding = Object.hasOwn(sets, name) ? sets[name]! : "ascii";
  if (!bytes.includes(0x1b)) return decode(bytes, encoding === "iso-2022-jp" ? "ascii" : encoding);
  let text = "";
  let current = encoding === "iso-2022-jp" ? "ascii" : encoding;
  let begun = 0;
  const end = (at: number): void => {
    const piece = bytes.subarray(begun, at);
    if (piece.length === 0) return;
    text += decode(
      current === "iso-2022-jp" ? Buffer.concat([Buffer.from("\x1b$B", "latin1"), piece]) : piece,
      current,
    );
  };
  for (let at = bytes.indexOf(0x1b); at >= 0; at = bytes.indexOf(0x1b, at + 1)) {
    const sequence = [3, 2]
      .map((length) => bytes.toString("latin1", at + 1, at + 1 + length))
      .find((key) => Object.hasOwn(escapes, key));
    if (sequence === undefined) continue;
    end(at);
    begun = at + 1 + sequence.length;
    current = escapes[sequence]!;
  }
  end(bytes.length);
  return text;
}
