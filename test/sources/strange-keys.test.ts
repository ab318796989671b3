import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { describe, expect, test } from "vitest";
import { makePlace, published, rowsOf, type Place } from "../pipeline/place.ts";
import { startVersitygw } from "../services/versitygw.ts";
import { startS3Double } from "../support/s3-double.ts";

interface Bucket extends AsyncDisposable {
  connection: Record<string, unknown>;
  put(key: string, text: string): Promise<void>;
}

function s3Bucket(options: Record<string, unknown>, server: AsyncDisposable): Bucket {
  const { bucket, endpoint, credentials } = options as {
    bucket: string;
    endpoint: string;
    credentials: { access_key_id: string; secret_access_key: string };
  };
  const identity = { accessKeyId: credentials.access_key_id, secretAccessKey: credentials.secret_access_key };
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials: identity });
  return {
    connection: { store: "s3", ...options },
    put: async (key, text) => void (await client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: text }))),
    async [Symbol.asyncDispose]() {
      client.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Places for objects, and the keys of each that no path of a store can be. */
const places: [name: string, strange: string[], open: (place: Place) => Promise<Bucket>][] = [
  [
    "Versity S3 Gateway",
    ["in/c\\d.csv", "in/deep\\er/e.csv"],
    async () => {
      const server = await startVersitygw();
      return s3Bucket(await server.bucket("raw"), server);
    },
  ],
  [
    "the double",
    ["in//c.csv", "in/../d.csv", "in/deep/./e.csv", "in/f\\g.csv", "in/h\u0001.csv"],
    async () => {
      const double = await startS3Double(["raw"]);
      return s3Bucket(double.options("raw"), double);
    },
  ],
  [
    "a folder",
    ["in/c\\d.csv", "in/deep\\er/e.csv"],
    async (place) => ({
      connection: { store: "fs", path: "./bucket" },
      put: async (key, text) => void (await place.put(`bucket/${key}`, text)),
      [Symbol.asyncDispose]: async () => undefined,
    }),
  ],
];

describe.each(places)("keys of %s that no path of a store can be", (_name, strange, open) => {
  const rejected = "select origin, reason from t__rejected order by origin";

  test("are told of by name in the rejected records, once; all else is read", async () => {
    await using place = await makePlace();
    await using bucket = await open(place);
    await bucket.put("in/a.csv", "id\n1\n");
    for (const key of strange) await bucket.put(key, "id\n100\n");
    await bucket.put("in/_tmp\\x.csv", "id\n100\n");
    await bucket.put("other/b\\c.csv", "id\n100\n");
    await using lake = await place.open(
      { t: { from: { connection: "raw", path: "in/**/*.csv" } } },
      { connections: { raw: bucket.connection } },
    );
    expect(await published(lake.run("t"))).toMatchObject({
      read: 1 + strange.length,
      written: 1,
      rejected: strange.length,
    });
    expect(await rowsOf(lake, "select id from t")).toEqual([[1]]);
    const told = await rowsOf(lake, rejected);
    expect(told.map(([origin]) => origin)).toEqual(strange.toSorted());
    for (const [origin, reason] of told) expect(reason).toContain(`\`${String(origin)}\` has a`);
    expect(await lake.run("t")).toMatchObject({ status: "unchanged" });
    // Another object under such a name is another thing to tell of.
    await bucket.put(strange[0]!, "id\n100\n200\n");
    expect(await published(lake.run("t"))).toMatchObject({ read: 1, written: 0, rejected: 1 });
    await bucket.put("in/b.csv", "id\n2\n");
    expect(await published(lake.run("t"))).toMatchObject({ read: 1, written: 1 });
    expect((await rowsOf(lake, rejected)).length).toBe(strange.length + 1);
  });

  test("and nothing beside them: the run fails and names one; asked for by name, the message names it", async () => {
    await using place = await makePlace();
    await using bucket = await open(place);
    for (const key of strange) await bucket.put(key, "id\n100\n");
    await using lake = await place.open(
      {
        t: { from: { connection: "raw", path: "in" } },
        one: { from: { connection: "raw", path: strange[0]! } },
      },
      { connections: { raw: bucket.connection } },
    );
    const code = expect.stringMatching(/^(unsupported|usage)$/);
    await expect(lake.run("t")).rejects.toMatchObject({ code, where: { file: strange.toSorted()[0] } });
    await expect(lake.run("one")).rejects.toMatchObject({ code, message: expect.stringContaining(strange[0]!) });
  });
});

test("links in a folder that is a store are told of", async () => {
  await using place = await makePlace();
  await place.put("bucket/in/a.csv", "id\n1\n");
  await mkdir(join(place.folder, "outside"));
  await writeFile(join(place.folder, "outside/b.csv"), "id\n2\n");
  await symlink(join(place.folder, "outside/b.csv"), join(place.folder, "bucket/in/b.csv"));
  await using lake = await place.open(
    { t: { from: { connection: "raw", path: "in/*.csv" } } },
    { connections: { raw: { store: "fs", path: "./bucket" } } },
  );
  expect(await published(lake.run("t"))).toMatchObject({ read: 2, written: 1, rejected: 1 });
  expect(await rowsOf(lake, "select origin, reason from t__rejected")).toEqual([
    ["in/b.csv", expect.stringContaining("is a symbolic link")],
  ]);
});
