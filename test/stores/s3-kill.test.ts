import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openLake } from "../../src/index.ts";
import { startS3Double, type S3Double } from "../support/s3-double.ts";

const bin = join(import.meta.dirname, "../../bin/millrace.mjs");
const files = 5;
const rowsPerFile = 200;
const kills = 5;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const changes = new Set(["PutObject", "DeleteObject", "CompleteMultipartUpload"]);

/** A lake in one bucket that reads the objects of another. */
async function project(double: S3Double, name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-s3-kill-"));
  const config = {
    store: { store: "s3", ...double.options("lake"), prefix: name },
    cache: { path: "./cache" },
    connections: { raw: { store: "s3", ...double.options("raw") } },
    flows: {
      orders: {
        from: { connection: "raw", path: "in/*.csv", part_bytes: 1 },
        mode: "merge",
        key: ["id"],
        checks: [{ check: "range", column: "price", min: 0, on_fail: "reject" }],
      },
    },
  };
  await writeFile(join(folder, "millrace.yaml"), JSON.stringify(config));
  return folder;
}

/** Runs the flow in a process of its own and kills it when the n-th request that changes something arrives. */
async function runKilled(double: S3Double, folder: string, at: number): Promise<NodeJS.Signals | null> {
  const child = spawn(process.execPath, [bin, "run", "orders"], { cwd: folder, stdio: "ignore" });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.on("close", (_code, signal) => resolve(signal)));
  let seen = 0;
  const push = double.requests.push;
  double.requests.push = (...requests) => {
    if (requests.some(({ operation }) => changes.has(operation)) && ++seen === at) child.kill("SIGKILL");
    return push.apply(double.requests, requests);
  };
  try {
    return await ended;
  } finally {
    double.requests.push = push;
  }
}

async function contents(folder: string): Promise<unknown> {
  await using lake = await openLake({ folder });
  const good = await lake.query("select count(*) as rows, count(distinct id) as ids, sum(id) as sum from orders");
  const refused = await lake.query("select count(*) as rows, count(distinct record) as records from orders__rejected");
  const { problems } = await lake.verify("orders", { deep: true });
  return { good: good.rows, refused: refused.rows, problems, versions: (await lake.history("orders")).length };
}

test(
  `a run from a bucket into a bucket that is killed at ${kills} of its requests gives what one clean run gives`,
  { timeout: 240_000 },
  async () => {
    await using double = await startS3Double(["lake", "raw"]);
    const folders: string[] = [];
    try {
      const clean = await project(double, "clean");
      folders.push(clean);
      {
        await using lake = await openLake({ folder: clean });
        const raw = double.state.buckets.get("raw")!;
        expect(raw.size).toBe(0);
        const { open } = await import("../../src/stores/s3/driver.ts");
        const options = (await import("../../src/stores/s3/options.ts")).options.parse(double.options("raw"));
        await using store = await open(options, { connection: "raw", folder: clean });
        for (let file = 0; file < files; file++) {
          const rows = Array.from({ length: rowsPerFile }, (_, row) => `${file * rowsPerFile + row},${row - 1}`);
          await store.write(`in/${file}.csv`, encode(["id,price", ...rows, ""].join("\n")));
        }
        double.requests.length = 0;
        expect(await lake.run("orders")).toMatchObject({ status: "published", rejected: files, parts: files });
      }
      const steps = double.requests.filter(({ operation }) => changes.has(operation)).length;
      expect(steps).toBeGreaterThan(2 * kills);
      const expected = await contents(clean);
      expect(expected).toMatchObject({ problems: [], versions: 1 });
      for (let kill = 1; kill <= kills; kill++) {
        const folder = await project(double, `killed-${kill}`);
        folders.push(folder);
        expect(await runKilled(double, folder, Math.ceil((kill * steps) / (kills + 1)))).toBe("SIGKILL");
        {
          await using lake = await openLake({ folder });
          await lake.run("orders");
        }
        expect(await contents(folder)).toEqual(expected);
        expect(await readdir(join(folder, "cache/scratch"))).toEqual([]);
      }
    } finally {
      for (const folder of folders) await rm(folder, { recursive: true, force: true });
    }
  },
);

test("objects of a bucket by address, with the endpoint and the credentials of the environment; an etag tells what changed", async () => {
  await using double = await startS3Double(["raw"]);
  const folder = await mkdtemp(join(tmpdir(), "millrace-s3-address-"));
  const options = double.options("raw") as unknown as {
    endpoint: string;
    credentials: { access_key_id: string; secret_access_key: string };
  };
  const environment: Record<string, string> = {
    AWS_ENDPOINT_URL_S3: options.endpoint,
    AWS_ACCESS_KEY_ID: options.credentials.access_key_id,
    AWS_SECRET_ACCESS_KEY: options.credentials.secret_access_key,
    AWS_REGION: "us-east-1",
  };
  const before = Object.fromEntries(Object.keys(environment).map((name) => [name, process.env[name]]));
  Object.assign(process.env, environment);
  try {
    const flows = { t: { from: { path: "s3://raw/in/*.csv" } } };
    await writeFile(
      join(folder, "millrace.yaml"),
      JSON.stringify({ store: "./lake", cache: { path: "./cache" }, flows }),
    );
    const { open } = await import("../../src/stores/s3/driver.ts");
    const parsed = (await import("../../src/stores/s3/options.ts")).options.parse(options);
    await using store = await open(parsed, { connection: "raw", folder });
    // Large enough for the middle to lie outside of the edges that are looked at.
    const rows = (middle: string): Uint8Array =>
      encode(`id\n${"1\n".repeat(80_000)}${middle}\n${"1\n".repeat(80_000)}`);
    await store.write("in/a.csv", rows("5"));
    await using lake = await openLake({ folder });
    expect(await lake.run("t")).toMatchObject({ status: "published", read: 160_001 });
    expect(await lake.run("t")).toMatchObject({ status: "unchanged" });
    await store.write("in/b.csv", encode("id\n2\n"));
    expect(await lake.run("t")).toMatchObject({ status: "published", read: 1 });
    await store.write("in/a.csv", rows("6"));
    await expect(lake.run("t")).rejects.toMatchObject({ code: "conflict", where: { file: "in/a.csv" } });
  } finally {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    await rm(folder, { recursive: true, force: true });
  }
});
