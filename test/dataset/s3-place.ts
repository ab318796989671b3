import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withReadCache } from "../../src/dataset/index.ts";
import s3 from "../../src/stores/s3/index.ts";
import { startVersitygw } from "../services/versitygw.ts";
import type { Workplace } from "./helpers.ts";

/** A bucket of Versity S3 Gateway, read through a cache in a temporary folder as a lake does. */
export async function s3Workplace(): Promise<Workplace> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-dataset-s3-"));
  const server = await startVersitygw();
  const driver = await s3.load();
  const options = s3.options.parse({ ...(await server.bucket("lake")), prefix: "tests" });
  const bucket = await driver.open(options, { connection: "lake", folder });
  const store = withReadCache(bucket, { folder: join(folder, "objects"), use: join(folder, "use"), maxBytes: 1e9 });
  return {
    folder,
    store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
