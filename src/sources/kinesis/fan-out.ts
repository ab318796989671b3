import { setTimeout as sleep } from "node:timers/promises";
import {
  DescribeStreamConsumerCommand,
  RegisterStreamConsumerCommand,
  SubscribeToShardCommand,
  type SubscribeToShardEventStream,
} from "@aws-sdk/client-kinesis";
import { isMillraceError, MillraceError, throwIfAborted } from "../../core/index.ts";
import { awsProblem, calling, errorName } from "../../protocols/aws/problems.ts";
import { placeOf, type Position, type StreamName } from "./position.ts";
import { childOf, recordOf, type Page, type ShardReader } from "./reader.ts";
import type { Service } from "./service.ts";

/** A second subscription to a shard is refused within this time of the first. */
const betweenSubscriptionsMs = 5_000;

/**
 * The ARN of a consumer, by its name or ARN; one that is not there is registered. Undefined: the server has no enhanced fan-out.
 */
export async function consumerOf(
  service: Service,
  arn: string,
  consumer: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const client = service.pushing();
  const sending = signal ? { abortSignal: signal } : {};
  const own = consumer.startsWith("arn:") ? { ConsumerARN: consumer } : { StreamARN: arn, ConsumerName: consumer };
  const words = service.words(`the consumer \`${consumer}\``);
  try {
    for (let isMade = false; ;) {
      const found = await calling(words, signal, async () =>
        client.send(new DescribeStreamConsumerCommand(own), sending),
      ).catch((error: unknown) => {
        if (isMillraceError(error) && error.code === "not-found" && "ConsumerName" in own && !isMade) return undefined;
        throw error;
      });
      if (found?.ConsumerDescription?.ConsumerStatus === "ACTIVE") return found.ConsumerDescription.ConsumerARN!;
      if (found === undefined) {
        await calling(words, signal, async () =>
          client.send(new RegisterStreamConsumerCommand({ StreamARN: arn, ConsumerName: consumer }), sending),
        );
        isMade = true;
      }
      await sleep(100, undefined, sending.abortSignal ? { signal: sending.abortSignal } : {}).catch(() => undefined);
      throwIfAborted(signal);
    }
  } catch (error) {
    if (isMillraceError(error) && error.code === "unsupported") return undefined;
    throw error;
  }
}

type Events = AsyncIterator<SubscribeToShardEventStream>;
type Event = IteratorResult<SubscribeToShardEventStream>;

/** Is told by the service what comes into a shard, on a connection that is renewed when it ends, which it does every five minutes. */
export function subscribeToShard(
  service: Service,
  stream: StreamName,
  consumer: string,
  shard: string,
  from: Position,
): ShardReader {
  let position = from;
  const stop = new AbortController();
  let events: Events | undefined;
  /** Outlives a call that was stopped: what it would have given is given to the next. */
  let coming: Promise<Event> | undefined;
  let subscribedAt = -Infinity;
  const words = service.words(`the shard \`${shard}\` of the stream \`${stream}\``);

  const subscribe = async (): Promise<Events> => {
    const wait = subscribedAt + betweenSubscriptionsMs - performance.now();
    if (wait > 0) await sleep(wait, undefined, { signal: stop.signal });
    const { type, time, sequence } = placeOf(position);
    const StartingPosition = {
      Type: type,
      ...(time && { Timestamp: time }),
      ...(sequence && { SequenceNumber: sequence }),
    };
    const input = { ConsumerARN: consumer, ShardId: shard, StartingPosition };
    const answer = await service.pushing().send(new SubscribeToShardCommand(input), { abortSignal: stop.signal });
    subscribedAt = performance.now();
    return answer.EventStream![Symbol.asyncIterator]();
  };
  const nextEvent = async (): Promise<Event> => {
    events ??= await subscribe();
    return events.next();
  };
  const pageOf = ({ value, done }: Event, asked: number): Page => {
    if (done === true) throw new Error("the subscription has ended");
    const { SubscribeToShardEvent: event } = value;
    if (event === undefined) throw failureIn(value);
    const records = (event.Records ?? []).map(recordOf);
    const page: Page = { records, asked, behindMs: event.MillisBehindLatest ?? 0 };
    if (event.ContinuationSequenceNumber === undefined || (event.ChildShards?.length ?? 0) > 0) {
      page.ended = (event.ChildShards ?? []).map(childOf);
    } else position = { at: "after", sequence: event.ContinuationSequenceNumber };
    return page;
  };

  return {
    next: (_limit, signal) =>
      calling(words, signal, async () => {
        const asked = service.now();
        coming ??= nextEvent();
        await settled(coming, signal);
        try {
          return pageOf(await coming, asked);
        } catch (error) {
          events = undefined;
          throw broken(error, words);
        } finally {
          coming = undefined;
        }
      }),
    close: () => stop.abort(),
  };
}

/** Waits until the promise is settled, however; throws `aborted` when the signal is given first. */
async function settled(promise: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  const { promise: stopped, resolve } = Promise.withResolvers<void>();
  const onAbort = (): void => resolve();
  signal?.addEventListener("abort", onAbort, { once: true });
  await Promise.race([promise.catch(() => undefined), stopped]);
  signal?.removeEventListener("abort", onAbort);
  throwIfAborted(signal);
}

/** An event that tells of an error has it under the error's name. */
function failureIn(event: SubscribeToShardEventStream): Error {
  const [name = "an unknown event"] = Object.keys(event);
  const given = Object.values(event)[0] as unknown;
  return given instanceof Error ? given : Object.assign(new Error(name), { name });
}

function broken(error: unknown, words: Parameters<typeof awsProblem>[1]): MillraceError {
  const known = awsProblem(error, words);
  const again = /ResourceInUse|InternalFailure|the subscription has ended/.test(`${errorName(error)} ${known.message}`);
  if (!again || known.temporary) return known;
  return new MillraceError("unreachable", known.message, { cause: error, temporary: true, where: known.where });
}
