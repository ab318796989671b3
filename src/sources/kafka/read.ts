import type { Payload, RejectedRecord } from "../../core/index.ts";
import type { MessageBatch, Messages } from "../messages/index.ts";
import type { StreamOptions } from "./options.ts";
import type { PartSpec } from "./plan.ts";
import type { Gap, RangeReader } from "./ranges.ts";
import { RecordReader } from "./rows.ts";

/** What one request brings; a larger record comes whole. */
const fetchBytes = 4 * 1024 ** 2;

/** The records of a part as NDJSON. Gaps that the stream goes on over are among the rejected records. */
export function readPart(
  { ranges, columns, gaps }: PartSpec,
  context: {
    reader: RangeReader;
    messages: Messages;
    options: StreamOptions;
    wanted: readonly string[] | undefined;
    signal?: AbortSignal | undefined;
  },
): Payload {
  const { reader, messages, options, wanted, signal } = context;
  const own: RejectedRecord[] = gaps.map(asRejected);
  const committed = options.isolation === "read_committed";
  const onGap = options.on_gap === "fail" ? undefined : (gap: Gap): void => void own.push(asRejected(gap));
  async function* batches(): AsyncGenerator<MessageBatch> {
    for (const range of ranges) {
      const records = new RecordReader(range.topic, range.partition, options.key);
      try {
        for await (const { answer, batches, from } of reader.read(
          range,
          { committed, maximumBytes: fetchBytes, onGap },
          signal,
        )) {
          yield records.messages(answer, batches, from, range.to, committed);
        }
      } finally {
        own.push(...records.rejected);
      }
    }
  }
  const payload = messages.payload(batches(), { all: columns, wanted, signal });
  return {
    ...payload,
    rows: () => payload.rows!() + own.length,
    rejected: () => [...own, ...payload.rejected!()],
  };
}

const asRejected = ({ topic, partition, from, reason }: Gap): RejectedRecord => ({
  reason,
  origin: `${topic}/${partition}/${from}`,
  record: "",
});
