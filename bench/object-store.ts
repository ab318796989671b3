/** A bucket on Versity S3 Gateway: one object in ranges beside node:http, and many small ones beside the AWS SDK. */
import { PutBucketPolicyCommand } from "@aws-sdk/client-s3";
import { join } from "node:path";
import { forEachLimited } from "../src/core/index.ts";
import definition from "../src/stores/s3/index.ts";
import { startVersitygw } from "../test/services/versitygw.ts";
import { here, publish, race, table, type Contestant } from "./harness.ts";

/** 1 is 1 GB in ranges and 10,000 objects of 100 KB. */
const scale = Number(process.argv[3] ?? 1);
const bigBytes = Math.round(scale * 2 ** 30);
const smallBytes = 100_000;
const count = Math.round(scale * 10_000);
const bucket = "bench";

await using server = await startVersitygw();
process.env["ACCESS_KEY"] = server.accessKey;
process.env["SECRET_KEY"] = server.secretKey;
const options = definition.options.parse(await server.bucket(bucket));
const owner = server.client();
await owner.send(
  new PutBucketPolicyCommand({
    Bucket: bucket,
    Policy: JSON.stringify({
      Version: "2012-10-17",
      Statement: [{ Effect: "Allow", Principal: "*", Action: "s3:GetObject", Resource: `arn:aws:s3:::${bucket}/*` }],
    }),
  }),
);
owner.destroy();
const store = await (await definition.load()).open(options, { connection: "bench", folder: here });
await store.write("big", Buffer.alloc(bigBytes, "0123456789abcdef"));
const small = Buffer.alloc(smallBytes, "0123456789abcdef");
const keys = Array.from({ length: count }, (_, index) => `small/${index}`);
await forEachLimited(keys, 32, async (key) => void (await store.write(key, small)));
await store[Symbol.asyncDispose]();

const contestant = (name: string, way: string, what: string, bytes: number): Contestant => ({
  name,
  command: [
    process.execPath,
    join(here, "peers/object_read.ts"),
    way,
    what,
    server.endpoint,
    bucket,
    String(count),
    String(bytes),
  ],
});

const ranges = await race(
  [
    contestant("node:http, unsigned", "http", "ranges", bigBytes),
    contestant("millrace", "millrace", "ranges", bigBytes),
    contestant("AWS SDK", "sdk", "ranges", bigBytes),
  ],
  5,
);
const whole = await race(
  [
    contestant("node:http, unsigned", "http", "whole", smallBytes),
    contestant("millrace", "millrace", "whole", smallBytes),
    contestant("AWS SDK", "sdk", "whole", smallBytes),
  ],
  5,
);
publish("object-store", [
  {
    title: `One object of ${(bigBytes / 1e9).toFixed(2)} GB in ranges of 8 MiB, four at once (a row is a range)`,
    text: table(ranges, "node:http, unsigned", Math.ceil(bigBytes / (8 * 1024 * 1024))),
  },
  {
    title: `${count.toLocaleString("en")} objects of 100 KB, 32 at once (a row is an object)`,
    text: table(whole, "AWS SDK", count),
  },
]);
