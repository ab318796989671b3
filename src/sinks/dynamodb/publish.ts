import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import {
  DeleteItemCommand,
  GetItemCommand,
  PutItemCommand,
  TransactWriteItemsCommand,
  type WriteRequest,
} from "@aws-sdk/client-dynamodb";
import {
  forEachLimited,
  MillraceError,
  throwIfAborted,
  type PublishReport,
  type PublishRequest,
  type VersionRows,
} from "../../core/index.ts";
import { bucketOf, bucketsFor } from "../shared/questions.ts";
import { keyColumns } from "../shared/row-key.ts";
import { KeyReader, linesOf } from "../shared/row-lines.ts";
import { currentKey, generationKey, generationOf, partitionOf, type Generation, type Publication } from "./layout.ts";
import { itemKey, textOf, writesAtOnce, type Table } from "./table.ts";

export interface Place {
  target: string;
  keepSeconds: number;
  connections: number;
}

/** Sort keys may have 1,024 bytes, items 400 KB with the names of their attributes. */
const maximumKey = 1024;
const maximumItem = 400_000;
const maximumTarget = 1500;
/** What was begun so long ago and never switched to has been given up. */
const abandonedMs = 24 * 3600_000;

export async function readCurrent(
  table: Table,
  target: string,
): Promise<{ text: string | undefined; found: Publication | undefined }> {
  const { Item } = await table.client.send(
    new GetItemCommand({ TableName: table.name, Key: itemKey(currentKey(target)), ConsistentRead: true }),
  );
  const text = textOf(Item, "publication");
  return { text, found: text === undefined ? undefined : (JSON.parse(text) as Publication) };
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
  table: Table,
  place: Place,
  version: VersionRows,
  request: PublishRequest,
  state: PublishState,
): Promise<PublishReport> {
  const key = keyColumns(version, request);
  const { target } = place;
  if (Buffer.byteLength(target) > maximumTarget)
    throw new MillraceError("limit", `the name of the target is longer than ${maximumTarget} bytes`);
  const before = await readCurrent(table, target);
  if (isPublished(before.found, version, request)) return { status: "unchanged", rows: 0 };
  const generation = `${version.version}-${randomBytes(8).toString("hex")}`;
  const buckets = bucketsFor(version.rows);
  const registered = JSON.stringify({ buckets, started: Date.now() } satisfies Generation);
  throwIfAborted(request.signal);
  await setState(table, target, generation, registered);
  try {
    const rows = await writeRows(table, place, generation, buckets, new KeyReader(key), version, request.signal);
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
    const switched = await switchTo(table, target, publication, registered, before.text, version, request, state);
    if (switched === "unchanged") {
      await remove(table, place, generation, buckets);
      return { status: "unchanged", rows: 0 };
    }
    await tidy(table, place, publication, switched.before).catch(() => undefined);
    return { status: "published", rows };
  } catch (error) {
    if (!state.switching) await remove(table, place, generation, buckets).catch(() => undefined);
    throw error;
  }
}

async function setState(table: Table, target: string, generation: string, state: string): Promise<void> {
  const Item = { ...itemKey(generationKey(target, generation)), state: { S: state } };
  await table.client.send(new PutItemCommand({ TableName: table.name, Item }));
}

/** 53 bits of a key, as a number. */
const fingerprint = (field: string): number => crc32(field) * 2 ** 21 + (crc32(field, 0x9e3779b9) & (2 ** 21 - 1));

