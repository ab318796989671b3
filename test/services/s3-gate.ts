import { createServer, request as forward, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";

/** A request as the gate sees it, with all of its body there and nothing passed on yet. */
export interface GatedRequest {
  method: string;
  /** Of the object, without bucket; empty for those of the bucket. */
  key: string;
  query: string;
}

/** A relay in front of an S3 server that can hold a request up or drop it: between any two of them anything can be made to happen. */
export interface S3Gate extends AsyncDisposable {
  endpoint: string;
  /** Every request since the start, in the order in which they came. */
  seen: GatedRequest[];
  /** Asked before each request is passed on. With `drop`, it never reaches the server and its connection ends. */
  before: (request: GatedRequest) => void | "drop" | Promise<void | "drop">;
  /** Holds the first request that fits until `release`. Rejects `held` never: race it against what else may happen. */
  hold: (fits: (request: GatedRequest) => boolean) => { held: Promise<GatedRequest>; release: () => void };
}

/** True for what changes objects. */
export const isChange = ({ method, query }: GatedRequest): boolean =>
  ["PUT", "POST", "DELETE"].includes(method) && !/^delete\b/.test(query);

export async function startS3Gate(target: string): Promise<S3Gate> {
  const { hostname, port } = new URL(target);
  const releases = new Set<() => void>();
  const server = createServer((incoming, answer) => {
    pass(incoming, answer).catch(() => answer.destroy());
  });
  const pass = async (incoming: IncomingMessage, answer: ServerResponse): Promise<void> => {
    const body = Buffer.concat(await Array.fromAsync(incoming as AsyncIterable<Buffer>));
    const [path = "", query = ""] = incoming.url!.split("?");
    const key = decodeURIComponent(path.split("/").slice(2).join("/"));
    const seen: GatedRequest = { method: incoming.method!, key, query };
    gate.seen.push(seen);
    if ((await gate.before(seen)) === "drop") {
      answer.destroy();
      return;
    }
    await new Promise<void>((resolve, reject) => {
      // `Host` stays that of the gate: it is what the client has signed.
      const headers = { ...incoming.headers, connection: "close" };
      delete headers.expect;
      const onward = forward({ hostname, port, path: incoming.url, method: incoming.method, headers, agent: false });
      onward.once("error", reject);
      onward.once("response", (reply) => {
        answer.writeHead(reply.statusCode!, reply.headers);
        // Whoever asked may be dead: the request was carried out all the same.
        pipeline(reply, answer).then(resolve, reject);
      });
      onward.end(body);
    });
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const gate: S3Gate = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: [],
    before: () => undefined,
    hold(fits) {
      let arrive: (request: GatedRequest) => void = () => undefined;
      let release: () => void = () => undefined;
      const held = new Promise<GatedRequest>((resolve) => (arrive = resolve));
      const released = new Promise<void>((resolve) => (release = resolve));
      releases.add(release);
      let done = false;
      gate.before = async (request) => {
        if (done || !fits(request)) return;
        done = true;
        arrive(request);
        await released;
      };
      return { held, release };
    },
    async [Symbol.asyncDispose]() {
      for (const release of releases) release();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return gate;
}
