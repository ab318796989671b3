import { once } from "node:events";
import { MillraceError } from "../../core/index.ts";
import type { Lake, LookupOptions, LookupResult } from "../../pipeline/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import type { Output } from "../output.ts";
import { withLake } from "../session.ts";
import { pairs, table } from "../text/table.ts";
import { escapeData } from "../text/escape.ts";
import { cell } from "../text/values.ts";

interface Flags extends GlobalFlags {
  readonly key?: string | undefined;
  readonly columns?: string | undefined;
  readonly where?: string | undefined;
  readonly lastBy?: string | undefined;
  readonly memory?: number | undefined;
  readonly serve: boolean;
  readonly port?: number | undefined;
  readonly socket?: string | undefined;
  readonly redisPort?: number | undefined;
}

const names = (list: string): string[] => list.split(",").map((name) => name.trim());

export default async function lookup(this: Context, flags: Flags, ...words: string[]): Promise<void> {
  const { output, signal } = this;
  await withLake(this, flags, async (lake) => {
    if (flags.serve) return serve(lake, flags, words, this);
    const { name, connection, keys } = await subject(lake, words);
    if (keys.length === 0) {
      throw new MillraceError("usage", `no key says what to look up in \`${name}\``, {
        hint: `millrace lookup ${words.join(" ")} KEY…`,
      });
    }
    await using opened = await lake.lookup(name, { ...optionsOf(flags, connection), signal });
    const { parseKey } = await import("../../lookup/request.ts");
    const { resultJson } = await import("../../lookup/answer.ts");
    const wanted = keys.map((text) => parseKey(text, opened.key?.length ?? (connection === undefined ? 1 : undefined)));
    const columns = flags.columns === undefined ? undefined : names(flags.columns);
    const result = await opened.get(wanted, { ...(columns === undefined ? {} : { columns }), signal });
    // The same text that the server answers, so that programs need to know one form only.
    if (flags.json) output.print(resultJson(name, result, wanted, Date.now()));
    else show(output, name, keys, result, flags.quiet);
  });
}

/** Serves the named lookups, or all of the configuration, until it is stopped. */
async function serve(lake: Lake, flags: Flags, words: readonly string[], { output, signal }: Context): Promise<void> {
  const wanted = words.length > 0 ? words : Object.keys(lake.config.lookup ?? {});
  if (wanted.length === 0) {
    throw new MillraceError("usage", "nothing says what to serve", {
      hint: "millrace lookup --serve flights@gold --key origin, or write `lookup:` in the configuration",
    });
  }
  await using opened = new AsyncDisposableStack();
  const lookups = [];
  for (const name of wanted) {
    const entry = lake.config.lookup?.[name];
    // Options of the command line are for what the configuration says nothing of.
    lookups.push(
      opened.use(await lake.lookup(name, { ...(entry === undefined ? optionsOf(flags, undefined) : {}), signal })),
    );
  }
  const { serveLookups } = await import("../../lookup/serve.ts");
  await using server = await serveLookups(lookups, {
    ...(flags.port === undefined ? {} : { port: flags.port }),
    ...(flags.socket === undefined ? {} : { socket: flags.socket }),
    ...(flags.redisPort === undefined ? {} : { redisPort: flags.redisPort }),
    transformer: (name, version) => {
      const [dataset] = (lake.config.lookup?.[name]?.dataset ?? lake.config.lookup?.[name]?.target ?? name).split("@");
      return lake.transformer(version === undefined ? dataset! : `${dataset}@${version}`);
    },
    onRefresh: ({ name, version, problem }) => {
      if (problem !== undefined) output.note(`${name}: ${problem}`);
      else if (!flags.quiet) output.note(`${name}: version ${version} answers now`);
    },
  });
  const { url, redisUrl } = server;
  if (flags.json) output.json({ url, ...(redisUrl === undefined ? {} : { redis_url: redisUrl }), lookups: wanted });
  else {
    output.print(`${wanted.join(", ")} at ${url}`);
    output.print(`  GET ${url}/v1/lookup/${wanted[0]}?key=…   POST {"keys": […]}   GET /v1/health`);
    output.print(`  POST ${url}/v1/transform/${wanted[0]}   {"rows": [{…}]}`);
    if (redisUrl !== undefined) output.print(`  ${redisUrl}: GET ${wanted[0]}:KEY, MGET, HMGET, HGETALL, INFO`);
    output.print("  Ctrl-C ends it");
  }
  if (!signal.aborted) await once(signal, "abort");
}

/** `online flights JFK`: a connection, the target of the copy, keys. `flights@gold JFK`: an entry or a dataset, keys. */
async function subject(
  lake: Lake,
  words: readonly string[],
): Promise<{ name: string; connection?: string; keys: string[] }> {
  const [first, second, ...rest] = words;
  if (first === undefined) {
    throw new MillraceError("usage", "nothing says what to look up in", {
      hint: "millrace lookup flights@gold JFK --key origin",
    });
  }
  if (!(await isSink(lake, first))) return { name: first, keys: words.slice(1) };
  if (second !== undefined) return { connection: first, name: second, keys: rest };
  throw new MillraceError("usage", `\`${first}\` is a connection, and nothing says which copy there is meant`, {
    hint: `millrace lookup ${first} TARGET KEY…`,
  });
}

async function isSink({ config }: Lake, name: string): Promise<boolean> {
  if (!Object.hasOwn(config.connections, name)) return false;
  const entry = config.connections[name]!;
  return (typeof entry === "function" ? await entry() : entry).kind === "sink";
}

function optionsOf(flags: Flags, connection: string | undefined): LookupOptions {
  return {
    ...(connection === undefined ? {} : { connection }),
    ...(flags.key === undefined ? {} : { key: names(flags.key) }),
    ...(flags.where === undefined ? {} : { where: flags.where }),
    ...(flags.lastBy === undefined ? {} : { lastBy: flags.lastBy }),
    ...(flags.memory === undefined ? {} : { cache: { memoryBytes: flags.memory } }),
  };
}

function show(output: Output, name: string, keys: readonly string[], result: LookupResult, quiet: boolean): void {
  const found = result.rows.filter((row) => row !== undefined);
  const titles = Object.keys(found[0] ?? {});
  if (result.rows.length === 1 && found.length === 1) {
    output.print(pairs(titles.map((title) => [escapeData(title), escapeData(cell(found[0]![title]))])));
  } else if (found.length > 0) {
    const rows = found.map((row) => titles.map((title) => cell(row[title])));
    output.print(
      table(
        titles.map((title) => ({ title })),
        rows,
        output.width,
      ),
    );
  }
  for (const [index, row] of result.rows.entries()) {
    if (row !== undefined) continue;
    const wrong = result.invalid.find((each) => each.index === index);
    output.print(`missing: ${escapeData(keys[index]!)}${wrong === undefined ? "" : ` (${wrong.problem})`}`);
  }
  if (!quiet) output.note(`${name}: version ${result.version}${agePhrase(result.published)}`);
}

function agePhrase(published: number | undefined): string {
  if (published === undefined) return "";
  const seconds = Math.max(0, Math.round((Date.now() - published) / 1000));
  const [amount, unit] =
    seconds < 120
      ? [seconds, "s"]
      : seconds < 7200
        ? [Math.round(seconds / 60), "min"]
        : seconds < 172_800
          ? [Math.round(seconds / 3600), "h"]
          : [Math.round(seconds / 86_400), "days"];
  return `, published ${new Date(published).toISOString()} (${amount} ${unit} ago)`;
}
