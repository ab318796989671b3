import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import definition from "../../src/sources/files/index.ts";
import { sourceContract, type SourceRow } from "../contracts/source.ts";

const text = (rows: readonly SourceRow[]): string =>
  rows.map(({ id, text: value }) => `${JSON.stringify({ id, text: value })}\n`).join("");

sourceContract({
  name: "files",
  definition: definition as never,
  async start() {
    const folder = await mkdtemp(join(tmpdir(), "millrace-files-"));
    const fileOf = (name: string): string => join(folder, `${name}.ndjson`);
    return {
      folder,
      options: { path: folder },
      wrong: [
        { what: "a folder that is not there", options: { path: join(folder, "absent", "*.csv") }, code: "not-found" },
        { what: "no path", options: {}, code: "config" },
      ],
      async create(name, rows) {
        await writeFile(fileOf(name), text(rows));
        return { stream: `${name}.ndjson`, columns: ["id", "text"] };
      },
      append: (name, rows) => appendFile(fileOf(name), text(rows)),
      takesName: (name) => !/[/\\*?[\]{}!()\n\r\t]/.test(name) && Buffer.byteLength(name) < 200,
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
    };
  },
});
