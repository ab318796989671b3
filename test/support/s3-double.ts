import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type Operation, type Reply, type State, operationOf, refusal } from "./s3-double-operations.ts";

/** What goes wrong with a request. */
export type Fault =
  /** 503 SlowDown, without effect. */
  | "refuse"
  /** 409 ConditionalRequestConflict, without effect. */
  | "conflict"
  /** The request takes effect, and the connection ends without a reply. */
  | "lose"
  /** The connection ends; the request takes effect right before the next one of its kind. */
  | "late"
  /** The connection ends without effect. */
  | "drop"
  /** Half of the body, then the connection ends. */
  | "cut"
  /** Half of the body, then nothing, with the connection open. */
  | "stall"
  /** A well-formed reply with half of the bytes. */
  | "short"
  /** One bit of the body is another. */
  | "flip"
  /** A listing that says that more follows, but not where. */
  | "lost-token"
  /** A listing that lacks the first of the entries that it counts. */
  | "lost-entries"
  /** Conditions are not looked at. */
  | "ignore-conditions"
  /** A refusal in S3's words, without effect. */
  | { status: number; code: string; headers?: Record<string, string> };

export interface Armed {
  fired(): number;
  disarm(): Promise<void>;
}

export interface SeenRequest {
  operation: string;
  key: string;
  headers: IncomingMessage["headers"];
  /** Length of the body of the reply, bytes; 0 until it is sent, and where it was damaged. */
  sent: number;
}

/** A server with the part of S3 that the store uses, which can be struck at any request. It takes every signature. */
export interface S3Double extends AsyncDisposable {
  endpoint: string;
  state: State;
  requests: SeenRequest[];
  /** Strikes the next `times` requests of an operation (`PutObject`, `*` for any). `before` runs when it strikes. */
  arm(operation: string, fault: Fault, times?: number, before?: () => void): Armed;
  /** Options of the store that lead to the bucket. */
  options(bucket: string): Record<string, unknown> & { bucket: string };
}

interface Trap {
  operation: string;
  fault: Fault;
  left: number;
  fired: number;
  before: (() => void) | undefined;
}

/** `tls` is the key and the certificate of an HTTPS server. */
export async function startS3Double(
  buckets: readonly string[],
  tls?: { key: string; cert: string },
): Promise<S3Double> {
  const state: State = {
    buckets: new Map(buckets.map((name) => [name, new Map()])),
    uploads: new Map(),
    ignoresConditions: false,
  };
  const traps: Trap[] = [];
  const requests: SeenRequest[] = [];
  let late: { operation: string; carryOut: () => Reply }[] = [];

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const operation: Operation = operationOf(state, request, Buffer.concat(chunks));
    const seen: SeenRequest = { operation: operation.name, key: operation.key, headers: request.headers, sent: 0 };
    requests.push(seen);
    answered.set(response, seen);
    const trap = traps.find((one) => one.left > 0 && ["*", operation.name].includes(one.operation));
    for (const earlier of late.filter((one) => one.operation === operation.name)) earlier.carryOut();
    late = late.filter((one) => one.operation !== operation.name);
    if (trap === undefined) return send(response, operation.carryOut(), operation);
    trap.left--;
    trap.fired++;
    trap.before?.();
    strike(trap.fault, operation, response);
  };

  const strike = (fault: Fault, operation: Operation, response: ServerResponse): void => {
    if (typeof fault === "object") return send(response, refusal(fault.status, fault.code, fault.headers), operation);
    switch (fault) {
      case "refuse":
        return send(response, refusal(503, "SlowDown"), operation);
      case "conflict":
        return send(response, refusal(409, "ConditionalRequestConflict"), operation);
      case "drop":
        return void response.destroy();
      case "lose":
        operation.carryOut();
        return void response.destroy();
      case "late":
        late.push({ operation: operation.name, carryOut: () => operation.carryOut() });
        return void response.destroy();
      case "ignore-conditions":
        state.ignoresConditions = true;
        send(response, operation.carryOut(), operation);
        state.ignoresConditions = false;
        return;
      case "lost-token": {
        const reply = operation.carryOut();
        const body = reply.body.toString().replace(/<NextContinuationToken>.*<\/NextContinuationToken>/s, "");
        return send(response, { ...reply, body: Buffer.from(body) }, operation);
      }
      case "lost-entries": {
        const reply = operation.carryOut();
        const body = reply.body.toString().replace(/<Contents>.*?<\/Contents>/s, "");
        return send(response, { ...reply, body: Buffer.from(body) }, operation);
      }
      default:
        return damage(fault, operation.carryOut(), operation, response);
    }
  };

  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    answer(request, response).catch((error: unknown) => {
      // What the caller broke off needs no answer.
      if (!request.complete) return;
      send(response, refusal(500, "InternalError", {}, String(error)), { name: "" });
    });
  };
  const server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const endpoint = `${tls === undefined ? "http" : "https"}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    endpoint,
    state,
    requests,
    arm(operation, fault, times = 1, before) {
      const trap: Trap = { operation, fault, left: times, fired: 0, before };
      traps.push(trap);
      return {
        fired: () => trap.fired,
        disarm: async () => void traps.splice(traps.indexOf(trap), 1),
      };
    },
    options: (bucket) => ({
      bucket,
      endpoint,
      credentials: { access_key_id: "double-owner", secret_access_key: "double-c4nary-secret" },
    }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const answered = new WeakMap<ServerResponse, SeenRequest>();

function send(response: ServerResponse, reply: Reply, { name }: Pick<Operation, "name">): void {
  const seen = answered.get(response);
  if (seen !== undefined && name !== "HeadObject") seen.sent = reply.body.length;
  const length = reply.headers["content-length"] ?? String(reply.body.length);
  response.writeHead(reply.status, { ...reply.headers, "content-length": length, "x-amz-request-id": "double" });
  response.end(name === "HeadObject" ? undefined : reply.body);
}

function damage(
  fault: "cut" | "stall" | "short" | "flip",
  reply: Reply,
  operation: Operation,
  response: ServerResponse,
): void {
  const half = reply.body.subarray(0, Math.floor(reply.body.length / 2));
  if (fault === "short") {
    const headers = { ...reply.headers, "content-length": String(half.length) };
    return send(response, { ...reply, headers, body: half }, operation);
  }
  if (fault === "flip") {
    const body = Buffer.from(reply.body);
    body[half.length]! ^= 1;
    return send(response, { ...reply, body }, operation);
  }
  response.writeHead(reply.status, { ...reply.headers, "content-length": String(reply.body.length) });
  response.write(half, () => {
    if (fault === "cut") response.destroy();
  });
}
