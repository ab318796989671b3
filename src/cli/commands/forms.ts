import { writeFile } from "node:fs/promises";
import { MillraceError } from "../../core/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { collectorsOf } from "../collectors.ts";
import { readConfig } from "../session.ts";

interface Flags extends GlobalFlags {
  readonly html: string;
  readonly url?: string | undefined;
  readonly channel?: string | undefined;
}

export default async function forms(this: Context, flags: Flags, name: string): Promise<void> {
  const { config, registry } = await readConfig(flags);
  const [{ collector } = { collector: undefined }] = await collectorsOf(config, registry, [name]);
  if (collector?.page === undefined) {
    throw new MillraceError("usage", `\`${name}\` is no form`, {
      where: { connection: name },
      hint: "name a connection with `source: form`",
    });
  }
  const { host = "127.0.0.1", port = 4300 } = config.collect ?? {};
  const url = (flags.url ?? `http://${host}:${port}`).replace(/\/+$/, "");
  if (!/^https?:\/\/[^/?#]+/.test(url) || !URL.canParse(url)) {
    throw new MillraceError("usage", `\`${url}\` is no address`, { hint: "--url https://collect.example.com" });
  }
  const senders = collector.routes.map(({ access }) => (access === "key" ? "" : access.sender));
  if (flags.channel !== undefined && !senders.includes(flags.channel)) {
    throw new MillraceError("usage", `\`${name}\` has no channel \`${flags.channel}\``, {
      hint: `it has ${[...new Set(senders)].join(", ")}`,
    });
  }
  await writeFile(flags.html, collector.page(url, flags.channel));
  if (flags.json) this.output.json({ file: flags.html, url });
  else if (!flags.quiet) this.output.print(`${flags.html}: sends to ${url}`);
}
