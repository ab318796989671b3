import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readThroughPipe } from "../../src/engine/pipe.ts";

test("a query that comes to its pipe only after the abort does not wait there", async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-pipe-"));
  const controller = new AbortController();
  let asked = 0;
  const chunks = (async function* () {
    asked++;
    yield Buffer.from("1\n");
  })();
  let came = false;
  const query = async (path: string): Promise<string> => {
    controller.abort();
    // Long enough for a writer that gives up to have given up.
    await new Promise((resolve) => setTimeout(resolve, 100));
    came = true;
    return readFile(path, "utf8");
  };
  const { signal } = controller;
  await expect(readThroughPipe(folder, chunks, query, { signal })).rejects.toMatchObject({ code: "aborted" });
  expect(came).toBe(true);
  expect(asked).toBe(0);
  await rm(folder, { recursive: true });
});
