import { randomBytes } from "node:crypto";
import {
  MillraceError,
  throwIfAborted,
  type Column,
  type PublishReport,
  type PublishRequest,
  type VersionRows,
} from "../../core/index.ts";
import type { Client } from "./client.ts";
import { bucketKey, currentKey, generationsKey, marker, type Generation, type Publication } from "./layout.ts";
import { bucketOf, bucketsFor } from "../shared/questions.ts";
import { keyColumns } from "../shared/row-key.ts";
import { KeyReader, linesOf } from "../shared/row-lines.ts";

export interface Place {
  prefix: string;
  target: string;
  keepSeconds: number;
}

/** Bytes that are on their way at a time. */
const flightBytes = 4 * 1024 ** 2;
/** Buckets that are looked at, expired or removed at a time. */
const bucketsAtOnce = 1024;
/** What was begun so long ago and never switched to has been given up. */
const abandonedMs = 24 * 3600_000;

/** Switches readers to a generation unless somebody else has switched, or has taken the generation for abandoned. */
const switchScript = `
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 'gone' end
local now = redis.call('GET', KEYS[1])
if (now or '') ~= ARGV[3] then return 'changed' end
redis.call('SET', KEYS[1], ARGV[4])
return 'switched'`;

/** Marks a generation that readers are not switched to as dead, so that whoever made it cannot switch to it any more. */
const buryScript = `
local now = redis.call('GET', KEYS[1])
if now and cjson.decode(now)['generation'] == ARGV[1] then return 'current' end
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 'gone' end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return 'dead'`;

export async function readCurrent(
  client: Client,
  { prefix, target }: Place,
): Promise<{ text: string; found: Publication | undefined }> {
  const text = (await client.get(currentKey(prefix, target))) ?? "";
  return { text, found: text === "" ? undefined : (JSON.parse(text) as Publication) };
}

export function isPublished(
  found: Publication | undefined,
  version: VersionRows,
  { key }: Pick<PublishRequest, "key">,
): boolean {
  return (
    found !== undefined &&
    found.dataset === version.dataset &&
    found.version === version.version &&
    found.erasures === (version.erasures ?? 0) &&
    found.key.length === key.length &&
    found.key.every((name, index) => name === key[index])
  );
}

/** What a publish must tell whoever asks what became of it. */
export interface PublishState {
  switching: boolean;
}

/** Writes the rows beside those that are there, and switches to them. */
export async function publishRows(
  client: Client,
  place: Place,
  version: VersionRows,
  request: PublishRequest,
  state: PublishState,
): Promise<PublishReport> {
  const key = keyColumns(version, request);
  const { signal } = request;
  const { prefix, target } = place;
  const before = await readCurrent(client, place);
  if (isPublished(before.found, version, request) && (await isWhole(client, place, before.found!))) {
    return { status: "unchanged", rows: 0 };
  }
  const generation = `${version.version}-${randomBytes(8).toString("hex")}`;
  const buckets = bucketsFor(version.rows);
  const registered = JSON.stringify({ buckets, started: Date.now() } satisfies Generation);
  throwIfAborted(signal);
  await client.hset(generationsKey(prefix, target), generation, registered);
  try {
    const rows = await writeRows(client, place, { generation, buckets, key, registered }, version, signal);
    const publication: Publication = {
      dataset: version.dataset,
      version: version.version,
      run: version.run ?? null,
      erasures: version.erasures ?? 0,
      key: [...request.key],
      columns: version.columns.map(({ name, type }) => ({ name, type })),
      rows,
      generation,
      buckets,
      published_at: new Date().toISOString(),
    };
    const outcome = await switchTo(client, place, publication, registered, before.text, version, request, state);
    if (outcome === "unchanged") return { status: "unchanged", rows: 0 };
    await tidy(client, place, publication, outcome.before).catch(() => undefined);
    return { status: "published", rows };
  } catch (error) {
    if (!state.switching) await bury(client, place, generation, registered, true).catch(() => undefined);
    throw error;
  }
}

/** False when the server has given up a part of the copy. */
async function isWhole(
  client: Client,
  { prefix, target }: Place,
  { generation, buckets }: Publication,
): Promise<boolean> {
  let missing = 0;
  await eachBucket(buckets, async (bucket) => {
    if ((await client.hexists(bucketKey(prefix, target, generation, bucket), marker)) === 0) missing++;
  });
  return missing === 0;
}

interface Writing {
  generation: string;
  buckets: number;
  key: readonly Column[];
  /** What the record of generations says of this one. */
  registered: string;
}

const abandoned = (target: string): MillraceError =>
  new MillraceError("conflict", `the rows for \`${target}\` were taken for abandoned and removed`, {
    temporary: true,
    hint: "publish again",
  });

