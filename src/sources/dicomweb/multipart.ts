import { MillraceError } from "../../core/index.ts";

/*
 * RFC 2046, section 5.1.1:
 *
 *   body      = [preamble CRLF] "--" boundary *LWSP CRLF part *(CRLF "--" boundary *LWSP CRLF part) CRLF "--" boundary "--" …
 *   part      = *(header CRLF) CRLF *OCTET
 */

/** Beyond these an answer is no multipart body that anybody means. The standard ends boundaries at 70; Orthanc's are longer. */
const maximum = { boundary: 256, preamble: 64 * 1024, headers: 16 * 1024, padding: 256 };

export interface BodyPart {
  /** By their names in lower case. */
  headers: ReadonlyMap<string, string>;
  /** Its bytes, once. What is left of them when the next part is asked for is passed over. */
  body(): AsyncGenerator<Uint8Array, void, undefined>;
}

/** The boundary of a `multipart/related` media type, or undefined for another type. Throws `parse` where there should be one. */
export function boundaryOf(contentType: string): string | undefined {
  if (!/^\s*multipart\/related\s*(;|$)/i.test(contentType)) return undefined;
  const [, quoted, plain] = /;\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/i.exec(contentType) ?? [];
  const boundary = quoted?.replaceAll(/\\(.)/g, "$1") ?? plain ?? "";
  if (boundary !== "" && boundary.length <= maximum.boundary && !/[\r\n]/.test(boundary)) return boundary;
  throw malformed(boundary === "" ? "names no boundary between its parts" : "names a boundary that is none");
}

function malformed(what: string): MillraceError {
  return new MillraceError("parse", `the multipart answer ${what}`, {
    hint: "the server, or a proxy before it, does not answer as DICOMweb does (PS3.18)",
  });
}

/** The body ended before its last boundary: what was cut on the way may come whole the next time. */
export function truncated(): MillraceError {
  return new MillraceError("corrupt", "the multipart answer ends before its last boundary", {
    temporary: true,
    hint: "run again; if it stays, look into the log of the server",
  });
}

/** The parts of a body, pulled and never held: whole, or a temporary `corrupt` for one that was cut, and `parse` for what is none. */
export async function* partsOfBody(
  chunks: AsyncIterable<Uint8Array>,
  boundary: string,
): AsyncGenerator<BodyPart, void, undefined> {
  const source = chunks[Symbol.asyncIterator]();
  const delimiter = Buffer.from(`\r\n--${boundary}`, "latin1");
  // The first delimiter may stand at the very beginning.
  let buffer: Buffer = Buffer.from("\r\n");

  const more = async (): Promise<boolean> => {
    const next = await source.next();
    if (next.done) return false;
    const { buffer: memory, byteOffset, byteLength } = next.value;
    const chunk = Buffer.from(memory, byteOffset, byteLength);
    buffer = buffer.length === 0 ? chunk : Buffer.concat([buffer, chunk]);
    return true;
  };
  /** What stands before `mark`, at most `limit` bytes of it; the mark is taken too. */
  const upTo = async (mark: string, limit: number, what: string): Promise<string> => {
    for (;;) {
      const at = buffer.indexOf(mark, 0, "latin1");
      if (at > limit || (at < 0 && buffer.length > limit + mark.length)) throw malformed(what);
      if (at >= 0) {
        const text = buffer.toString("latin1", 0, at);
        buffer = buffer.subarray(at + mark.length);
        return text;
      }
      if (!(await more())) throw truncated();
    }
  };
  /** Bytes before the next delimiter, as they come; the delimiter is taken. */
  async function* untilDelimiter(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const at = buffer.indexOf(delimiter);
      if (at >= 0) {
        const last = buffer.subarray(0, at);
        buffer = buffer.subarray(at + delimiter.length);
        if (last.length > 0) yield last;
        return;
      }
      // What may be the beginning of a delimiter stays.
      const safe = buffer.length - (delimiter.length - 1);
      if (safe > 0) {
        const known = buffer.subarray(0, safe);
        buffer = buffer.subarray(safe);
        yield known;
      }
      if (!(await more())) throw truncated();
    }
  }

  try {
    let passed = 0;
    for await (const chunk of untilDelimiter()) {
      passed += chunk.length;
      if (passed > maximum.preamble) throw malformed("does not begin with its boundary");
    }
    for (;;) {
      while (buffer.length < 2) if (!(await more())) throw truncated();
      if (buffer.toString("latin1", 0, 2) === "--") return;
      const padding = await upTo("\r\n", maximum.padding, "has something behind a boundary");
      if (padding.trim() !== "") throw malformed("has something behind a boundary");
      // A part without headers begins with its empty line.
      buffer = Buffer.concat([Buffer.from("\r\n"), buffer]);
      const head = await upTo("\r\n\r\n", maximum.headers, "has headers without an end");
      const headers = headersOf(head);
      const rest = untilDelimiter();
      let isUsed = false;
      yield {
        headers,
        async *body() {
          if (isUsed) throw new MillraceError("internal", "a part is read twice");
          isUsed = true;
          // Not `yield*`: whoever stops early leaves the rest to be passed over.
          for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
        },
      };
      for (let next = await rest.next(); !next.done; next = await rest.next());
    }
  } finally {
    await source.return?.();
  }
}

function headersOf(text: string): Map<string, string> {
  const headers = new Map<string, string>();
  // A line that begins with white space goes on from the one before.
  for (const line of text.replaceAll(/\r\n[ \t]+/g, " ").split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}
