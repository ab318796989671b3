import { createServer, request as forward, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

type Json = Record<string, unknown>;

/** A call of a service that speaks JSON, as the gate sees it. */
export interface GatedCall {
  /** `GetRecords`. */
  operation: string;
  body: Json;
}

/** What the gate says in the place of the server. */
export interface Refusal {
  status: number;
  /** `ExpiredIteratorException`. */
  type: string;
}

/** A relay in front of a server of AWS's that can refuse a call, drop it or its answer, and change what is answered. */
export interface AwsGate extends AsyncDisposable {
  endpoint: string;
  port: number;
  /** Every call since the start, in the order in which they came. */
  calls: GatedCall[];
  /** Asked before a call is passed on, whose body may be changed. With `lose` it is carried out and nobody hears of it. */
  before: (call: GatedCall) => undefined | Refusal | "drop" | "lose" | Promise<undefined | Refusal | "drop" | "lose">;
  /** The answer of the server, which may be changed in place. */
  after: (call: GatedCall, answer: Json) => void;
  /** The headers of the answer. */
  headers: (headers: Record<string, unknown>) => void;
}

export async function startAwsGate(target: string): Promise<AwsGate> {
  const { hostname, port } = new URL(target);
  const pass = async (incoming: IncomingMessage, answer: ServerResponse): Promise<void> => {
    const bytes = Buffer.concat(await Array.fromAsync(incoming as AsyncIterable<Buffer>));
    const operation = String(incoming.headers["x-amz-target"]).split(".").at(-1)!;
    const call = { operation, body: JSON.parse(bytes.toString() || "{}") as Json };
    gate.calls.push(call);
    const verdict = await gate.before(call);
    if (verdict === "drop") return void answer.destroy();
    if (typeof verdict === "object") {
      answer.writeHead(verdict.status, { "content-type": "application/x-amz-json-1.1" });
      return void answer.end(JSON.stringify({ __type: verdict.type, message: "as the gate says" }));
    }
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const body = Buffer.from(JSON.stringify(call.body));
    const headers = { ...incoming.headers, connection: "close", "content-length": body.length };
    const onward = forward({ hostname, port, path: incoming.url, method: incoming.method, headers, agent: false });
    onward.once("error", reject).once("response", resolve).end(body);
    const reply = await promise;
    const given: Record<string, unknown> = { ...reply.headers };
    gate.headers(given);
    if (/eventstream/.test(String(given["content-type"]))) {
      answer.writeHead(reply.statusCode!, given as never);
      return void reply.on("error", () => answer.destroy()).pipe(answer);
    }
    const text = Buffer.concat(await Array.fromAsync(reply as AsyncIterable<Buffer>)).toString();
    if (verdict === "lose") return void answer.destroy();
    const changed = JSON.parse(text || "{}") as Json;
    if (reply.statusCode === 200) gate.after(call, changed);
    delete given["content-length"];
    delete given["transfer-encoding"];
    answer.writeHead(reply.statusCode!, given as never).end(text === "" ? "" : JSON.stringify(changed));
  };
  const server = createServer((incoming, answer) => {
    pass(incoming, answer).catch(() => answer.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port: own } = server.address() as AddressInfo;
  const gate: AwsGate = {
    endpoint: `http://127.0.0.1:${own}`,
    port: own,
    calls: [],
    before: () => undefined,
    after: () => undefined,
    headers: () => undefined,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return gate;
}