async function writeRows(
  table: Table,
  { target, connections }: Place,
  generation: string,
  buckets: number,
  reader: KeyReader,
  version: VersionRows,
  signal: AbortSignal | undefined,
): Promise<number> {
  const seen = new Set<number>();
  const running = new Set<Promise<void>>();
  let batch: WriteRequest[] = [];
  let rows = 0;
  let failure: { error: unknown } | undefined;
  const send = async (): Promise<void> => {
    throwIfAborted(signal);
    if (failure !== undefined) throw failure.error;
    if (batch.length === 0) return;
    while (running.size >= connections) await Promise.race(running);
    const writing = table
      .write(batch, signal)
      .catch((error: unknown) => void (failure ??= { error }))
      .finally(() => running.delete(writing));
    running.add(writing);
    batch = [];
  };
  const settle = async (): Promise<void> => {
    await send();
    await Promise.all(running);
    if (failure !== undefined) throw failure.error;
  };
  try {
    for await (const lines of linesOf(version.bytes({ format: "ndjson", ...(signal ? { signal } : {}) }))) {
      for (const line of lines) {
        const field = reader.field(line);
        const pk = partitionOf(target, generation, bucketOf(field, buckets));
        assertFits(field, line.length + pk.length + 20);
        const print = fingerprint(field);
        if (seen.has(print)) {
          await settle();
          await assertAbsent(table, pk, field);
        }
        seen.add(print);
        batch.push({ PutRequest: { Item: { pk: { S: pk }, sk: { S: field }, row: { S: line.toString("utf8") } } } });
        rows++;
        if (batch.length === writesAtOnce) await send();
      }
    }
    await settle();
  } finally {
    await Promise.all(running);
  }
  return rows;
}

function assertFits(field: string, rest: number): void {
  const keyBytes = Buffer.byteLength(field);
  if (keyBytes > maximumKey) {
    throw new MillraceError(
      "value",
      `the key ${field.slice(0, 60)}… has ${keyBytes} bytes; DynamoDB takes ${maximumKey}`,
      {
        hint: "choose a shorter key",
      },
    );
  }
  if (keyBytes + rest > maximumItem) {
    throw new MillraceError(
      "value",
      `the row with the key ${field.slice(0, 60)} has ${keyBytes + rest} bytes; DynamoDB takes ${maximumItem}`,
      {
        hint: "publish fewer columns, or leave such rows out with a check",
      },
    );
  }
}

async function assertAbsent(table: Table, pk: string, sk: string): Promise<void> {
  const found = await table.read([{ pk, sk }]);
  if (found.size === 0) return;
  throw new MillraceError("usage", `several rows have the key ${sk.slice(0, 100)}`, {
    hint: "name all columns that identify a row with --key",
  });
}

/** `unchanged` when the same version was switched to meanwhile by somebody else; else what readers looked at before. */
async function switchTo(
  table: Table,
  target: string,
  publication: Publication,
  registered: string,
  first: string | undefined,
  version: VersionRows,
  request: PublishRequest,
  state: PublishState,
): Promise<{ before: string | undefined } | "unchanged"> {
  const TableName = table.name;
  for (let before = first; ;) {
    throwIfAborted(request.signal);
    const unchanged =
      before === undefined
        ? { ConditionExpression: "attribute_not_exists(pk)" }
        : { ConditionExpression: "publication = :before", ExpressionAttributeValues: { ":before": { S: before } } };
    const transaction = new TransactWriteItemsCommand({
      TransactItems: [
        {
          ConditionCheck: {
            TableName,
            Key: itemKey(generationKey(target, publication.generation)),
            ConditionExpression: "#s = :registered",
            ExpressionAttributeNames: { "#s": "state" },
            ExpressionAttributeValues: { ":registered": { S: registered } },
          },
        },
        {
          Put: {
            TableName,
            Item: { ...itemKey(currentKey(target)), publication: { S: JSON.stringify(publication) } },
            ...unchanged,
          },
        },
      ],
    });
    state.switching = true;
    try {
      await table.client.send(transaction);
      state.switching = false;
      return { before };
    } catch (error) {
      const reasons = (error as { CancellationReasons?: { Code?: string }[] }).CancellationReasons?.map(
        ({ Code }) => Code,
      );
      if (reasons === undefined) throw error;
      state.switching = false;
      if (reasons[0] === "ConditionalCheckFailed") {
        throw new MillraceError("conflict", `the rows for \`${target}\` were taken for abandoned and removed`, {
          temporary: true,
          hint: "publish again",
        });
      }
    }
    const now = await readCurrent(table, target);
    if (isPublished(now.found, version, request)) return "unchanged";
    before = now.text;
  }
}

