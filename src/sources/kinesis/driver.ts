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
} from "../../core/index.ts";
import { openMessages, type MessageBatch } from "../messages/index.ts";
import { chosen } from "../messages/chosen.ts";
import type { KinesisOptions } from "./index.ts";
import { LiveReaders } from "./live.ts";
import { gapError, isSilent, newsOf, rejectedGap, type Subject } from "./plan.ts";
import { cursorOf, stateOf } from "./position.ts";
import type { ShardReader } from "./reader.ts";
import { messagesIn, metaColumns, recordsOf, type PartSpec } from "./read.ts";
import { Sample, sampleOf } from "./sample.ts";
import { openService } from "./service.ts";
import { Spool, type Range } from "./spool.ts";

const partBytes = 64 * 1024 ** 2;

export async function open(options: KinesisOptions, context: SourceContext): Promise<Source> {
  const { connection } = context;
  const service = await openService(options, context.folder, connection);
  const messages = await openMessages(options, context, { meta: metaColumns });
  const spool = new Spool(join(context.scratch ?? tmpdir(), "kinesis"));
  const subjects = new Map<string, Subject>();

  const subjectOf = ({ stream, query }: ReadRequest): Subject => {
    if (query !== undefined) throw new MillraceError("unsupported", "a stream of records has no query language");
    if (stream === undefined) {
      throw new MillraceError("config", "a flow from Kinesis names a stream", {
        where: { connection },
        hint: "set `stream` to its name or ARN: `millrace discover` lists them",
      });
    }
    let subject = subjects.get(stream);
    if (subject === undefined) {
      subject = { service, stream, options, spool, live: new LiveReaders(service, stream, options) };
      subjects.set(stream, subject);
    }
    return subject;
  };
  /** Columns of a stream by what lies in it. */
  const columnsOf = async ({ stream }: Subject, signal: AbortSignal | undefined): Promise<Column[]> =>
    messages.columns(await sampleOf(service, stream, options, signal), [], signal);

  return {
    check: (signal) => service.greet(signal),

    async *streams(signal) {
      for await (const name of service.streams(signal)) {
        const columns = await columnsOf(subjectOf({ stream: name }), signal).catch((error: unknown) => {
          if (isMillraceError(error) && error.code === "aborted") throw error;
          return [];
        });
        yield { name, columns, key: [], cursors: [], kind: "topic" };
      }
    },

    async plan(request, { after, signal, peek }) {
      throwIfAborted(signal);
      const subject = subjectOf(request);
      if (peek === true) {
        const columns = chosen(await columnsOf(subject, signal), request.columns);
        return { columns, key: [], parts: [], ...(after === undefined ? {} : { cursor: after }) };
      }
      await spool.clear();
      const sample = new Sample();
      const news = await newsOf(
        subject,
        after,
        request.partBytes ?? partBytes,
        (shard, records) => sample.add(shard, records),
        signal,
      );
      const { values } = sample;
      const known = stateOf(after)?.columns ?? [];
      const isUnknown = values.length === 0 && known.length === 0;
      const sampled = isUnknown ? await sampleOf(service, subject.stream, options, signal) : values;
      const all = await messages.columns(sampled, known, signal);
      // Of a stream without a record nobody knows what it will have.
      const columns = chosen(all, all.length > metaColumns.length + 1 ? request.columns : undefined);
      return {
        columns,
        key: [],
        parts: news.specs.map((spec, index) => ({
          id: `kinesis-${String(index + 1).padStart(5, "0")}`,
          bytes: spec.ranges.reduce((sum, { bytes }) => sum + bytes, 0),
          spec: { ...spec, columns: all, wanted: columns.map(({ name }) => name) } as unknown as Record<
            string,
            CursorValue
          >,
        })),
        cursor: cursorOf({ ...news.state, columns: all }),
        ...(news.more ? { more: true } : {}),
      };
    },

    async read(part, request, { signal }) {
      throwIfAborted(signal);
      const { live, stream } = subjectOf(request);
      const { ranges, gaps, columns, wanted } = part.spec as unknown as PartSpec;
      const rejected: RejectedRecord[] = gaps.map((gap) => rejectedGap(stream, gap));
      const onMissing = (range: Range, missing: number): void => {
        const gap = {
          shard: range.shard,
          after: range.first,
          why: `${missing} records that the run had found are gone`,
        };
        if (options.on_gap === "fail") throw gapError(stream, gap);
        rejected.push(rejectedGap(stream, gap));
      };
      const readerAt = ({ shard, first }: Range): ShardReader => live.poll(shard, { at: "record", sequence: first });
      async function* batches(): AsyncGenerator<MessageBatch> {
        for (const range of ranges) {
          const records = recordsOf(range, spool, readerAt, onMissing, signal);
          yield* messagesIn(stream, range.shard, records, rejected, signal);
        }
      }
      const payload = messages.payload(batches(), { all: columns, wanted, signal });
      return {
        ...payload,
        rows: () => payload.rows!() + rejected.length,
        rejected: () => [...rejected, ...payload.rejected!()],
      };
    },

    async wait(request, { after, milliseconds, signal }) {
      const state = stateOf(after);
      if (state === undefined) return true;
      const subject = subjectOf(request);
      // A stream that is silent for long is to be noted as seen.
      if (subject.retentionMs === undefined || isSilent(state.shards, service.now(), subject.retentionMs)) return true;
      return subject.live.wait(state.shards, milliseconds, signal);
    },

    async lag(request) {
      return { seconds: subjectOf(request).live.behindMs() / 1000 };
    },

    async [Symbol.asyncDispose]() {
      for (const { live } of subjects.values()) live.close();
      await spool.clear();
      service.close();
    },
  };
}
