import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import definition from "../../src/stores/fs/index.ts";
import { storeContract } from "../contracts/store.ts";
import { plantIn } from "../support/store.ts";

storeContract({
  name: "fs",
  definition,
  plants: true,
  async start() {
    const folder = await mkdtemp(join(tmpdir(), "millrace-fs-"));
    await writeFile(join(folder, "file"), "");
    return {
      options: { path: join(folder, "deep", "lake") },
      plant: plantIn(join(folder, "deep", "lake")),
      wrong: [
        { what: "below a file", options: { path: join(folder, "file", "lake") }, code: "config" },
        { what: "a folder that nobody can make", options: { path: "/proc/millrace" }, code: "config" },
      ],
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
    };
  },
});
