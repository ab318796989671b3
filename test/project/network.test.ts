import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const source = fileURLToPath(new URL("../../src", import.meta.url));

/** Ways to the network besides `safeFetch`. */
const ways: [string, RegExp][] = [
  ["`fetch`", /(?<![\w.#"'`$]|async )(?:globalThis\.)?fetch\s*\(/],
  [
    "`node:http` or `node:https`",
    /(?:from\s+|import\(\s*|getBuiltinModule\(\s*|require\(\s*)["'](?:node:)?https?2?["']/,
  ],
  ["`undici` or another client", /from\s+["'](?:undici|axios|got|node-fetch|ky|superagent)["']/],
  [
    "a socket of `node:net` or `node:tls`",
    /(?:from\s+|import\(\s*|getBuiltinModule\(\s*)["'](?:node:)?(?:net|tls|dgram)["']/,
  ],
  ["WebSocket or EventSource", /new\s+(?:WebSocket|EventSource)\s*\(/],
];

/** Who may, and why. */
const allowed: Record<string, string> = {
  "core/fetch": "this is it",
  "feed/serve.ts": "listens, and calls nobody",
  "server/metrics.ts": "listens, and calls nobody",
  "lookup/serve.ts": "listens, and calls nobody",
  "server/collect/": "listens, and calls nobody",
  "lookup/listen.ts": "listens, and calls nobody",
  "lookup/resp-server.ts": "listens, and calls nobody",
  "sandbox/child.ts": "takes the network away from parsers",
  "engine/pipe.ts": "writes to named pipes",
  "engine/export-stream.ts": "reads from named pipes",
  "sources/collected/address.ts": "tells addresses by their form",
  "sources/kafka/": "speaks the protocol of its brokers, whose certificates it reads",
  "protocols/": "speak the protocols of databases that a configuration names",
  "stores/s3/": "the SDK speaks to the store",
};

function found(text: string): string[] {
  // A method of an interface is no call.
  const types = /^import type [^;]*;$|^\s*fetch\([^;{}]*\): Promise<[^;{}]*>;$/gm;
  return ways.filter(([, pattern]) => pattern.test(text.replace(types, ""))).map(([name]) => name);
}

test("the scan sees what it looks for", () => {
  for (const text of [
    "const a = await fetch(url)",
    "globalThis.fetch(url)",
    'import { request } from "node:http";',
    'import https from "https";',
    'const { request } = await import("node:http2");',
    'import { request } from "undici";',
    'import { connect } from "node:net";',
    "new WebSocket(url)",
  ])
    expect(`${text} ${found(text).length > 0}`).toBe(`${text} true`);
  for (const text of [
    "safeFetch(url)",
    "async fetch(files) {",
    "  fetch(files: readonly File[]): Promise<void>;",
    "this.#fetch(url)",
    'import type { Socket } from "node:net";',
    "prefetch(x)",
  ])
    expect(`${text} ${found(text).length > 0}`).toBe(`${text} false`);
});

test("URLs that somebody else chose are called by `safeFetch` only", () => {
  const wrong = globSync("**/*.ts", { cwd: source }).flatMap((file) =>
    Object.keys(allowed).some((prefix) => file.startsWith(prefix))
      ? []
      : found(readFileSync(join(source, file), "utf8")).map((way) => `src/${file} uses ${way}`),
  );
  expect(wrong).toEqual([]);
});
