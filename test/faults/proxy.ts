import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** What happens to the bytes that a server sends, counted over one connection or over all of them. */
export interface Trouble {
  /** Milliseconds by which each chunk is late, in both directions. */
  latencyMs?: number;
  /** After so many bytes from the server the connection ends; the bytes before arrive. */
  cutAfter?: number;
  /** Not in the middle of something: before the next place where these bytes stand. */
  before?: Uint8Array;
  /** Only one connection is concerned; then the network works again. */
  once?: boolean;
  /** What comes when a connection was ended; bytes are counted anew. */
  next?: () => Trouble | undefined;
  /** How it ends: an orderly end, or a reset. Default `end`. */
  by?: "end" | "reset";
  /** After so many bytes from the server nothing more comes, and the connection stays open. */
  silentAfter?: number;
  /** After so many bytes from the client the request goes through, and the answer is dropped with a reset. */
  dropAnswerAfter?: number;
  /** Called once, when the server has sent so many bytes. */
  at?: { bytes: number; call: () => void };
  /** Called once, before the client's request number `number` that has this text is passed on; 1 is the first. */
  atRequest?: { text: string; number: number; call: () => void };
  /** The connection ends with the first request that has this text: before it is passed on, or instead of its answer. Once. */
  loseRequest?: { text: string; instead: "request" | "answer" };
}

/** A relay in front of a TCP server. */
export interface Proxy extends AsyncDisposable {
  port: number;
  /** From now on; counters begin anew. Undefined: no trouble. Connections that are open are concerned too. */
  set(trouble: Trouble | undefined): void;
  /** Bytes that have passed from the server since `set`. */
  passed(): number;
  /** Bytes that have come from the client since `set`. */
  sent(): number;
  /** How often the trouble has struck since `set`. */
  fired(): number;
}

export async function startProxy(port: number, host = "127.0.0.1"): Promise<Proxy> {
  let trouble: Trouble = {};
  let [passed, sent, fired, called, asked] = [0, 0, 0, false, 0];
  const sockets = new Set<Socket>();

  const server = createServer((client) => {
    const upstream = connect(port, host);
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    let gone = false;
    /** The rest of a request that is on its way still reaches the server, which would not answer else. */
    let unheard = false;
    const strike = (): void => {
      fired++;
      gone = true;
    };
    const pass = (from: Socket, to: Socket, bytes: Buffer): void => {
      const write = (): void => {
        if (to.destroyed || to.write(bytes)) return;
        from.pause();
        to.once("drain", () => from.resume());
      };
      // Timers of equal length fire in their order, so that the bytes keep theirs.
      if (trouble.latencyMs === undefined) write();
      else setTimeout(write, trouble.latencyMs);
    };
    client.on("data", (bytes) => {
      if (unheard) pass(client, upstream, bytes);
      if (gone) return;
      sent += bytes.length;
      const { atRequest } = trouble;
      if (atRequest !== undefined && bytes.includes(atRequest.text) && ++asked === atRequest.number) {
        fired++;
        atRequest.call();
      }
      const { loseRequest } = trouble;
      if (loseRequest !== undefined && bytes.includes(loseRequest.text)) {
        trouble = {};
        strike();
        if (loseRequest.instead === "request") {
          client.resetAndDestroy();
          return;
        }
        upstream.once("data", () => client.resetAndDestroy());
        upstream.write(bytes);
        return;
      }
      pass(client, upstream, bytes);
      if (trouble.dropAnswerAfter !== undefined && sent > trouble.dropAnswerAfter) {
        strike();
        unheard = true;
        // The server gets the request and answers; nobody hears it.
        upstream.once("data", () => {
          client.resetAndDestroy();
          upstream.end();
        });
      }
    });
    /** The number of bytes, of all that the server has sent, after which the chunk that comes now is cut off. */
    const cutIn = (chunk: Buffer): number => {
      const { cutAfter, before } = trouble;
      if (cutAfter === undefined || before === undefined) return cutAfter ?? Number.POSITIVE_INFINITY;
      const place = chunk.indexOf(before, Math.max(0, cutAfter - passed));
      return place < 0 ? Number.POSITIVE_INFINITY : passed + place;
    };
    upstream.on("data", (bytes) => {
      if (gone) return;
      const { silentAfter, by, once, next } = trouble;
      const limit = Math.min(cutIn(bytes), silentAfter ?? Number.POSITIVE_INFINITY);
      const part = bytes.subarray(0, Math.max(0, limit - passed));
      passed += part.length;
      if (part.length > 0) pass(upstream, client, part);
      if (trouble.at !== undefined && !called && passed >= trouble.at.bytes) {
        called = true;
        fired++;
        trouble.at.call();
      }
      if (part.length === bytes.length) return;
      strike();
      if (once) trouble = {};
      if (next !== undefined) [trouble, passed, called] = [next() ?? {}, 0, false];
      if (silentAfter !== undefined && limit === silentAfter) return;
      if (by === "reset") client.resetAndDestroy();
      else client.end();
      upstream.destroy();
    });
    client.on("end", () => upstream.end());
    upstream.on("end", () => {
      if (!gone) client.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    set(next) {
      trouble = next ?? {};
      [passed, sent, fired, called, asked] = [0, 0, 0, false, 0];
    },
    passed: () => passed,
    sent: () => sent,
    fired: () => fired,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