/** Removes a generation that readers are not switched to, its record last. */
async function remove(
  table: Table,
  { target, connections }: Place,
  generation: string,
  buckets: number,
  keepRecord = false,
): Promise<void> {
  const all = Array.from({ length: buckets }, (_, bucket) => partitionOf(target, generation, bucket));
  await forEachLimited(all, connections, async (pk) => {
    for await (const keys of table.sortKeys(pk)) {
      for (let from = 0; from < keys.length; from += writesAtOnce) {
        await table.write(
          keys.slice(from, from + writesAtOnce).map((sk) => ({ DeleteRequest: { Key: itemKey({ pk, sk }) } })),
        );
      }
    }
  });
  if (keepRecord) return;
  await table.client.send(
    new DeleteItemCommand({ TableName: table.name, Key: itemKey(generationKey(target, generation)) }),
  );
}

/**
 * What is left of other generations: the one before stays for readers that are in the middle of it, unless rows of it were erased; those
 * that nobody reads any more, and those that were given up, are removed.
 */
async function tidy(table: Table, place: Place, now: Publication, before: string | undefined): Promise<void> {
  const { target, keepSeconds } = place;
  const left = before === undefined ? undefined : (JSON.parse(before) as Publication);
  const erased = left !== undefined && (left.dataset !== now.dataset || left.erasures !== now.erasures);
  const names: string[] = [];
  for await (const keys of table.sortKeys(currentKey(target).pk))
    names.push(...keys.flatMap((sk) => generationOf(sk) ?? []));
  for (const generation of names) {
    if (generation === now.generation) continue;
    const key = generationKey(target, generation);
    const text = textOf((await table.read([key])).get(`${key.pk}\n${key.sk}`), "state");
    if (text === undefined) continue;
    const state = JSON.parse(text) as Generation;
    const age = Date.now() - state.started;
    if (generation === left?.generation) {
      if (erased) await remove(table, place, generation, state.buckets);
      else
        await setState(table, target, generation, JSON.stringify({ ...state, left: Date.now() } satisfies Generation));
    } else if (state.left !== undefined) {
      const isOver = erased || Date.now() - state.left > keepSeconds * 1000;
      if (isOver) await remove(table, place, generation, state.buckets);
    } else if (state.dead === true) {
      // Whoever made it may have slept and gone on writing: it is removed again until that cannot be any more.
      await remove(table, place, generation, state.buckets, age <= 3 * abandonedMs);
    } else if (age > abandonedMs) {
      await bury(table, target, now, generation, text, state);
      await remove(table, place, generation, state.buckets, true);
    }
  }
}

/** Whoever made a generation cannot switch to it afterwards; it fails when readers were switched away from ours meanwhile. */
async function bury(
  table: Table,
  target: string,
  now: Publication,
  generation: string,
  text: string,
  state: Generation,
): Promise<void> {
  const TableName = table.name;
  const dead = JSON.stringify({ ...state, dead: true } satisfies Generation);
  await table.client.send(
    new TransactWriteItemsCommand({
      TransactItems: [
        {
          ConditionCheck: {
            TableName,
            Key: itemKey(currentKey(target)),
            ConditionExpression: "publication = :now",
            ExpressionAttributeValues: { ":now": { S: JSON.stringify(now) } },
          },
        },
        {
          Put: {
            TableName,
            Item: { ...itemKey(generationKey(target, generation)), state: { S: dead } },
            ConditionExpression: "#s = :before",
            ExpressionAttributeNames: { "#s": "state" },
            ExpressionAttributeValues: { ":before": { S: text } },
          },
        },
      ],
    }),
  );
}
