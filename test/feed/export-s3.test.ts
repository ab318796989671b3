import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GetObjectCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";
import { expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { startVersitygw } from "../services/versitygw.ts";
import { startS3Double } from "../support/s3-double.ts";
import { makePlace } from "../pipeline/place.ts";
import { readers, readWith } from "./export/readers.ts";
import { everyType } from "./export/subject.ts";

const bin = join(import.meta.dirname, "../../bin/millrace.mjs");
const changes = new Set(["PutObject", "DeleteObject", "CompleteMultipartUpload"]);

async function objectsOf(client: S3Client, bucket: string, prefix: string): Promise<Map<string, Buffer>> {
  const objects = new Map<string, Buffer>();
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }));
  for (const { Key } of Contents) {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key }));
    objects.set(Key!.slice(prefix.length), Buffer.from(await Body!.transformToByteArray()));
  }
  return objects;
}

test("from a lake in a bucket to a folder and to another bucket: the same bytes, in every format", async () => {
  await using server = await startVersitygw();
  await using place = await makePlace();
  {
    await using engine = await place.engine();
    await engine.export(everyType(300), join(place.folder, "t.parquet"), "FORMAT parquet");
  }
  const config = {
    store: { store: "s3", ...(await server.bucket("lake")), prefix: "a" },
    connections: { shards: { store: "s3", ...(await server.bucket("shards")) } },
    cache: { path: join(place.folder, "cache") },
    flows: { t: { from: { path: "t.parquet" }, split: { train: 0.5, test: 0.5, key: "id" } } },
  };
  await writeFile(join(place.folder, "millrace.yaml"), JSON.stringify(config));
  {
    await using lake = await openLake({ folder: place.folder });
    expect(await lake.run("t")).toMatchObject({ status: "published", written: 300 });
  }
  // The copies of the run that wrote them are no help.
  await rm(join(place.folder, "cache"), { recursive: true, force: true });
  const client = server.client();
  await using lake = await openLake({ folder: place.folder });
  for (const format of ["parquet", "csv", "tsv", "jsonl", "json", "arrow", "webdataset", "mds", "tfrecord"]) {
    const options = { format, split: ["train", "test"], order: "shuffle", shardBytes: 40_000 } as const;
    const to = join(place.folder, format);
    const local = await lake.export("t", { ...options, split: [...options.split], to });
    const remote = await lake.export("t", {
      ...options,
      split: [...options.split],
      store: "shards",
      to: `x/${format}`,
    });
    expect(remote.files, format).toEqual(local.files);
    expect(remote.to).toBe(`s3://shards/x/${format}`);
    const objects = await objectsOf(client, "shards", `x/${format}/`);
    const names = (await readdir(to, { recursive: true })).filter((name) => name.includes("."));
    expect([...objects.keys()].toSorted(), format).toEqual(names.toSorted());
    for (const name of names) expect(objects.get(name)!.equals(await readFile(join(to, name))), name).toBe(true);
  }
  client.destroy();
  const python = await readers();
  const read = await readWith(
    python,
    "read_arrow.py",
    join(place.folder, "t.parquet"),
    join(place.folder, "arrow/*/*.arrow"),
  );
  expect(new Set(JSON.parse(read) as number[]).size).toBe(300);
}, 600_000);

test("an export to a bucket that is killed at any request is none, and the next one takes its place", async () => {
  await using double = await startS3Double(["shards"]);
  const folder = await mkdtemp(join(tmpdir(), "millrace-export-kill-"));
  const client = new S3Client({
    endpoint: double.endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: "any", secretAccessKey: "any" },
  });
  try {
    const config = {
      store: "./lake",
      connections: { shards: { store: "s3", ...double.options("shards") } },
      flows: { t: { from: { path: "t.csv" } } },
    };
    await writeFile(join(folder, "millrace.yaml"), JSON.stringify(config));
    await writeFile(
      join(folder, "t.csv"),
      ["id", ...Array.from({ length: 1000 }, (_, id) => String(id)), ""].join("\n"),
    );
    await using lake = await openLake({ folder });
    await lake.run("t");
    const options = { format: "webdataset", store: "shards", to: "t", shardBytes: 600_000 };
    const { files } = await lake.export("t", options);
    expect(files.length).toBeGreaterThan(1);
    const whole = await objectsOf(client, "shards", "t/");
    const args = ["export", "t", "--format", "webdataset", "--store", "shards", "--to", "t", "--shard-size", "600KB"];
    const wasComplete: boolean[] = [];
    for (let at = 1; ; at++) {
      let seen = 0;
      const child = spawn(process.execPath, [bin, ...args], { cwd: folder, stdio: "ignore" });
      const ended = new Promise<NodeJS.Signals | null>((resolve) =>
        child.on("close", (_code, signal) => resolve(signal)),
      );
      const push = double.requests.push;
      double.requests.push = (...requests) => {
        if (requests.some(({ operation }) => changes.has(operation)) && ++seen === at) child.kill("SIGKILL");
        return push.apply(double.requests, requests);
      };
      const signal = await ended;
      double.requests.push = push;
      if (signal === null) break;
      const left = await objectsOf(client, "shards", "t/");
      // What calls itself complete is.
      wasComplete.push(left.has("manifest.json"));
      if (left.has("manifest.json"))
        for (const [name, bytes] of whole) expect(left.get(name)?.equals(bytes), name).toBe(true);
      else
        await expect(lake.export("t", { ...options, format: "mds" })).rejects.toMatchObject({ code: "already-exists" });
      await lake.export("t", options);
      expect(await objectsOf(client, "shards", "t/")).toEqual(whole);
    }
    expect(wasComplete.length).toBeGreaterThan(files.length);
    expect(wasComplete).toContain(false);
  } finally {
    client.destroy();
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);
