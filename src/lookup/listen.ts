import { once } from "node:events";
import { chmod, lstat, rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { isIP, type AddressInfo, type Server } from "node:net";
import { MillraceError } from "../core/index.ts";

export interface ListenOptions {
  /** Default: a free one. */
  port?: number;
  /** Default `127.0.0.1`: nothing but this machine. */
  host?: string;
  /** A Unix socket instead of a port; only its owner may connect. */
  socket?: string;
}

/** Starts to listen and gives the address: `http://127.0.0.1:4200`, or `unix:/run/lookup.sock`. Throws `usage`. */
export async function listen(
  server: Server,
  { socket, host = "127.0.0.1", port = 0 }: ListenOptions,
  { scheme, flag }: { scheme: string; flag: string } = { scheme: "http", flag: "port" },
): Promise<string> {
  // One that a killed server left behind; a file of another kind is not ours to remove.
  if (socket !== undefined && (await lstat(socket).catch(() => undefined))?.isSocket()) await rm(socket);
  server.listen(socket === undefined ? { port, host } : { path: socket });
  try {
    await once(server, "listening");
  } catch (cause) {
    const at = socket ?? `${host}:${port}`;
    throw new MillraceError("usage", `the lookup cannot listen at \`${at}\``, {
      cause,
      hint:
        socket === undefined ? `choose another --${flag}, or leave it out for a free one` : "choose another --socket",
    });
  }
  if (socket !== undefined) {
    await chmod(socket, 0o600);
    return `unix:${socket}`;
  }
  const address = server.address() as AddressInfo;
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${address.port}`;
}

const ownNames = new Set(["127.0.0.1", "localhost", "[::1]"]);

/**
 * A page of the web in a browser of this machine must not read what is served here. It cannot leave out its `Origin`; and one that has made its
 * own name mean this machine cannot write another `Host`.
 */
export function assertProgram(request: IncomingMessage): void {
  const host = (request.headers.host ?? "").replace(/:\d+$/, "");
  const isOwn = ownNames.has(host) || isIP(host) !== 0 || request.socket.localAddress === undefined;
  if (request.headers.origin === undefined && isOwn) return;
  throw new MillraceError("permission", "lookups are not for web pages", {
    hint: "ask from a program, at the address that `millrace lookup --serve` prints",
  });
}
