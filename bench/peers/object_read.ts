/**
 * Reads objects of an S3 server in one of three ways and proves that all bytes came:
 * `node object_read.ts millrace|sdk|http ranges|whole <endpoint> <bucket> <keys> <bytes of each>`.
 * `ranges` reads one object in ranges of 8 MiB, four at once; `whole` reads `keys` objects, 32 at once.
 */
import { Agent, get } from "node:http";
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { forEachLimited, type RandomAccess } from "../../src/core/index.ts";
import definition from "../../src/stores/s3/index.ts";

const [way, what, endpoint, bucket, keyCount, size] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
];
const bytes = Number(size);
const rangeBytes = 8 * 1024 * 1024;
const credentials = { accessKeyId: process.env["ACCESS_KEY"]!, secretAccessKey: process.env["SECRET_KEY"]! };
/** `[offset, length)` of the object `big`, or all of a small one. */
type Read = (key: string, range?: [offset: number, length: number]) => Promise<Uint8Array>;

async function reader(): Promise<{ read: Read; close: () => PromiseLike<void> | void }> {
  if (way === "millrace") {
    const { accessKeyId: access_key_id, secretAccessKey: secret_access_key } = credentials;
    const options = { bucket, endpoint, credentials: { access_key_id, secret_access_key } };
    const store = await (
      await definition.load()
    ).open(definition.options.parse(options), { connection: "", folder: "" });
    let file: Promise<RandomAccess> | undefined;
    return {
      read: async (key, range) => (range ? (await (file ??= store.open(key))).read(...range) : store.read(key)),
      close: () => store[Symbol.asyncDispose](),
    };
  }
  const span = (range?: [number, number]): string | undefined =>
    range && `bytes=${range[0]}-${range[0] + range[1] - 1}`;
  if (way === "sdk") {
    const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
    return {
      read: async (key, range) => {
        const reply = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key, Range: span(range) }));
        return reply.Body!.transformToByteArray();
      },
      close: () => client.destroy(),
    };
  }
  // Without signature: the bucket is public.
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  return {
    read: (key, range) =>
      new Promise((resolve, reject) => {
        get(`${endpoint}/${bucket}/${key}`, { agent, headers: range ? { range: span(range)! } : {} }, (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () => resolve(Buffer.concat(chunks)));
          response.on("error", reject);
        }).on("error", reject);
      }),
    close: () => agent.destroy(),
  };
}

const { read, close } = await reader();
let total = 0;
if (what === "ranges") {
  const offsets = Array.from({ length: Math.ceil(bytes / rangeBytes) }, (_, index) => index * rangeBytes);
  await forEachLimited(offsets, 4, async (offset) => {
    const { length } = await read("big", [offset, Math.min(rangeBytes, bytes - offset)]);
    total += length;
  });
} else {
  const keys = Array.from({ length: Number(keyCount) }, (_, index) => `small/${index}`);
  await forEachLimited(keys, 32, async (key) => {
    const { length } = await read(key);
    total += length;
  });
}
await close();
const expected = what === "ranges" ? bytes : bytes * Number(keyCount);
if (total !== expected) {
  console.error(`${total} bytes came instead of ${expected}`);
  process.exit(1);
}
