import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { startVersitygw } from "../services/versitygw.ts";
import { startS3Double } from "../support/s3-double.ts";

/** Writes a configuration with the store and files to read; gives its folder. */
async function project(store: Record<string, unknown>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-s3-lake-"));
  await mkdir(join(folder, "orders"));
  const config = {
    store: { store: "s3", ...store },
    cache: { path: join(folder, "cache") },
    flows: { orders: { from: { path: "orders/*.csv" }, mode: "merge", key: ["id"] } },
  };
  await writeFile(join(folder, "millrace.yaml"), JSON.stringify(config));
  await writeFile(join(folder, "orders/1.csv"), csv(0, 1000, 1));
  return folder;
}

function csv(from: number, to: number, price: number): string {
  const rows = Array.from({ length: to - from }, (_, index) => `${from + index},${price},person-${from + index}`);
  return ["id,price,buyer", ...rows, ""].join("\n");
}

/** Everything that is done with a lake, each time opened anew, as commands do. */
async function useLake(folder: string): Promise<void> {
  const lake = (): ReturnType<typeof openLake> => openLake({ folder });
  const sums = "select count(*)::int as rows, sum(price)::int as price from orders";
  {
    await using first = await lake();
    expect(await first.run("orders")).toMatchObject({ status: "published", written: 1000 });
    expect(await first.run("orders")).toMatchObject({ status: "unchanged" });
  }
  await writeFile(join(folder, "orders/2.csv"), csv(900, 1200, 2));
  {
    await using second = await lake();
    expect(await second.run("orders")).toMatchObject({ status: "published", written: 300 });
    expect((await second.query(sums)).rows).toEqual([{ rows: 1200, price: 1500 }]);
    expect((await second.query(sums.replace("orders", '"orders@1"'))).rows).toEqual([{ rows: 1000, price: 1000 }]);
    await second.erase("orders", { where: "id = 950", reason: "request 17" });
    await second.compact("orders");
    await second.gc("orders", { minimumAgeMs: -60_000 });
  }
  await rm(join(folder, "cache"), { recursive: true, force: true });
  await using third = await lake();
  expect((await third.verify("orders", { deep: true })).problems).toEqual([]);
  expect((await third.query(sums)).rows).toEqual([{ rows: 1199, price: 1498 }]);
}

test("a lake on Versity S3 Gateway does what a local one does", async () => {
  await using server = await startVersitygw();
  const folder = await project({ ...(await server.bucket("lake")), prefix: "a/b" });
  try {
    await useLake(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);

/** The actions that the policies of the guide allow. */
function documentedActions(...names: string[]): Set<string> {
  const guide = readFileSync("docs/guide/stores.md", "utf8");
  const actions = names.flatMap((name) => {
    const text = new RegExp(`<!-- policy: ${name} -->\\n\`\`\`json\\n(.*?)\`\`\``, "s").exec(guide)?.[1];
    const policy = JSON.parse(text!) as { Statement: { Action: string | string[] }[] };
    return policy.Statement.flatMap(({ Action }) => Action);
  });
  return new Set(actions);
}

/** The action that S3 asks for, by operation. */
const actions: Record<string, string> = {
  GetObject: "s3:GetObject",
  HeadObject: "s3:GetObject",
  ListObjectsV2: "s3:ListBucket",
  PutObject: "s3:PutObject",
  CreateMultipartUpload: "s3:PutObject",
  UploadPart: "s3:PutObject",
  CompleteMultipartUpload: "s3:PutObject",
  AbortMultipartUpload: "s3:AbortMultipartUpload",
  DeleteObject: "s3:DeleteObject",
};

test("it asks for what the policies of the guide allow, and for nothing else", async () => {
  await using double = await startS3Double(["lake"]);
  const folder = await project({ ...double.options("lake"), prefix: "lake" });
  const seen = (): Set<string> =>
    new Set(double.requests.splice(0).map(({ operation }) => actions[operation] ?? `no action for ${operation}`));
  try {
    await useLake(folder);
    const all = seen();
    expect([...all.difference(documentedActions("read", "write", "remove"))]).toEqual([]);
    expect(all.size).toBeGreaterThan(3);
    {
      await using lake = await openLake({ folder });
      await lake.query("select * from orders limit 1");
      await lake.verify("orders", { deep: true });
      await lake.history("orders");
    }
    expect([...seen().difference(documentedActions("read"))]).toEqual([]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);
