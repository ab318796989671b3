import { Agent as HttpsAgent } from "node:https";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { account, authorities, regionOf } from "./account.ts";
import type { AccountOptions } from "./options.ts";

/** Where a service is and who asks it. */
export interface ServiceOptions extends AccountOptions {
  region?: string | undefined;
  endpoint?: string | undefined;
  ca?: string | undefined;
}

/** What the clients of the SDK are made with; `ca`: the authorities that are trusted, where the configuration names one. */
export async function clientOptions(options: ServiceOptions, folder: string, connection: string) {
  const ca = options.ca === undefined ? undefined : await authorities(options.ca, folder, connection);
  const requestHandler = new NodeHttpHandler({
    connectionTimeout: 10_000,
    socketTimeout: 60_000,
    httpsAgent: new HttpsAgent({ keepAlive: true, maxSockets: 64, ...(ca && { ca }) }),
  });
  return {
    ca,
    requestHandler,
    common: {
      // The one that tries again is `retry` of the core.
      maxAttempts: 1,
      ...(options.endpoint && { endpoint: options.endpoint }),
      ...regionOf(options),
      ...(await account(options, requestHandler)),
    },
  };
}

interface MiddlewareStack {
  add(
    middleware: (next: (args: never) => Promise<{ response: unknown }>) => (args: never) => Promise<never>,
    options: { step: "deserialize"; priority: "low"; name: string },
  ): void;
}

/** The clock of a service, by the dates of its answers: milliseconds since the epoch. */
export function clockOf(client: { middlewareStack: unknown }): () => number {
  let ahead = 0;
  (client.middlewareStack as MiddlewareStack).add(
    (next) => async (args) => {
      const result = await next(args);
      const { headers } = result.response as { headers?: Record<string, string> };
      const skew = Date.parse(headers?.["date"] ?? "") - Date.now();
      // The header has whole seconds.
      ahead = Math.abs(skew) > 2000 ? skew : 0;
      return result as never;
    },
    { step: "deserialize", priority: "low", name: "clockOfService" },
  );
  return () => Date.now() + ahead;
}

/** Options of a call. */
export const sending = (signal: AbortSignal | undefined): { abortSignal?: AbortSignal } =>
  signal ? { abortSignal: signal } : {};
