import { APIName, GetDataEndpointCommand, KinesisVideoClient } from "@aws-sdk/client-kinesis-video";
import {
  GetMediaForFragmentListCommand,
  KinesisVideoArchivedMediaClient,
  ListFragmentsCommand,
} from "@aws-sdk/client-kinesis-video-archived-media";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { isMillraceError, messageOf, MillraceError, retry, throwIfAborted } from "../../core/index.ts";
import { account, regionOf } from "../../protocols/aws/account.ts";
import type { KinesisVideoOptions } from "./index.ts";

/** A piece of a stream, as the service counts it. */
export interface Fragment {
  /** Decimal digits; greater for what came later. */
  number: string;
  bytes: number;
  milliseconds: number;
  /** Milliseconds since the epoch, by the clock of the camera. */
  produced: number;
  /** The same, by the clock of the service. */
  arrived: number;
}

export interface Archive {
  /** Fragments that arrived from a time on, in the order of their numbers. Times are milliseconds since the epoch. */
  list(since: number, until: number, signal?: AbortSignal): Promise<Fragment[]>;
  /** Fragments, one after the other, each as Matroska. */
  media(numbers: readonly string[], signal?: AbortSignal): Promise<Buffer>;
  close(): void;
}

/** The service gives so many at most. */
const fragmentsOfPage = 1000;

export async function openArchive(options: KinesisVideoOptions, connection: string): Promise<Archive> {
  const requestHandler = new NodeHttpHandler({ socketTimeout: 60_000 });
  const common = { requestHandler, maxAttempts: 3, ...regionOf(options), ...(await account(options, requestHandler)) };
  const control = new KinesisVideoClient({ ...common, ...(options.endpoint && { endpoint: options.endpoint }) });
  const stream = options.stream.startsWith("arn:") ? { StreamARN: options.stream } : { StreamName: options.stream };
  const clients = new Map<APIName, Promise<KinesisVideoArchivedMediaClient>>();

  /** Each call of a stream has an address of its own. */
  const clientFor = (call: APIName): Promise<KinesisVideoArchivedMediaClient> => {
    const known = clients.get(call);
    if (known !== undefined) return known;
    const made = control
      .send(new GetDataEndpointCommand({ ...stream, APIName: call }))
      .then(
        ({ DataEndpoint: endpoint }) =>
          new KinesisVideoArchivedMediaClient({ ...common, ...(endpoint && { endpoint }) }),
      );
    clients.set(call, made);
    made.catch(() => clients.delete(call));
    return made;
  };
  const sending = (signal: AbortSignal | undefined): { abortSignal?: AbortSignal } =>
    signal ? { abortSignal: signal } : {};
  // The SDK does not try again where the limits of this service are meant.
  const asked = <T>(signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> =>
    retry(
      async () => {
        throwIfAborted(signal);
        try {
          return await action();
        } catch (error) {
          throwIfAborted(signal);
          throw explained(error, options.stream, connection);
        }
      },
      signal === undefined ? {} : { signal },
    );

  return {
    list: (since, until, signal) =>
      asked(signal, async () => {
        const client = await clientFor(APIName.LIST_FRAGMENTS);
        const fragments: Fragment[] = [];
        let token: string | undefined;
        do {
          const FragmentSelector = {
            FragmentSelectorType: "SERVER_TIMESTAMP",
            TimestampRange: { StartTimestamp: new Date(since), EndTimestamp: new Date(until) },
          } as const;
          const page = await client.send(
            new ListFragmentsCommand({
              ...stream,
              MaxResults: fragmentsOfPage,
              FragmentSelector,
              ...(token && { NextToken: token }),
            }),
            sending(signal),
          );
          for (const each of page.Fragments ?? []) {
            fragments.push({
              number: each.FragmentNumber!,
              bytes: each.FragmentSizeInBytes ?? 0,
              milliseconds: each.FragmentLengthInMilliseconds ?? 0,
              produced: (each.ProducerTimestamp ?? each.ServerTimestamp!).getTime(),
              arrived: each.ServerTimestamp!.getTime(),
            });
          }
          token = page.NextToken;
        } while (token !== undefined);
        return fragments.toSorted((left, right) => compareNumbers(left.number, right.number));
      }),
    media: (numbers, signal) =>
      asked(signal, async () => {
        const client = await clientFor(APIName.GET_MEDIA_FOR_FRAGMENT_LIST);
        const answer = await client.send(
          new GetMediaForFragmentListCommand({ ...stream, Fragments: [...numbers] }),
          sending(signal),
        );
        return Buffer.from((await answer.Payload?.transformToByteArray()) ?? []);
      }),
    close() {
      control.destroy();
      for (const client of clients.values()) void client.then((each) => each.destroy()).catch(() => undefined);
    },
  };
}

/** Numbers of fragments have more digits than a double holds. */
export function compareNumbers(left: string, right: string): number {
  const [a, b] = [BigInt(left), BigInt(right)];
  return a < b ? -1 : a > b ? 1 : 0;
}

function explained(error: unknown, stream: string, connection: string): MillraceError {
  if (isMillraceError(error)) return error;
  const { name } = error as Error;
  const where = { connection };
  if (name === "ResourceNotFoundException") {
    return new MillraceError("not-found", `there is no stream \`${stream}\` of Kinesis Video, or it retains nothing`, {
      cause: error,
      where,
      hint: "`aws kinesisvideo describe-stream` shows region and retention; a retention of 0 hours keeps nothing to read",
    });
  }
  if (/NotAuthorized|AccessDenied|UnrecognizedClient|InvalidSignature|ExpiredToken|CredentialsProvider/.test(name)) {
    return new MillraceError("permission", `Kinesis Video refuses the stream \`${stream}\`: ${messageOf(error)}`, {
      cause: error,
      where,
      hint: "kinesisvideo:GetDataEndpoint, ListFragments and GetMediaForFragmentList must be allowed",
    });
  }
  const isOwn = /InvalidArgument|Validation|MissingCodec|InvalidCodec|NoDataRetention|UnsupportedStreamMediaType/.test(
    name,
  );
  return new MillraceError(
    isOwn ? "unsupported" : "unreachable",
    `Kinesis Video, stream \`${stream}\`: ${messageOf(error)}`,
    {
      cause: error,
      where,
      ...(isOwn ? {} : { temporary: true }),
    },
  );
}
