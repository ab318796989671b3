import type { IncomingHttpHeaders } from "node:http";

/** A request to a collector. */
export interface CollectedRequest {
  method: "GET" | "POST";
  /** Without the key, when that stands in it. */
  path: string;
  /** What follows `?`, as it came. */
  query: string;
  headers: Readonly<IncomingHttpHeaders>;
  /** As it came; unpacked when it was compressed. */
  body: Buffer;
  /** Whose it is: the name of the key, or of the route that needs none. It becomes the topic of the row. */
  sender: string;
  /** Of the client: of the connection, or as a configured proxy tells it. */
  address: string;
}

/** An answer. Those that are always the same are made once. */
export interface CollectorReply {
  status: number;
  /** Name, value, name, value. Without the length of the body. */
  headers: readonly string[];
  body?: Buffer;
}

export interface Collected {
  reply: CollectorReply;
  /** A row of the inbox: the reply is given once it is durable. Absent: nothing of the request is kept. */
  keep?: { meta: string; body: Uint8Array };
}

/** A path that requests are taken at. */
export interface CollectorRoute {
  /** `/v1/track` */
  path: string;
  methods: readonly ("GET" | "POST")[];
  /** A write-only key says whose the request is; or anybody may send, and it is the named sender's. */
  access: "key" | { sender: string };
  /** Of the body, also when it is unpacked. */
  maxBytes: number;
  /** Media types of the body; `*` takes every one. */
  types: readonly string[];
  /** Origins of web pages that may call a route that needs no key. */
  origins?: readonly string[];
  /** Looks at no more than its answer needs: what is in the body is looked at when the inbox is read. Must not throw. */
  receive(request: CollectedRequest): Collected;
}

/** A write-only key, as it is configured. */
export interface CollectorKey {
  name: string;
  /** Absent: it is generated when the collector runs for the first time. */
  key?: string;
  /** Origins of web pages that may send with it: `https://example.com`, or `*` for all. */
  origins: readonly string[];
  /** More are told to wait. */
  requestsPerSecond: number;
}

/** How a source that others send to takes what they send. Opened by `millrace collect`. */
export interface Collector {
  keys: readonly CollectorKey[];
  routes: readonly CollectorRoute[];
  /** Of routes that need no key, each. */
  openRequestsPerSecond: number;
  /** What is taken goes here; `maxBytes` is what it may hold. */
  inbox: { folder: string; maxBytes: number };
  /** Why it must not listen beyond this machine; undefined: it may. */
  unguarded?: string;
  /** How a sender is set up: text for people. `key` is undefined when only its hash is known. */
  snippet(url: string, key: string | undefined): string;
  /** A page that sends to `url`, to be put anywhere. Absent: there is none. */
  page?(url: string, sender: string | undefined): string;
}

/** What a collector is told when it is opened. */
export interface CollectorContext {
  /** The name of the connection. */
  connection: string;
  /** Of the configuration file. */
  folder: string;
}
