import { connect as connectSocket, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import type pg from "pg";
import type { Settings } from "./settings.ts";

const cancelDeadlineMs = 800;
const cancelAgainMs = 100;
/** How long a request that the server was too slow for may still take; nobody waits for it. */
const requestLifeMs = 10_000;

/**
 * Ends what the server does for a connection, and the connection. A request that arrives before the statement has begun is
 * lost, and a backend that computes does not see that its client has gone: so it is asked until it has answered.
 */
export async function cancelStatement(settings: Settings, client: pg.Client, tls: boolean): Promise<void> {
  const deadline = performance.now() + cancelDeadlineMs;
  const end = new Promise<"ended">((resolve) => {
    client.connection.once("readyForQuery", () => resolve("ended"));
    client.once("end", () => resolve("ended"));
  });
  const left = (): number => Math.max(0, deadline - performance.now());
  let state: "ended" | "running" = "running";
  while (state === "running" && left() > 0) {
    await Promise.race([requestCancel(settings, client, tls, left()), end]);
    state = await Promise.race([end, sleep(Math.min(cancelAgainMs, left()), "running" as const)]);
  }
  client.connection.stream.destroy();
}

/**
 * A connection of its own that says which backend is to stop; the server closes it without an answer.
 *
 *     SSLRequest       length 8, 80877103; one byte `S` or `N` comes back
 *     CancelRequest    length 16, 80877102, process, secret key
 *
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
 */
async function requestCancel(settings: Settings, client: pg.Client, tls: boolean, deadlineMs: number): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number | null; secretKey: number | null };
  if (processID === null || secretKey === null) return;
  const message = Buffer.alloc(16);
  message.writeInt32BE(16, 0);
  message.writeInt32BE(80877102, 4);
  message.writeInt32BE(processID, 8);
  message.writeInt32BE(secretKey, 12);
  const { host, port } = settings;
  const socket = host.startsWith("/") ? connectSocket(`${host}/.s.PGSQL.${port}`) : connectSocket(port, host);
  await new Promise<void>((resolve) => {
    const finish = (): void => {
      clearTimeout(deadline);
      clearTimeout(life);
      socket.destroy();
      resolve();
    };
    const deadline = setTimeout(() => {
      socket.unref();
      resolve();
    }, deadlineMs);
    const life = setTimeout(finish, requestLifeMs).unref();
    const send = (over: Socket): void => {
      over.on("error", () => undefined);
      over.resume();
      over.end(message);
    };
    socket.on("error", () => undefined);
    socket.once("close", finish);
    socket.once("connect", () => {
      if (!tls) return send(socket);
      const request = Buffer.alloc(8);
      request.writeInt32BE(8, 0);
      request.writeInt32BE(80877103, 4);
      socket.write(request);
      socket.once("data", (answer) => {
        if (answer[0] !== 0x53) return send(socket);
        const secure = connectTls({ socket, ...tlsOptions(settings), host });
        secure.on("error", finish);
        secure.once("close", finish);
        secure.once("secureConnect", () => send(secure));
      });
    });
  });
}

/** How a connection is encrypted, by the mode that is set. */
export function tlsOptions(settings: Settings): ConnectionOptions {
  const { ssl, ca, certificate, key } = settings;
  return {
    rejectUnauthorized: ssl === "verify-ca" || ssl === "verify-full",
    ...(ssl === "verify-ca" ? { checkServerIdentity: () => undefined } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(certificate === undefined ? {} : { cert: certificate }),
    ...(key === undefined ? {} : { key }),
  };
}
