import type { IncomingMessage } from "node:http";
import type { Collector, CollectorKey, CollectorRoute } from "../../core/index.ts";
import type { InboxWriter } from "../../inbox/index.ts";
import { keyHash } from "./keys.ts";
import { Bucket } from "./limits.ts";
import { Origins } from "./origins.ts";

/** A connection that is collected for. */
export interface CollectTarget {
  connection: string;
  collector: Collector;
  inbox: Pick<InboxWriter, "append">;
}

/** Who may send something where. */
export interface Grant {
  target: CollectTarget;
  /** The topic of what is sent. */
  sender: string;
  origins: Origins;
  bucket: Bucket;
}

export interface Matched {
  route: CollectorRoute;
  grant: Grant;
  path: string;
  query: string;
}

export interface Routes {
  /** `path`: no route has it. `key`: it needs a key. */
  match(request: IncomingMessage): Matched | "path" | "key";
  /** All origins that may send to a path; undefined when there is no such path. */
  originsOf(path: string): Origins | undefined;
}

/** `byHash`: see `openKeys`. */
export function routesOf(
  targets: readonly CollectTarget[],
  byHash: ReadonlyMap<string, { connection: string; key: CollectorKey }>,
): Routes {
  const now = performance.now();
  const open = new Map<string, { route: CollectorRoute; grant: Grant }>();
  const byTarget = new Map<CollectTarget, Map<string, CollectorRoute>>();
  const originLists = new Map<string, Set<string>>();
  const addOrigins = (path: string, origins: readonly string[]): void => {
    const list = originLists.get(path) ?? new Set();
    for (const origin of origins) list.add(origin);
    originLists.set(path, list);
  };
  for (const target of targets) {
    const { collector } = target;
    const keyed = new Map<string, CollectorRoute>();
    byTarget.set(target, keyed);
    for (const route of collector.routes) {
      if (route.access === "key") {
        keyed.set(route.path, route);
        for (const { origins } of collector.keys) addOrigins(route.path, origins);
        continue;
      }
      const origins = route.origins ?? [];
      addOrigins(route.path, origins);
      const bucket = new Bucket(collector.openRequestsPerSecond, now);
      open.set(route.path, {
        route,
        grant: { target, sender: route.access.sender, origins: new Origins(origins), bucket },
      });
    }
  }
  const grants = new Map<string, Grant>();
  for (const [sha256, { connection, key }] of byHash) {
    const target = targets.find((each) => each.connection === connection);
    if (target === undefined) continue;
    const bucket = new Bucket(key.requestsPerSecond, now);
    grants.set(sha256, { target, sender: key.name, origins: new Origins(key.origins), bucket });
  }
  const origins = new Map([...originLists].map(([path, list]) => [path, new Origins([...list])]));

  return {
    match(request) {
      const url = request.url ?? "/";
      const mark = url.indexOf("?");
      const path = mark < 0 ? url : url.slice(0, mark);
      const query = mark < 0 ? "" : url.slice(mark + 1);
      const found = open.get(path);
      if (found !== undefined) return { ...found, path, query };
      const key = keyIn(request, query);
      if (key !== undefined) {
        const grant = grants.get(keyHash(key));
        const route = grant && byTarget.get(grant.target)!.get(path);
        if (route !== undefined) return { route, grant: grant!, path, query };
        return origins.has(path) && grant === undefined ? "key" : "path";
      }
      const inPath = /^\/([^/]{16,200})(\/.+)$/.exec(path);
      if (inPath !== null && origins.has(inPath[2]!)) {
        const grant = grants.get(keyHash(inPath[1]!));
        const route = grant && byTarget.get(grant.target)!.get(inPath[2]!);
        return route === undefined ? "key" : { route, grant: grant!, path: inPath[2]!, query };
      }
      return origins.has(path) ? "key" : "path";
    },
    originsOf: (path) => origins.get(path) ?? origins.get(/^\/[^/]{16,200}(\/.+)$/.exec(path)?.[1] ?? ""),
  };
}

/** Where the protocols put a key: as the user of Basic, as a bearer token, in a header, in the query. */
function keyIn({ headers }: IncomingMessage, query: string): string | undefined {
  const { authorization } = headers;
  if (authorization !== undefined) {
    const [scheme = "", value = ""] = authorization.slice(0, 1_000).split(" ");
    const given = /^basic$/i.test(scheme)
      ? Buffer.from(value, "base64").toString().split(":")[0]
      : /^bearer$/i.test(scheme)
        ? value
        : "";
    if (given !== undefined && given !== "") return given;
  }
  const own = headers["x-millrace-key"];
  if (typeof own === "string") return own;
  if (!/(?:^|&)(?:key|writeKey|api_secret)=/.test(query)) return undefined;
  const parameters = new URLSearchParams(query.slice(0, 8_000));
  return parameters.get("key") ?? parameters.get("writeKey") ?? parameters.get("api_secret") ?? undefined;
}
