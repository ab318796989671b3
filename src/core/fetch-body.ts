import type { IncomingMessage } from "node:http";
import type { Transform } from "node:stream";
import { messageOf, MillraceError, systemCode } from "./errors.ts";

export interface BodyLimits {
  /** As transferred, and after decompression. */
  maximumBytes: number;
  /** Milliseconds that the peer may be silent while its bytes are waited for. */
  idleMs: number;
}

/** Below this much output a high ratio is normal. */
const freeBytes = 1024 * 1024;
const maximumRatio = 200;
/** A body is compressed once; twice is what a bomb needs. */
const maximumCodings = 1;

/** How the end of a body is known: by its length, by its last chunk, or only because the connection ended. */
export type Framing = "length" | "chunked" | "close";

export function framingOf(message: IncomingMessage, hasBody: boolean): Framing {
  if (!hasBody) return "length";
  if (message.headers["transfer-encoding"] !== undefined) return "chunked";
  return message.headers["content-length"] === undefined ? "close" : "length";
}

/**
 * The bytes of an answer: each read within `idleMs`, all within `maximumBytes`, and whole. Throws `limit`, `timeout`, and
 * `unreachable` (temporary) when the body ends before it is complete.
 */
async function* transferred(
  message: IncomingMessage,
  limits: BodyLimits,
  what: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const declared =
    message.headers["content-length"] === undefined ? undefined : Number(message.headers["content-length"]);
  if (declared !== undefined && declared > limits.maximumBytes) throw tooLarge(what, limits.maximumBytes);
  const chunks = message[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let total = 0;
  try {
    for (;;) {
      let timer: NodeJS.Timeout | undefined;
      const silence = new Promise<never>((_, reject) => {
        timer = setTimeout(
          () =>
            reject(
              new MillraceError("timeout", `${what} sent nothing for ${limits.idleMs / 1000} s`, { temporary: true }),
            ),
          limits.idleMs,
        );
      });
      let next: IteratorResult<Buffer, unknown>;
      try {
        next = await Promise.race([chunks.next(), silence]);
      } finally {
        clearTimeout(timer);
      }
      if (next.done) break;
      total += next.value.length;
      if (total > limits.maximumBytes) throw tooLarge(what, limits.maximumBytes);
      yield next.value;
    }
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw cut(what, total, declared, error);
  } finally {
    message.destroy();
  }
  if (!message.complete || (declared !== undefined && total !== declared)) throw cut(what, total, declared, undefined);
}

function tooLarge(what: string, maximum: number): MillraceError {
  return new MillraceError("limit", `${what} gives more than ${maximum} bytes`);
}

function cut(what: string, total: number, declared: number | undefined, cause: unknown): MillraceError {
  const of = declared === undefined ? "" : ` of ${declared}`;
  const why = cause === undefined ? "" : ` (${systemCode(cause) ?? messageOf(cause)})`;
  return new MillraceError("unreachable", `the answer of ${what} ended after ${total}${of} bytes${why}`, {
    temporary: true,
    cause,
    hint: "run again: the connection was lost before all was there",
  });
}

function decoderOf(coding: string): Transform | undefined {
  const zlib = process.getBuiltinModule("node:zlib");
  switch (coding) {
    case "gzip":
    case "x-gzip":
      return zlib.createGunzip();
    case "deflate":
      return zlib.createInflate();
    case "br":
      return zlib.createBrotliDecompress();
    case "zstd":
      // RFC 8878, section 3.1.1.1.2: decoders need not take windows above 8 MB.
      return zlib.createZstdDecompress({ params: { [zlib.constants.ZSTD_d_windowLogMax]: 23 } });
    default:
      return undefined;
  }
}

/** The content of an answer: decompressed as its headers say, within limits, and whole. Errors as `transferred`, and `parse`. */
export async function* bodyOf(
  message: IncomingMessage,
  limits: BodyLimits,
  what: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const codings = (message.headers["content-encoding"] ?? "")
    .split(",")
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== "" && coding !== "identity");
  if (codings.length === 0) {
    yield* transferred(message, limits, what);
    return;
  }
  const decoder = codings.length > maximumCodings ? undefined : decoderOf(codings[0]!);
  if (decoder === undefined) {
    message.destroy();
    throw new MillraceError("unsupported", `${what} answers with the encoding \`${codings.join(", ")}\``, {
      hint: "gzip, deflate, br and zstd are understood, one at a time",
    });
  }
  let packed = 0;
  const counted = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of transferred(message, limits, what)) {
      packed += chunk.length;
      yield chunk;
    }
  };
  let failure: { error: unknown } | undefined;
  const feeding = process
    .getBuiltinModule("node:stream/promises")
    .pipeline(counted, decoder)
    .catch((error: unknown) => {
      failure = { error };
    });
  let total = 0;
  try {
    for await (const chunk of decoder as AsyncIterable<Buffer>) {
      total += chunk.length;
      if (total > limits.maximumBytes) throw tooLarge(what, limits.maximumBytes);
      if (total > freeBytes && total > packed * maximumRatio) {
        throw new MillraceError(
          "limit",
          `the answer of ${what} unpacks to more than ${maximumRatio} times its size, like a decompression bomb`,
        );
      }
      yield chunk;
    }
  } catch (error) {
    if (error instanceof MillraceError) throw error;
    throw new MillraceError("parse", `the answer of ${what} is damaged: ${messageOf(error)}`, {
      cause: error,
      temporary: true,
    });
  } finally {
    message.destroy();
    decoder.destroy();
    await feeding;
  }
  if (failure !== undefined) throw failure.error;
}
