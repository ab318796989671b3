import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SourceDefinition } from "../../src/core/index.ts";
import { openInboxWriter } from "../../src/inbox/index.ts";
import { openLake, type Lake } from "../../src/index.ts";
import { openKeys } from "../../src/server/collect/keys.ts";
import { serveCollectors, type CollectOptions, type CollectServer } from "../../src/server/collect/serve.ts";

export interface Collecting extends AsyncDisposable {
  readonly folder: string;
  readonly url: string;
  readonly server: CollectServer;
  /** Keys by name, generated ones as well. */
  readonly keys: Record<string, string>;
  /** What a person was told. */
  readonly said: string[];
  post(path: string, body: unknown, options?: { key?: string; headers?: Record<string, string> }): Promise<Response>;
  /** Runs the flow that reads all, and gives its rows. */
  rows(sql?: string): Promise<Record<string, unknown>[]>;
  rejected(): Promise<{ reason: string; origin: string; record: string }[]>;
  /** With the connection, and one flow `all` that reads it. */
  lake(): Promise<Lake>;
}

/** A collector of one connection `in` in this process, its inbox, and a lake that reads it. */
export async function collecting(
  definition: SourceDefinition,
  options: Record<string, unknown> = {},
  settings: CollectOptions = {},
): Promise<Collecting> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-collect-"));
  const stack = new AsyncDisposableStack();
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const config = {
    store: "./lake",
    connections: { in: { source: definition.name, ...options } },
    flows: { all: { from: { connection: "in", stream: "*" } } },
  };
  await writeFile(join(folder, "millrace.yaml"), JSON.stringify(config));
  const module = await definition.collector!();
  const collector = module.collector(definition.options.parse(options), { connection: "in", folder });
  const { byHash, generated } = openKeys(folder, [{ name: "in", keys: collector.keys }]);
  const said: string[] = [];
  const inbox = stack.use(await openInboxWriter(collector.inbox.folder, collector.inbox));
  const targets = [{ connection: "in", collector, inbox }];
  const server = stack.use(
    await serveCollectors(targets, byHash, { port: 0, onProblem: (text) => said.push(text), ...settings }),
  );
  const keys = {
    ...Object.fromEntries(collector.keys.flatMap(({ name, key }) => (key === undefined ? [] : [[name, key]]))),
    ...Object.fromEntries(generated.map(({ name, key }) => [name, key])),
  };
  let lake: Lake | undefined;
  const open = async (): Promise<Lake> => (lake ??= stack.use(await openLake({ folder })));
  return {
    folder,
    url: server.url,
    server,
    keys,
    said,
    post: (path, body, { key = Object.values(keys)[0], headers = {} } = {}) =>
      fetch(`${server.url}${path}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(key === undefined ? {} : { authorization: `Basic ${Buffer.from(`${key}:`).toString("base64")}` }),
          ...headers,
        },
        body: typeof body === "string" || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
      }),
    lake: open,
    async rows(sql = 'select * from "all" order by _row, _index') {
      const opened = await open();
      await opened.run("all");
      return (await opened.query(sql)).rows as Record<string, unknown>[];
    },
    async rejected() {
      const opened = await open();
      const { rows } = await opened.query("select reason, origin, record from all__rejected order by origin");
      return rows as { reason: string; origin: string; record: string }[];
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}
