import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  isMillraceError,
  MillraceError,
  throwIfAborted,
  type Column,
  type CursorValue,
  type ReadRequest,
  type RejectedRecord,
  type Source,
  type SourceContext,
  type Store,
} from "../../core/index.ts";
import { grouped } from "../assets/grouped.ts";
import { chosen } from "../messages/chosen.ts";
import { openMessages, type MessageBatch } from "../messages/index.ts";
import { Members } from "../messages/members.ts";
import { eventsIn, exportOf, openBucket, settledUntil } from "./backfill.ts";
import { groupsOf } from "./groups.ts";
import type { CloudwatchLogsOptions } from "./index.ts";
import { eventsOf, type ExportedFile, type PartSpec } from "./pieces.ts";
import { beginOf, newsOf, type GroupNews } from "./plan.ts";
import { cursorOf, stateOf, type GroupState } from "./position.ts";
import { messageColumn, messagesIn, metaColumns, valueOf } from "./rows.ts";
import { openService, type Group, type LogEvent } from "./service.ts";
import { EventSpool } from "./spool.ts";
import { Tail } from "./tail.ts";

const partBytes = 64 * 1024 ** 2;
const sampleSize = 1_000;

export async function open(options: CloudwatchLogsOptions, context: SourceContext): Promise<Source> {
  const { connection } = context;
  if (options.backfill !== undefined && (options.filter ?? options.streams) !== undefined) {
    throw new MillraceError("config", "an export takes all events of a group", {
      where: { connection },
      hint: "leave out `backfill`, or `filter` and `streams`, and select in `transform`",
    });
  }
  const service = await openService(options, context.folder, connection);
  const isParsed = options.value === "json";
  const messages = await openMessages({ value: "json", columns: options.columns }, context, { meta: metaColumns });
  const spool = new EventSpool(join(context.scratch ?? tmpdir(), "cloudwatch-logs"));
  const tail = new Tail(service, options);
  let opened: Promise<Store> | undefined;
  const bucket = (): Promise<Store> => (opened ??= openBucket(options, context));
  /** Groups of the last plan, by what was asked for. */
  const followed = new Map<string, Group[]>();

  const streamOf = ({ stream, query }: ReadRequest): string => {
    if (query !== undefined) {
      throw new MillraceError("unsupported", "events are read by group, not by query", {
        where: { connection },
        hint: "use `filter` of the connection, or `transform` to select from them",
      });
    }
    if (stream !== undefined) return stream;
    throw new MillraceError("config", "a flow from CloudWatch Logs names a group", {
      where: { connection },
      hint: 'set `stream` to a name or a pattern: `"/aws/lambda/*"`',
    });
  };
  /** Columns by some messages. Text has one, whatever it is. */
  const columnsOf = async (
    sample: readonly string[],
    known: readonly Column[],
    signal: AbortSignal | undefined,
  ): Promise<Column[]> => {
    if (!isParsed) return [...metaColumns, messageColumn];
    const members = new Members();
    const values = sample.map((message) => valueOf(message, true, members));
    return messages.columns(values, known.length === 0 ? [messageColumn] : known, signal);
  };
  /** Some messages of a group that has any. */
  const sampleOf = async (groups: readonly Group[], signal: AbortSignal | undefined): Promise<string[]> => {
    if (!isParsed) return [];
    for (const group of groups.slice(0, 3)) {
      const from = beginOf(group, "earliest", service.now());
      for await (const page of service.events({ group: group.name, from, to: service.now() + 1 }, sampleSize, signal)) {
        return page.map(({ message }) => message);
      }
    }
    return [];
  };

  return {
    check: (signal) => service.greet(signal),

    async *streams(signal) {
      for await (const group of service.groups("", signal)) {
        const columns = await columnsOf(await sampleOf([group], signal), [], signal).catch((error: unknown) => {
          if (isMillraceError(error) && error.code === "aborted") throw error;
          return [];
        });
        yield { name: group.name, columns, key: [], cursors: [], kind: "topic" };
      }
    },

    async plan(request, { after, signal, peek }) {
      throwIfAborted(signal);
      const stream = streamOf(request);
      const groups = await groupsOf(service, stream, connection, signal);
      if (peek === true) {
        const columns = chosen(await columnsOf(await sampleOf(groups, signal), [], signal), request.columns);
        return { columns, key: [], parts: [], ...(after === undefined ? {} : { cursor: after }) };
      }
      followed.set(stream, groups);
      await spool.clear();
      const before = stateOf(after);
      const sample: string[] = [];
      const onEvents = (events: readonly LogEvent[]): void => {
        for (const { message } of events) if (sample.length < sampleSize) sample.push(message);
      };
      const states: Record<string, GroupState> = {};
      const gaps: PartSpec["gaps"] = [];
      const files: ExportedFile[] = [];
      const news: GroupNews["pieces"] = [];
      let isFar = false;
      for (const group of groups) {
        const own = before?.groups[group.name];
        const gap = own && gapOf(group, own, service.now());
        if (gap !== undefined) {
          if (options.on_gap === "fail") throw gapError(connection, gap);
          gaps.push(gap);
        }
        // A group that came since the last run is new as a whole.
        const start = before !== undefined && options.start === "latest" ? "earliest" : options.start;
        let begin = beginOf(group, start, service.now());
        if (before === undefined && options.backfill !== undefined) {
          const until = settledUntil(service.now(), options.backfill.settled_h);
          // Whole days, so that an export that was begun is found again.
          const from = Math.floor(begin / 86_400_000) * 86_400_000;
          if (until > from) {
            const slice = { group: group.name, from, to: until };
            files.push(...(await exportOf(service, await bucket(), slice, options, signal)));
            begin = until;
          }
        }
        const found = await newsOf({ service, options, spool }, group, own, begin, onEvents, signal);
        states[group.name] = found.state;
        news.push(...found.pieces);
        isFar ||= found.isFar || (own === undefined && options.start !== "earliest");
      }
      if (isParsed && sample.length === 0 && files.length > 0) {
        for await (const events of eventsIn(await bucket(), files[0]!, signal)) {
          onEvents(events);
          break;
        }
      }
      const known = before?.columns ?? [];
      const seen = sample.length === 0 && known.length === 0 ? await sampleOf(groups, signal) : sample;
      const columns = await columnsOf(seen, known, signal);
      const size = request.partBytes ?? partBytes;
      const specs: Omit<PartSpec, "columns" | "wanted">[] = [
        ...grouped(files, size / 10, (file) => file.size).map((some) => ({ pieces: [], files: some, gaps: [] })),
        // Of a slice nobody knows how much it holds.
        ...grouped(news, size, ({ bytes }) => bytes ?? size).map((some) => ({
          pieces: some.map(({ piece }) => piece),
          files: [],
          gaps: [],
        })),
      ];
      if (specs.length === 0 && (gaps.length > 0 || isFar)) specs.push({ pieces: [], files: [], gaps: [] });
      specs[0]?.gaps.push(...gaps);
      // Of groups without an event nobody knows what it will have.
      const isKnown = !isParsed || columns.length > metaColumns.length + 2;
      const read = chosen(columns, isKnown ? request.columns : undefined);
      return {
        columns: read,
        key: [],
        parts: specs.map((spec, index) => ({
          id: `cloudwatch-logs-${String(index + 1).padStart(5, "0")}`,
          spec: { ...spec, columns, wanted: read.map(({ name }) => name) } as unknown as Record<string, CursorValue>,
        })),
        cursor: cursorOf({ groups: states, columns }),
      };
    },

    async read(part, _request, { signal }) {
      throwIfAborted(signal);
      const { pieces, files, gaps, columns, wanted } = part.spec as unknown as PartSpec;
      const noted = gaps.map(({ group, why }): RejectedRecord => ({
        reason: `events may be lost: ${why}`,
        origin: group,
        record: "",
      }));
      async function* batches(): AsyncGenerator<MessageBatch> {
        for (const file of files) yield* messagesIn(file.group, eventsIn(await bucket(), file, signal), isParsed);
        for (const piece of pieces) {
          yield* messagesIn(piece.group, spool.events(piece) ?? eventsOf(piece, service, signal), isParsed);
        }
      }
      async function* checked(): AsyncGenerator<MessageBatch> {
        for await (const batch of batches()) {
          throwIfAborted(signal);
          yield batch;
        }
      }
      const payload = messages.payload(checked(), { all: columns, wanted, signal });
      return {
        ...payload,
        rows: () => payload.rows!() + noted.length,
        rejected: () => [...noted, ...payload.rejected!()],
      };
    },

    async wait(request, { after, milliseconds, signal }) {
      const groups = followed.get(streamOf(request));
      if (after === undefined || groups === undefined) return true;
      return tail.wait(groups, milliseconds, signal);
    },

    async [Symbol.asyncDispose]() {
      tail.close();
      await spool.clear();
      await (await opened)?.[Symbol.asyncDispose]();
      service.close();
    },
  };
}

/** What happened between the position of a group and what it still keeps is gone. */
function gapOf({ name, retentionMs }: Group, { to }: GroupState, now: number): PartSpec["gaps"][number] | undefined {
  if (retentionMs === undefined || to >= now - retentionMs) return undefined;
  return {
    group: name,
    why: `it was last read at ${new Date(to).toISOString()}, which is longer ago than it keeps events`,
  };
}

function gapError(connection: string, { group, why }: PartSpec["gaps"][number]): MillraceError {
  return new MillraceError("not-found", `events of the log group \`${group}\` may be lost: ${why}`, {
    where: { connection, stream: group },
    hint: "set `on_gap: continue` to go on with what is there, and a longer retention or more frequent runs for the time to come",
  });
}
