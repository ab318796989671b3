import { createHash, randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { crc32 } from "node:zlib";

export interface StoredObject {
  bytes: Buffer;
  etag: string;
  modified: Date;
  metadata: Record<string, string>;
  /** CRC-32 as S3 writes it; undefined when the writer sent none. */
  crc: string | undefined;
}

export interface Upload {
  key: string;
  metadata: Record<string, string>;
  parts: Map<number, { bytes: Buffer; etag: string }>;
}

/** What the server holds. */
export interface State {
  buckets: Map<string, Map<string, StoredObject>>;
  uploads: Map<string, Upload>;
  ignoresConditions: boolean;
}

export interface Reply {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

export interface Operation {
  /** As S3 calls it: `PutObject`. */
  name: string;
  key: string;
  /** Carries it out and says what S3 would answer. */
  carryOut(): Reply;
}

const none = Buffer.alloc(0);

const md5 = (bytes: Buffer): string => createHash("md5").update(bytes).digest("hex");

function crcText(bytes: Buffer): string {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(crc32(bytes));
  return buffer.toString("base64");
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function xml(name: string, content: string): Reply {
  const body = `<?xml version="1.0" encoding="UTF-8"?><${name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${content}</${name}>`;
  return { status: 200, headers: { "content-type": "application/xml" }, body: Buffer.from(body) };
}

export function refusal(status: number, code: string, headers: Record<string, string> = {}, message = code): Reply {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return { status, headers: { "content-type": "application/xml", ...headers }, body: Buffer.from(body) };
}

/** What a request asks for: path-style addresses only. */
export function operationOf(state: State, request: IncomingMessage, body: Buffer): Operation {
  // Not with `URL`, which would take `%2e%2e` for the folder above.
  const [path = "", query = ""] = (request.url ?? "/").split("?");
  const searchParams = new URLSearchParams(query);
  const [, bucketName = "", ...rest] = path.split("/");
  const key = decodeURIComponent(rest.join("/"));
  const objects = state.buckets.get(bucketName);
  const uploadId = searchParams.get("uploadId");
  const { headers } = request;
  const makers: Record<string, [name: string, carryOut: (objects: Map<string, StoredObject>) => Reply]> = {
    PUT: ["PutObject", (held) => put(state, held, key, headers, body)],
    GET: ["GetObject", (held) => get(held.get(key), headers)],
    HEAD: ["HeadObject", (held) => get(held.get(key), headers)],
    DELETE: ["DeleteObject", (held) => (held.delete(key), { status: 204, headers: {}, body: none })],
    "PUT upload": ["UploadPart", () => putPart(state, uploadId, Number(searchParams.get("partNumber")), headers, body)],
    "POST upload": ["CompleteMultipartUpload", (held) => complete(state, held, uploadId, body)],
    "DELETE upload": ["AbortMultipartUpload", () => abort(state, uploadId)],
    "POST uploads": ["CreateMultipartUpload", () => createUpload(state, key, headers)],
    "GET list": ["ListObjectsV2", (held) => list(held, searchParams)],
  };
  const kind = uploadId !== null ? " upload" : searchParams.has("uploads") ? " uploads" : key === "" ? " list" : "";
  const [name, carryOut] = makers[`${request.method}${kind}`] ?? ["unknown", () => refusal(501, "NotImplemented")];
  return {
    name,
    key,
    carryOut: () => (objects === undefined ? refusal(404, "NoSuchBucket") : carryOut(objects)),
  };
}

function metadataOf(headers: IncomingMessage["headers"]): Record<string, string> {
  const entries = Object.entries(headers).filter(([name]) => name.startsWith("x-amz-meta-"));
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]));
}

/** A refusal when the body is not what its checksum says. */
function assertBody(headers: IncomingMessage["headers"], body: Buffer): Reply | undefined {
  const crc = headers["x-amz-checksum-crc32"];
  if (crc !== undefined && crc !== crcText(body)) return refusal(400, "BadDigest");
  const sent = headers["content-md5"];
  if (sent !== undefined && sent !== Buffer.from(md5(body), "hex").toString("base64")) return refusal(400, "BadDigest");
  return undefined;
}

function put(
  state: State,
  objects: Map<string, StoredObject>,
  key: string,
  headers: IncomingMessage["headers"],
  body: Buffer,
): Reply {
  const bad = assertBody(headers, body);
  if (bad !== undefined) return bad;
  if (headers["if-none-match"] === "*" && objects.has(key) && !state.ignoresConditions) {
    return refusal(412, "PreconditionFailed");
  }
  const crc = headers["x-amz-checksum-crc32"] as string | undefined;
  const etag = `"${md5(body)}"`;
  objects.set(key, { bytes: body, etag, modified: new Date(), metadata: metadataOf(headers), crc });
  return { status: 200, headers: { etag, ...(crc && { "x-amz-checksum-crc32": crc }) }, body: none };
}