async function writeRows(
  client: Client,
  { prefix, target }: Place,
  { generation, buckets, key, registered }: Writing,
  version: VersionRows,
  signal: AbortSignal | undefined,
): Promise<number> {
  const reader = new KeyReader(key);
  const nameOf = (bucket: number): string => bucketKey(prefix, target, generation, bucket);
  await eachBucket(buckets, (bucket) => client.hset(nameOf(bucket), marker, "1"));
  let rows = 0;
  let held = 0;
  let waiting = new Map<number, (string | Buffer)[]>();
  const flush = async (): Promise<void> => {
    throwIfAborted(signal);
    const sending = [...waiting].map(([bucket, pairs]) => client.hset(nameOf(bucket), ...pairs));
    waiting = new Map();
    held = 0;
    await Promise.all(sending);
  };
  for await (const lines of linesOf(version.bytes({ format: "ndjson", ...(signal ? { signal } : {}) }))) {
    for (const line of lines) {
      const field = reader.field(line);
      const bucket = bucketOf(field, buckets);
      const pairs = waiting.get(bucket);
      if (pairs === undefined) waiting.set(bucket, [field, line]);
      else pairs.push(field, line);
      held += line.length + field.length;
      rows++;
      if (held >= flightBytes) await flush();
    }
  }
  await flush();
  let there = 0;
  await eachBucket(buckets, async (bucket) => {
    const fields = await client.hlen(nameOf(bucket));
    there += fields - 1;
  });
  if (there < rows) {
    if ((await client.hget(generationsKey(prefix, target), generation)) !== registered) throw abandoned(target);
    throw new MillraceError("usage", `${rows - there} rows have a key that another row has too`, {
      hint: "name all columns that identify a row with --key",
    });
  }
  return rows;
}

async function eachBucket(buckets: number, action: (bucket: number) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < buckets; from += bucketsAtOnce) {
    const count = Math.min(bucketsAtOnce, buckets - from);
    await Promise.all(Array.from({ length: count }, (_, index) => action(from + index)));
  }
}

async function switchTo(
  client: Client,
  { prefix, target }: Place,
  publication: Publication,
  registered: string,
  first: string,
  version: VersionRows,
  request: PublishRequest,
  state: PublishState,
): Promise<{ before: string } | "unchanged"> {
  const keys = [currentKey(prefix, target), generationsKey(prefix, target)];
  for (let before = first; ;) {
    throwIfAborted(request.signal);
    state.switching = true;
    const said = await client.eval(
      switchScript,
      2,
      ...keys,
      publication.generation,
      registered,
      before,
      JSON.stringify(publication),
    );
    state.switching = false;
    if (said === "switched") return { before };
    if (said === "gone") throw abandoned(target);
    const now = await readCurrent(client, { prefix, target, keepSeconds: 0 });
    if (isPublished(now.found, version, request)) {
      await bury(client, { prefix, target, keepSeconds: 0 }, publication.generation, registered, true);
      return "unchanged";
    }
    before = now.text;
  }
}

/** Removes a generation that readers were never switched to. Only who made it knows that nothing is written to it any more. */
async function bury(
  client: Client,
  { prefix, target }: Place,
  generation: string,
  registered: string,
  isOurs: boolean,
): Promise<void> {
  const { buckets, started } = JSON.parse(registered) as Generation;
  const dead = JSON.stringify({ buckets, started, dead: true } satisfies Generation);
  const keys = [currentKey(prefix, target), generationsKey(prefix, target)];
  const said = await client.eval(buryScript, 2, ...keys, generation, registered, dead);
  if (said === "current" || (said === "gone" && !isOurs)) return;
  await eachBucket(buckets, (bucket) => client.unlink(bucketKey(prefix, target, generation, bucket)));
  if (isOurs) await client.hdel(generationsKey(prefix, target), generation);
}

/**
 * What is left of other generations: the one before expires, since readers may be in the middle of it, unless rows of it were erased;
 * those that were given up or are dead are removed.
 */
async function tidy(client: Client, place: Place, now: Publication, beforeText: string): Promise<void> {
  const { prefix, target, keepSeconds } = place;
  const before = beforeText === "" ? undefined : (JSON.parse(beforeText) as Publication);
  const names = generationsKey(prefix, target);
  for (const [generation, registered] of Object.entries(await client.hgetall(names))) {
    if (generation === now.generation) continue;
    const { buckets, started, dead } = JSON.parse(registered) as Generation;
    const nameOf = (bucket: number): string => bucketKey(prefix, target, generation, bucket);
    if (generation === before?.generation) {
      const isErased = before.dataset !== now.dataset || before.erasures !== now.erasures;
      await eachBucket(buckets, (bucket) =>
        isErased ? client.unlink(nameOf(bucket)) : client.expire(nameOf(bucket), keepSeconds),
      );
      await client.hdel(names, generation);
    } else if (dead === true) {
      // Whoever made it may have slept and gone on writing: it is removed again until that cannot be any more.
      await eachBucket(buckets, (bucket) => client.unlink(nameOf(bucket)));
      if (Date.now() - started > 3 * abandonedMs) await client.hdel(names, generation);
    } else if (Date.now() - started > abandonedMs) await bury(client, place, generation, registered, false);
  }
}
