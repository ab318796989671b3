import type pg from "pg";
import { MillraceError } from "../../core/index.ts";
import type { Session } from "../../protocols/postgres/session.ts";

type Socket = pg.Connection["stream"];

/** Of the connection, without types in `@types/pg`. */
interface CopyEnd {
  endCopyFrom(): void;
  sendCopyFail(reason: string): void;
}

/**
 * `COPY … FROM STDIN`: bytes go to the socket as they are, each chunk behind five bytes of the protocol, and no faster than the
 * server takes them.
 *
 *     CopyInResponse   G
 *     CopyData         d, length, bytes
 *     CopyDone         c, length
 *
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 */
class CopyIn {
  readonly begun = Promise.withResolvers<void>();
  readonly ended = Promise.withResolvers<number>();
  failed = false;
  #rows = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
    this.begun.promise.catch(() => undefined);
    this.ended.promise.catch(() => undefined);
  }

  submit(connection: pg.Connection): void {
    (connection as unknown as { query(text: string): void }).query(this.#text);
  }

  handleCopyInResponse(): void {
    this.begun.resolve();
  }

  handleCommandComplete(message: { text: string }): void {
    this.#rows = Number(/^COPY (\d+)$/.exec(message.text)?.[1] ?? Number.NaN);
  }

  handleReadyForQuery(): void {
    this.ended.resolve(this.#rows);
  }

  handleError(error: unknown): void {
    this.failed = true;
    this.begun.reject(error);
    this.ended.reject(error);
  }
}

/** Sends `chunks` to `statement` and gives the rows that the server counted. What the chunks throw is thrown, and nothing is kept. */
export async function copyIn(
  session: Session,
  statement: string,
  chunks: AsyncIterable<Uint8Array>,
  { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<number> {
  const copy = new CopyIn(statement);
  const connection = session.client.connection as pg.Connection & CopyEnd;
  const socket = connection.stream;
  const stop = (): void => void session.cancel();
  signal?.addEventListener("abort", stop, { once: true });
  const patiently = <Result>(answer: Promise<Result>): Promise<Result> => within(answer, timeoutMs, stop);
  try {
    session.client.query(copy as unknown as pg.Submittable);
    await patiently(copy.begun.promise);
    try {
      for await (const chunk of chunks) {
        if (copy.failed) break;
        if (chunk.byteLength > 0 && !send(socket, chunk)) await patiently(drained(socket, copy));
      }
    } catch (error) {
      if (!copy.failed && session.alive) {
        connection.sendCopyFail("the rows ended with an error");
        await patiently(copy.ended.promise).catch(() => undefined);
      }
      throw error;
    }
    if (!copy.failed) connection.endCopyFrom();
    return await patiently(copy.ended.promise);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

function send(socket: Socket, chunk: Uint8Array): boolean {
  const header = Buffer.allocUnsafe(5);
  header[0] = 0x64;
  header.writeInt32BE(chunk.byteLength + 4, 1);
  socket.cork();
  socket.write(header);
  const flows = socket.write(chunk);
  socket.uncork();
  return flows;
}

/** Until the socket takes more, or the statement is over with an error. */
async function drained(socket: Socket, copy: CopyIn): Promise<void> {
  let wake: () => void = () => undefined;
  const drain = new Promise<void>((resolve) => (wake = resolve));
  socket.once("drain", wake);
  socket.once("close", wake);
  try {
    await Promise.race([drain, copy.ended.promise.catch(() => undefined)]);
  } finally {
    socket.off("drain", wake);
    socket.off("close", wake);
  }
}

async function within<Result>(answer: Promise<Result>, milliseconds: number, stop: () => void): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      stop();
      reject(
        new MillraceError("timeout", `the server took nothing for ${milliseconds / 1000} s`, {
          temporary: true,
          hint: "check the server and the network, or raise `readTimeoutMs`",
        }),
      );
    }, milliseconds);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
