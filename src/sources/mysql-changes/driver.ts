import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  MillraceError,
  suggestion,
  throwIfAborted,
  type Cursor,
  type Encoding,
  type Part,
  type Payload,
  type Plan,
  type ReadRequest,
  type Source,
  type SourceContext,
} from "../../core/index.ts";
import { openSession } from "../../protocols/mysql/connect.ts";
import { listStreams } from "../../protocols/mysql/discover.ts";
import { mysqlError } from "../../protocols/mysql/errors.ts";
import type { Relation } from "../../protocols/mysql/relations.ts";
import { findRelation } from "../../protocols/mysql/relations.ts";
import type { Session } from "../../protocols/mysql/session.ts";
import { settingsOf } from "../../protocols/mysql/settings.ts";
import { Snapshot, snapshotGone } from "../../protocols/mysql/snapshot.ts";
import { firstColumns, firstParts, firstSelect, type FirstSpec } from "./first-reading.ts";
import { entriesOf } from "./log.ts";
import type { Options } from "./options.ts";
import { comparePlaces, positionOf, type ChangePosition, type LogPosition } from "./position.ts";
import { ChangeWriter, metaColumns, requireReadable, streamColumns } from "./rows.ts";
import { boundedEnd, logEnd, requireServer } from "./server.ts";

interface LogSpec {
  kind: "log";
  from: LogPosition;
  to: LogPosition;
}

/** One record that says that all rows before are gone. */
interface EmptyingSpec {
  kind: "emptying";
}
type Spec = LogSpec | FirstSpec | EmptyingSpec;

const maximumSnapshots = 4;
/** So much of the log may pass without a change of the table before the position is committed without one. */
const idleBytes = 64 * 1024 * 1024;
const chunkCharacters = 256 * 1024;
const waitMs = 200;

/** What a merge is to know of the columns. */
const marks: Pick<Plan, "deleted" | "order" | "emptied"> = {
  deleted: "_deleted",
  order: ["_log", "_offset", "_index"],
  emptied: { column: "_op", value: "truncate" },
};

