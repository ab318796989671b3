import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { ArmedFault } from "../contracts/store.ts";

/** A relay in front of a server of TCP that can end connections at a place that is counted. */
export interface CuttingProxy extends AsyncDisposable {
  port: number;
  /**
   * Ends the connection that brings the request after so many more: every other time the request has gone through, and its
   * answer is lost.
   */
  cut(requests: number): Promise<ArmedFault>;
}

export async function startCuttingProxy(port: number, host = "127.0.0.1"): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let armed: { left: number; deliver: boolean; fired: number } | undefined;
  let cuts = 0;
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
    let silent = false;
    client.on("data", (bytes) => {
      if (silent) return;
      if (armed === undefined || armed.left-- > 0) {
        if (!upstream.write(bytes)) {
          client.pause();
          upstream.once("drain", () => client.resume());
        }
        return;
      }
      armed.fired++;
      const { deliver } = armed;
      armed = undefined;
      silent = true;
      if (!deliver) return void client.resetAndDestroy();
      // The server does what it was told, and nobody hears of it.
      upstream.once("data", () => client.resetAndDestroy());
      upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      if (silent || client.write(bytes)) return;
      upstream.pause();
      client.once("drain", () => upstream.resume());
    });
    client.on("end", () => upstream.end());
    upstream.on("end", () => client.end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async cut(requests) {
      const fault = { left: requests, deliver: cuts++ % 2 === 1, fired: 0 };
      armed = fault;
      return {
        fired: () => fault.fired,
        disarm: async () => {
          if (armed === fault) armed = undefined;
        },
      };
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
