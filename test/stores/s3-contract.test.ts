import { DeleteObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import definition from "../../src/stores/s3/index.ts";
import { type StoreContract, type StoreSubject, storeContract } from "../contracts/store.ts";
import { startMoto } from "../services/moto.ts";
import type { S3Server } from "../services/s3-server.ts";
import { startVersitygw } from "../services/versitygw.ts";
import { startS3Double } from "../support/s3-double.ts";

/** Writes objects with the client of the SDK, under keys that the store would not take. What a server refuses, it does not have. */
function plantWith(options: Record<string, unknown>): NonNullable<StoreSubject["plant"]> {
  const { bucket, prefix, endpoint, credentials } = options as {
    bucket: string;
    prefix?: string;
    endpoint: string;
    credentials: { access_key_id: string; secret_access_key: string };
  };
  return async (name) => {
    if (name.endsWith("link")) return false;
    const identity = { accessKeyId: credentials.access_key_id, secretAccessKey: credentials.secret_access_key };
    const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials: identity });
    const key = prefix === undefined ? name : `${prefix}/${name}`;
    try {
      await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: "strange" }));
      const page = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: key, EncodingType: "url" }));
      const keys = (page.Contents ?? []).map(({ Key }) => decodeURIComponent(Key!.replaceAll("+", " ")));
      if (keys.includes(key)) return true;
      // Some take it for another name.
      await client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }));
      return false;
    } catch {
      return false;
    } finally {
      client.destroy();
    }
  };
}

/** A bucket of a real server that is there for one run of the contract. */
function start(server: () => Promise<S3Server>, options: Record<string, unknown>): StoreContract["start"] {
  return async () => {
    const running = await server();
    const right = { ...(await running.bucket("contract")), ...options };
    return {
      options: right,
      plant: plantWith(right),
      secrets: [running.secretKey, "wrong-c4nary-secret"],
      wrong: [
        { what: "no such bucket", options: { ...right, bucket: "absent" }, code: "not-found" },
        { what: "the file of `ca` is absent", options: { ...right, ca: "absent.pem" }, code: "config" },
      ],
      [Symbol.asyncDispose]: () => running.stop(),
    };
  };
}

/** Its threads check the condition of a write and write in two steps. */
const unsteady = {
  "of many conditional creates exactly one wins, and its bytes stay": "moto checks a condition and writes in two steps",
  "so it is with objects that are written in several parts": "moto checks a condition and writes in two steps",
  "commits at the same time from two handles are all there, in one line of history":
    "moto checks a condition and writes in two steps",
};

// On Versity S3 Gateway.
storeContract({ name: "s3", definition, plants: true, start: start(startVersitygw, { prefix: "deep/lake" }) });
storeContract({ name: "s3 on moto", definition, plants: true, start: start(startMoto, {}), unsteady });

// The double is held to the same rules as the real servers first, and then strikes.
storeContract({
  name: "s3 on the double",
  definition,
  plants: true,
  faults: ["loseWriteReply", "refuse", "cutRead", "ignoreConditions"],
  async start() {
    const double = await startS3Double(["contract"]);
    const right = { ...double.options("contract"), prefix: "lake" };
    return {
      options: right,
      plant: plantWith(right),
      secrets: ["double-c4nary-secret"],
      wrong: [
        { what: "no such bucket", options: { ...right, bucket: "absent" }, code: "not-found" },
        { what: "nobody listens", options: { ...right, endpoint: "http://127.0.0.1:9" }, code: "unreachable" },
      ],
      faults: {
        loseWriteReply: async () => double.arm("PutObject", "lose"),
        refuse: async (times) => double.arm("*", "refuse", times),
        cutRead: async () => double.arm("GetObject", "cut"),
        ignoreConditions: async () => double.arm("PutObject", "ignore-conditions", 2),
      },
      [Symbol.asyncDispose]: () => double[Symbol.asyncDispose](),
    };
  },
});