function get(object: StoredObject | undefined, headers: IncomingMessage["headers"]): Reply {
  if (object === undefined) return refusal(404, "NoSuchKey");
  const condition = headers["if-match"];
  if (condition !== undefined && condition !== object.etag) return refusal(412, "PreconditionFailed");
  const common = { etag: object.etag, "last-modified": object.modified.toUTCString(), ...object.metadata };
  const range = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "");
  if (range === null) {
    const crc = headers["x-amz-checksum-mode"] === "ENABLED" && object.crc;
    return {
      status: 200,
      headers: {
        ...common,
        "content-length": String(object.bytes.length),
        ...(crc && { "x-amz-checksum-crc32": crc, "x-amz-checksum-type": "FULL_OBJECT" }),
      },
      body: object.bytes,
    };
  }
  const [first, last] = [Number(range[1]), Math.min(Number(range[2]), object.bytes.length - 1)];
  if (first >= object.bytes.length) return refusal(416, "InvalidRange");
  const body = object.bytes.subarray(first, last + 1);
  return {
    status: 206,
    headers: { ...common, "content-range": `bytes ${first}-${last}/${object.bytes.length}` },
    body,
  };
}

function createUpload(state: State, key: string, headers: IncomingMessage["headers"]): Reply {
  const id = randomUUID();
  state.uploads.set(id, { key, metadata: metadataOf(headers), parts: new Map() });
  return xml("InitiateMultipartUploadResult", `<UploadId>${id}</UploadId>`);
}

function putPart(
  state: State,
  id: string | null,
  part: number,
  headers: IncomingMessage["headers"],
  body: Buffer,
): Reply {
  const upload = state.uploads.get(id ?? "");
  if (upload === undefined) return refusal(404, "NoSuchUpload");
  const bad = assertBody(headers, body);
  if (bad !== undefined) return bad;
  const etag = `"${md5(body)}"`;
  upload.parts.set(part, { bytes: body, etag });
  return { status: 200, headers: { etag, "x-amz-checksum-crc32": crcText(body) }, body: none };
}

function complete(state: State, objects: Map<string, StoredObject>, id: string | null, body: Buffer): Reply {
  const upload = state.uploads.get(id ?? "");
  if (upload === undefined) return refusal(404, "NoSuchUpload");
  const named = [...body.toString().matchAll(/<Part>.*?<\/Part>/gs)].map(([text]) => ({
    number: Number(/<PartNumber>(\d+)</.exec(text)?.[1]),
    etag: /<ETag>(.*?)</.exec(text)?.[1]?.replaceAll("&quot;", '"'),
  }));
  const parts = named.map(({ number, etag }) => {
    const part = upload.parts.get(number);
    return part?.etag === etag ? part : undefined;
  });
  if (parts.length === 0 || parts.includes(undefined)) return refusal(400, "InvalidPart");
  const small = parts.slice(0, -1).some((part) => part!.bytes.length < 5 * 1024 * 1024);
  if (small) return refusal(400, "EntityTooSmall");
  const bytes = Buffer.concat(parts.map((part) => part!.bytes));
  const etag = `"${md5(bytes)}-${parts.length}"`;
  objects.set(upload.key, { bytes, etag, modified: new Date(), metadata: upload.metadata, crc: undefined });
  state.uploads.delete(id!);
  return xml("CompleteMultipartUploadResult", `<ETag>${escapeXml(etag)}</ETag>`);
}

function abort(state: State, id: string | null): Reply {
  return state.uploads.delete(id ?? "") ? { status: 204, headers: {}, body: none } : refusal(404, "NoSuchUpload");
}

function list(objects: Map<string, StoredObject>, query: URLSearchParams): Reply {
  const prefix = query.get("prefix") ?? "";
  const delimiter = query.get("delimiter");
  const after = Buffer.from(query.get("continuation-token") ?? "", "base64url");
  const maximum = Number(query.get("max-keys") ?? 1000);
  const shown = (key: string): string =>
    query.get("encoding-type") === "url" ? encodeURIComponent(key).replaceAll("%2F", "/") : escapeXml(key);
  const keys = [...objects.keys()]
    .filter((key) => key.startsWith(prefix))
    .map((key) => ({ key, order: Buffer.from(key) }))
    .toSorted((left, right) => Buffer.compare(left.order, right.order));
  const entries = new Map<string, string>();
  let last = "";
  let isTruncated = false;
  for (const { key } of keys) {
    const end = delimiter === null ? -1 : key.indexOf(delimiter, prefix.length);
    const name = end < 0 ? key : key.slice(0, end + 1);
    if (Buffer.compare(Buffer.from(name), after) <= 0 || entries.has(name)) continue;
    if (entries.size === maximum) {
      isTruncated = true;
      break;
    }
    last = name;
    entries.set(
      name,
      end < 0
        ? contents(shown(key), objects.get(key)!)
        : `<CommonPrefixes><Prefix>${shown(name)}</Prefix></CommonPrefixes>`,
    );
  }
  const token = `<NextContinuationToken>${Buffer.from(last).toString("base64url")}</NextContinuationToken>`;
  const encoding = query.get("encoding-type") === "url" ? "<EncodingType>url</EncodingType>" : "";
  return xml(
    "ListBucketResult",
    `<KeyCount>${entries.size}</KeyCount><IsTruncated>${isTruncated}</IsTruncated>${isTruncated ? token : ""}${encoding}${[...entries.values()].join("")}`,
  );
}

function contents(key: string, object: StoredObject): string {
  return `<Contents><Key>${key}</Key><LastModified>${object.modified.toISOString()}</LastModified><ETag>${escapeXml(object.etag)}</ETag><Size>${object.bytes.length}</Size></Contents>`;
}
