import type { IncomingMessage } from "node:http";
import type { Readable } from "node:stream";
import { GetObjectCommand } from "@aws-sdk/client-s3";
import type { Bucket } from "./bucket.ts";
import { isRefusal } from "./errors.ts";
import { keyOf } from "./paths.ts";

/** Characters of a refusal that are read; S3 sends some hundred. */
const maximumRefusal = 65_536;
const entities: Record<string, string> = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'" };

export interface GetOptions {
  /** `bytes=0-99`. */
  range?: string;
  /** The object must still have this etag. */
  etag?: string | undefined;
  /** Ask for the checksum that was stored with the object. */
  checksum?: boolean;
}

/** The head of an object, or of a part of one, and the body that is still to be read. */
export interface Got {
  body: Readable;
  length: number | undefined;
  /** `bytes 0-99/1000`. */
  range: string | undefined;
  etag: string | undefined;
  modified: Date | undefined;
  /** The write that made it, when it was one of ours. */
  writer: string | undefined;
  ChecksumCRC32: string | undefined;
  ChecksumType: string | undefined;
}

/** Metadata of an object that tells which write made it. */
export const writeKey = "millrace-write";

/** One try of a read, its errors translated. Until the wire has had success once, the SDK is asked whether a refusal is true. */
export function getObject(bucket: Bucket, path: string, options: GetOptions, signal?: AbortSignal): Promise<Got> {
  return bucket.once(
    "read",
    path,
    async (sending) => {
      const { wire } = bucket;
      const response = await wire.get(keyOf(bucket.root, path), headersOf(bucket, options), signal);
      if (response?.statusCode === 200 || response?.statusCode === 206) {
        wire.trust(true);
        return gotFrom(response);
      }
      if (response !== undefined && wire.isProven()) {
        const refusal = await refusalOf(response);
        if (refusal.name === "RequestTimeTooSkewed") wire.setClock(response.headers.date);
        throw refusal;
      }
      response?.destroy();
      const got = await bySdk(bucket, path, options, sending);
      if (isRefusal(response?.statusCode)) wire.trust(false);
      return got;
    },
    signal,
  );
}

function headersOf({ common }: Bucket, { range, etag, checksum }: GetOptions): Record<string, string> {
  return {
    ...(range && { range }),
    ...(etag && { "if-match": etag }),
    ...(checksum && { "x-amz-checksum-mode": "ENABLED" }),
    ...(common.RequestPayer && { "x-amz-request-payer": common.RequestPayer }),
  };
}

function gotFrom(response: IncomingMessage): Got {
  // From here on whoever reads the body watches over it.
  response.setTimeout(0);
  const header = (name: string): string | undefined => response.headers[name] as string | undefined;
  const length = header("content-length");
  const modified = header("last-modified");
  return {
    body: response,
    length: length === undefined ? undefined : Number(length),
    range: header("content-range"),
    etag: header("etag"),
    modified: modified === undefined ? undefined : new Date(modified),
    writer: header(`x-amz-meta-${writeKey}`),
    ChecksumCRC32: header("x-amz-checksum-crc32"),
    ChecksumType: header("x-amz-checksum-type"),
  };
}

/** What the SDK would make of a refusal. */
async function refusalOf(response: IncomingMessage): Promise<Error> {
  let text = "";
  try {
    for await (const chunk of response.setEncoding("utf8") as AsyncIterable<string>) {
      text += chunk;
      if (text.length > maximumRefusal) break;
    }
  } catch {
    // The status alone says enough.
  }
  const element = (name: string): string | undefined =>
    new RegExp(`<${name}>([^<]*)</${name}>`)
      .exec(text)?.[1]
      ?.replaceAll(/&(amp|lt|gt|quot|apos);/g, (entity) => entities[entity]!);
  const { statusCode: httpStatusCode, headers } = response;
  const requestId = headers["x-amz-request-id"];
  return Object.assign(new Error(element("Message") ?? `status ${httpStatusCode}`), {
    name: element("Code") ?? "Unknown",
    Region: element("Region"),
    $metadata: { httpStatusCode, requestId },
    $response: { headers },
  });
}

async function bySdk(
  bucket: Bucket,
  path: string,
  { range, etag, checksum }: GetOptions,
  sending: { abortSignal?: AbortSignal },
): Promise<Got> {
  const command = new GetObjectCommand({
    ...bucket.common,
    Key: keyOf(bucket.root, path),
    ...(range && { Range: range }),
    ...(etag && { IfMatch: etag }),
    ...(checksum && { ChecksumMode: "ENABLED" }),
  });
  const reply = await bucket.client.send(command, sending);
  return {
    body: reply.Body as Readable,
    length: reply.ContentLength,
    range: reply.ContentRange,
    etag: reply.ETag,
    modified: reply.LastModified,
    writer: reply.Metadata?.[writeKey],
    ChecksumCRC32: reply.ChecksumCRC32,
    ChecksumType: reply.ChecksumType,
  };
}
