import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { retry, throwIfAborted } from "../../core/index.ts";
import { account, authorities, regionOf } from "../../protocols/aws/account.ts";
import { type Action, s3Error } from "./errors.ts";
import type { S3Options } from "./options.ts";
import { type Wire, openWire } from "./wire.ts";

/** Tries of one request in all. */
const tries = 6;

/** A bucket as its store sees it: the client, and what every request carries. */
export interface Bucket {
  readonly client: S3Client;
  /** Makes the reads that need no more than what never changes for one bucket. */
  readonly wire: Wire;
  readonly name: string;
  /** What comes before the paths of the store in a key: empty, or with a slash at the end. */
  readonly root: string;
  readonly common: { Bucket: string; RequestPayer?: "requester" };
  readonly encryption: { ServerSideEncryption?: "AES256" | "aws:kms"; SSEKMSKeyId?: string };
  readonly checksums: S3Options["checksums"];
  /** Milliseconds without a byte after which a body is given up. */
  readonly timeoutMs: number;
  /** One try of a request, with its errors translated. */
  once<T>(action: Action, path: string, send: (options: SendOptions) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** The same, again and again while the error is temporary. For what may be carried out twice. */
  call<T>(action: Action, path: string, send: (options: SendOptions) => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** `retry` with the number of tries of this store. */
  again<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  close(): void;
}

export interface SendOptions {
  abortSignal?: AbortSignal;
}

/** Throws `config` when the file of `ca` cannot be read. Reaches nothing yet. */
export async function openBucket(options: S3Options, folder: string): Promise<Bucket> {
  const timeoutMs = options.timeout * 1000;
  const sockets = { keepAlive: true, maxSockets: options.connections };
  const connectMs = Math.min(10_000, timeoutMs);
  const httpsAgent = new HttpsAgent({
    ...sockets,
    ...(options.ca && { ca: await authorities(options.ca, folder, "s3") }),
  });
  const agents = {
    http: connectingWithin(connectMs, new HttpAgent(sockets), "connect"),
    https: connectingWithin(connectMs, httpsAgent, "secureConnect"),
  };
  const requestHandler = new NodeHttpHandler({
    socketTimeout: timeoutMs,
    httpAgent: agents.http,
    httpsAgent: agents.https,
    // Requests that wait for a connection are nothing that a user must hear of.
    logger: { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore },
  });
  const client = new S3Client({
    requestHandler,
    // The one that tries again is `retry` of the core.
    maxAttempts: 1,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    forcePathStyle: options.path_style ?? options.endpoint !== undefined,
    ...(options.endpoint && { endpoint: options.endpoint }),
    ...regionOf(options),
    ...(await signing(options, requestHandler)),
  });
  const once: Bucket["once"] = async (action, path, send, signal) => {
    throwIfAborted(signal);
    try {
      return await send(signal ? { abortSignal: signal } : {});
    } catch (error) {
      throwIfAborted(signal);
      throw s3Error(error, action, path, options.bucket);
    }
  };
  const again: Bucket["again"] = (work, signal) => retry(work, { tries, ...(signal && { signal }) });
  return {
    client,
    wire: openWire(client, agents, timeoutMs),
    name: options.bucket,
    root: options.prefix === "" ? "" : `${options.prefix}/`,
    common: { Bucket: options.bucket, ...(options.requester_pays && { RequestPayer: "requester" }) },
    encryption: options.encryption
      ? {
          ServerSideEncryption: options.encryption.type,
          ...(options.encryption.key && { SSEKMSKeyId: options.encryption.key }),
        }
      : {},
    checksums: options.checksums,
    timeoutMs,
    once,
    again,
    call: (action, path, send, signal) => again(() => once(action, path, send, signal), signal),
    close: () => client.destroy(),
  };
}

function ignore(): void {
  // Nothing is logged.
}

/**
 * Gives up a connection that is not made in time. The handler's own timer also counts the wait for one of `connections` to become
 * free, so that on a slow line requests would fail although all goes well.
 */
function connectingWithin<Agent extends HttpAgent>(milliseconds: number, agent: Agent, made: string): Agent {
  const create = agent.createConnection.bind(agent);
  agent.createConnection = (...given) => {
    const socket = create(...given);
    if (!socket) return socket;
    const timer = setTimeout(() => {
      const problem = new Error(`no connection within ${milliseconds / 1000} s`);
      socket.destroy(Object.assign(problem, { code: "ETIMEDOUT" }));
    }, milliseconds);
    for (const event of [made, "close"]) socket.once(event, () => clearTimeout(timer));
    return socket;
  };
  return agent;
}

async function signing(options: S3Options, requestHandler: NodeHttpHandler): Promise<S3ClientConfig> {
  if (options.anonymous) {
    return {
      credentials: { accessKeyId: "anonymous", secretAccessKey: "" },
      signer: { sign: async (request) => request },
    };
  }
  return account(options, requestHandler);
}
