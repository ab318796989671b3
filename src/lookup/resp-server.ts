import { createServer, type Socket } from "node:net";
import { messageOf } from "../core/index.ts";
import { listen, type ListenOptions } from "./listen.ts";
import { readCommand, Replies } from "./resp.ts";
import { execute } from "./resp-commands.ts";
import type { Lives, RespClient, RespOptions } from "./resp-rows.ts";

export interface RespServerOptions extends RespOptions {
  /** Bytes of one command. */
  maxRequestBytes: number;
}

/** Milliseconds in which a command that has begun must be there. */
const commandTime = 30_000;
/** Bytes of replies that are sent before more commands are carried out. */
const sendBytes = 256 << 10;

export interface RespServer extends AsyncDisposable {
  /** `redis://127.0.0.1:4201`. */
  readonly url: string;
}

/**
 * Answers lookups to clients of Redis, in less time than HTTP takes: `GET flights:JFK`, MGET, HGET, HMGET, HGETALL. A client that does not take
 * its replies is not read from; one that does not speak the protocol is told so and left. Throws `usage` when it cannot listen.
 */
export async function serveResp(lives: Lives, options: RespServerOptions & ListenOptions): Promise<RespServer> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true, keepAlive: true }, (socket) => {
    sockets.add(socket.once("close", () => sockets.delete(socket)));
    attend(socket, lives, options);
  });
  server.maxConnections = 1000;
  const url = await listen(server, options, { scheme: "redis", flag: "redis-port" });
  return {
    url,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function attend(socket: Socket, lives: Lives, options: RespServerOptions): void {
  const client: RespClient = { replies: new Replies(), form: "json", leaving: false };
  const limits = { words: options.maxKeys + 2, bytes: options.maxRequestBytes };
  let pending: Buffer | undefined;
  let waiting = false;
  let isTimed = false;

  const send = (): boolean => client.replies.length === 0 || socket.write(client.replies.take());
  const wait = (until: Promise<unknown>): void => {
    waiting = true;
    socket.pause();
    void until.then(() => {
      waiting = false;
      if (socket.destroyed) return;
      socket.resume();
      proceed();
    });
  };
  const drained = (): Promise<void> =>
    new Promise((resolve) => {
      socket.once("drain", resolve);
      socket.once("close", resolve);
    });
  const proceed = (): void => {
    if (pending === undefined) return;
    const bytes = pending;
    let at = 0;
    try {
      while (at < bytes.length && !client.leaving) {
        const command = readCommand(bytes, at, limits);
        if (command === undefined) break;
        at = command.end;
        const later = execute(client, command.words, lives, options);
        const isTaken = later !== undefined || client.replies.length < sendBytes || send();
        if (later === undefined && isTaken) continue;
        pending = bytes.subarray(at);
        if (later === undefined) return wait(drained());
        return wait(later.then(() => (send() ? undefined : drained())));
      }
    } catch (error) {
      client.replies.error("ERR", messageOf(error));
      client.leaving = true;
    }
    if (client.leaving) return void socket.end(client.replies.take());
    pending = at === bytes.length ? undefined : bytes.subarray(at);
    if (isTimed !== (pending !== undefined)) {
      isTimed = !isTimed;
      socket.setTimeout(isTimed ? commandTime : 0);
    }
    if (!send()) wait(drained());
  };

  socket.on("data", (chunk: Buffer) => {
    pending = pending === undefined || pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    if (!waiting && !client.leaving) proceed();
  });
  socket.on("timeout", () => socket.destroy());
  // A client that goes away is nobody's error.
  socket.on("error", () => socket.destroy());
}