/** Connects on first use. Throws `config` for options that do not fit together. */
export async function open(options: Options, context: SourceContext): Promise<Source> {
  const settings = await settingsOf(options, context);
  const held = new Map<string, { snapshot: Snapshot; relation: Relation }>();
  let session: Session | undefined;
  /** Up to where the log holds nothing of the table behind a position: so much need not be looked at again. */
  const seen = new Map<string, LogPosition>();

  const connect = (signal?: AbortSignal): Promise<Session> => openSession(settings, signal);
  /** One connection for questions, as long as it lives. */
  const asking = async (signal?: AbortSignal): Promise<Session> => {
    if (session === undefined || session.isBroken) session = await connect(signal);
    return session;
  };
  const placed = async <T>(request: ReadRequest, action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (error) {
      throw mysqlError(error, settings, request.stream === undefined ? {} : { stream: request.stream });
    }
  };
  const serverId = ({ flow, stream }: ReadRequest): number => {
    if (options.serverId !== undefined) return options.serverId;
    const hash = createHash("sha256").update(JSON.stringify([context.folder, context.connection, flow, stream]));
    // Clear of the small numbers that people give to their servers.
    return 0x4000_0000 + (hash.digest().readUInt32BE(0) & 0x3fff_ffff);
  };
  const relationOf = async (request: ReadRequest, signal?: AbortSignal): Promise<Relation> => {
    if (request.query !== undefined) {
      throw new MillraceError("unsupported", "the changes of a query are not in the server's log", {
        hint: "name a table with `stream`; `transform` can do the rest",
      });
    }
    const names = new Set(metaColumns.map(({ name }) => name));
    const { columns, cursor: _, ...rest } = request;
    const wanted = columns?.filter((name) => !names.has(name));
    const found = await findRelation(await asking(signal), { ...rest, ...(wanted ? { columns: wanted } : {}) }, signal);
    if (found.table?.kind !== "table") {
      throw new MillraceError("unsupported", `\`${found.stream}\` is no table, and has no changes of its own`, {
        where: { stream: found.stream },
        hint: suggestion(found.stream, []) || "name the tables that it is made of",
      });
    }
    requireReadable(found);
    return found;
  };
  const keyOf = (relation: Relation, request: ReadRequest): readonly string[] => [
    ...new Set([...relation.key, ...(request.key ?? [])]),
  ];

  return {
    async check(signal) {
      await placed({}, async () => void (await requireServer(await asking(signal), signal)));
    },

    async *streams(signal) {
      for await (const stream of listStreams(await asking(signal), signal)) {
        if (stream.kind === "table") yield { ...stream, columns: [...stream.columns, ...metaColumns], cursors: [] };
      }
    },

    plan: (request, planOptions) =>
      placed(request, async () => {
        const { after, instead, peek, signal } = planOptions;
        const relation = await relationOf(request, signal);
        const base = { columns: streamColumns(relation, request.columns), key: relation.key, ...marks };
        if (peek === true) return { ...base, parts: [] };
        const server = await requireServer(await asking(signal), signal);
        if (after !== undefined) return goOn(request, relation, base, positionOf(after, relation.stream), signal);

        let position: LogPosition = server.now;
        const snapshot = await Snapshot.take(
          () => connect(signal),
          settings.connections,
          relation.table!.name,
          signal,
          async (locker) => {
            position = await logEnd(locker, server.isMariaDb, signal);
          },
        );
        held.set(snapshot.id, { snapshot, relation });
        for (const [id, one] of held) {
          if (held.size <= maximumSnapshots) break;
          held.delete(id);
          await one.snapshot[Symbol.asyncDispose]();
        }
        const parts = await firstParts(snapshot, relation, request.partBytes, signal);
        if (instead !== undefined) parts.unshift({ id: "emptying", spec: { kind: "emptying" }, rows: 1 });
        const cursor: ChangePosition = { version: 1, table: relation.stream, ...position };
        return { ...base, parts, cursor: cursor as unknown as Cursor };
      }),

    read: (part, request, { signal }) =>
      placed(request, async () => {
        throwIfAborted(signal);
        const spec = part.spec as unknown as Spec;
        if (spec.kind === "first") {
          const one = held.get(spec.snapshot);
          if (one === undefined || one.snapshot.readers === 0) throw snapshotGone(spec.snapshot);
          return readFirst(one.snapshot, one.relation, spec, request, signal);
        }
        const relation = await relationOf(request, signal);
        const writer = new ChangeWriter(relation, keyOf(relation, request), request.columns);
        return payloadOf(relation, request, linesOf(relation, spec, writer, request, signal), () => writer.rows);
      }),

    async wait(request, { after, milliseconds, signal }) {
      if (after === undefined) return true;
      const from = positionOf(after, (await relationOf(request, signal)).stream);
      const known = seen.get(JSON.stringify(from)) ?? from;
      const { isMariaDb } = await requireServer(await asking(signal), signal);
      for (const end = performance.now() + milliseconds; performance.now() < end && signal?.aborted !== true;) {
        if (comparePlaces(await logEnd(await asking(signal), isMariaDb, signal), known) !== 0) return true;
        await sleep(waitMs, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
      }
      return false;
    },

    async lag(_request, { after, signal }) {
      if (after === undefined) return {};
      const asked = await asking(signal);
      const { bytes } = await boundedEnd(
        asked,
        after as unknown as LogPosition,
        await requireServer(asked, signal),
        undefined,
        signal,
      );
      return { bytes };
    },

    async [Symbol.asyncDispose]() {
      await session?.close();
      session = undefined;
      for (const { snapshot } of held.values()) await snapshot[Symbol.asyncDispose]();
      held.clear();
    },
  };

  async function goOn(
    request: ReadRequest,
    relation: Relation,
    base: Omit<Plan, "parts">,
    position: ChangePosition,
    signal: AbortSignal | undefined,
  ): Promise<Plan> {
    // The first reading is committed: its view would keep the server from cleaning up, and others from altering the table.
    for (const { snapshot } of held.values()) await snapshot[Symbol.asyncDispose]();
    held.clear();
    const asked = await asking(signal);
    const server = await requireServer(asked, signal);
    const cursor = position as unknown as Cursor;
    const key = JSON.stringify(position);
    const known = seen.get(key) ?? position;
    if (comparePlaces(known, server.now) === 0 && known.file === server.now.file) return { ...base, parts: [], cursor };
    const from: LogPosition = {
      file: position.file,
      offset: position.offset,
      gtid: server.hasGtids ? position.gtid : "",
    };
    const { to, bytes, more } = await boundedEnd(asked, from, server, options.maxBytes, signal);
    let isAny = bytes >= idleBytes;
    if (!isAny) {
      const behind = known === position ? from : { ...known, gtid: server.hasGtids ? known.gtid : "" };
      const range = { from: behind, to, serverId: serverId(request) };
      for await (const _ of entriesOf(settings, relation.table!.name, range, signal)) {
        isAny = true;
        break;
      }
    }
    if (!isAny) {
      seen.clear();
      seen.set(key, to);
      return { ...base, parts: [], cursor };
    }
    const spec: LogSpec = { kind: "log", from, to };
    const next: ChangePosition = { version: 1, table: relation.stream, ...to };
    return {
      ...base,
      parts: [{ id: "log", spec: spec as unknown as Part["spec"], bytes }],
      cursor: next as unknown as Cursor,
      ...(more ? { more: true } : {}),
    };
  }

  function readFirst(
    snapshot: Snapshot,
    relation: Relation,
    spec: FirstSpec,
    request: ReadRequest,
    signal: AbortSignal | undefined,
  ): Payload {
    let rows = 0;
    async function* chunks(): AsyncGenerator<Uint8Array> {
      const reader = await snapshot.acquire(signal);
      try {
        const forms = firstColumns(relation, request.columns).map(({ mapping }) => mapping.form);
        yield* reader.read(firstSelect(relation, request.columns, spec), forms, (count) => (rows = count), signal);
      } finally {
        snapshot.release(reader);
      }
    }
    return payloadOf(relation, request, chunks(), () => rows);
  }

  async function* linesOf(
    relation: Relation,
    spec: LogSpec | EmptyingSpec,
    writer: ChangeWriter,
    request: ReadRequest,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Uint8Array> {
    if (spec.kind === "emptying") {
      const place = { file: "", offset: 0, gtid: "" };
      yield Buffer.from(
        writer.text({ kind: "truncate", rows: [], place, index: -1, time: Math.floor(Date.now() / 1000) }),
      );
      return;
    }
    let text = "";
    for await (const entry of entriesOf(
      settings,
      relation.table!.name,
      { ...spec, serverId: serverId(request) },
      signal,
    )) {
      text += writer.text(entry);
      if (text.length < chunkCharacters) continue;
      yield Buffer.from(text);
      text = "";
    }
    if (text !== "") yield Buffer.from(text);
  }
}

function payloadOf(
  relation: Relation,
  { columns }: ReadRequest,
  chunks: AsyncIterable<Uint8Array>,
  rows: () => number,
): Payload {
  const encodings: Record<string, Encoding> = {};
  for (const { name, mapping } of relation.columns) if (mapping.type === "binary") encodings[name] = "hex";
  return { form: "bytes", format: "csv", columns: streamColumns(relation, columns), encodings, chunks, rows };
}
