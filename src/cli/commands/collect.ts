import { once } from "node:events";
import { collectorsOf } from "../collectors.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { readConfig } from "../session.ts";

interface Flags extends GlobalFlags {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
}

export default async function collect(this: Context, flags: Flags, ...names: string[]): Promise<void> {
  const { output, signal } = this;
  const { config, registry } = await readConfig(flags);
  const collectors = await collectorsOf(config, registry, names);
  const { openKeys } = await import("../../server/collect/keys.ts");
  const { serveCollectors } = await import("../../server/collect/serve.ts");
  const { openInboxWriter } = await import("../../inbox/index.ts");
  const keys = openKeys(
    config.folder,
    collectors.map(({ name, collector }) => ({ name, keys: collector.keys })),
  );
  // Disposed of in the opposite order: first nothing more is taken, then what was taken is closed.
  await using opened = new AsyncDisposableStack();
  const targets = [];
  for (const { name, collector } of collectors) {
    const { folder, maxBytes } = collector.inbox;
    const inbox = opened.use(await openInboxWriter(folder, { maxBytes }));
    for (const finding of inbox.findings) output.note(`${name}: ${finding}`);
    targets.push({ connection: name, collector, inbox });
  }
  const { host, port } = flags;
  const server = opened.use(
    await serveCollectors(targets, keys.byHash, {
      ...config.collect,
      ...(host === undefined ? {} : { host }),
      ...(port === undefined ? {} : { port }),
      onProblem: (text) => output.note(text),
    }),
  );
  const { url } = server;
  if (flags.json) {
    output.json({ url, connections: collectors.map(({ name }) => name), generated: keys.generated });
  } else {
    output.print(`${collectors.map(({ name }) => name).join(", ")} at ${url}`);
    for (const { connection, name, key } of keys.generated) output.print(`  key ${name} of ${connection}: ${key}`);
    if (keys.generated.length > 0) output.print("  Keys are shown this once; their hashes are in collect-keys.json");
    if (!flags.quiet) {
      for (const { name, collector } of collectors) {
        const key = keys.generated.find(({ connection }) => connection === name)?.key;
        output.print(`\n${name}\n${collector.snippet(url, key).replaceAll(/^/gm, "  ")}`);
      }
      output.print("\n  Ctrl-C ends it");
    }
  }
  if (!signal.aborted) await once(signal, "abort");
}
