/**
 * Appends numbered records to an inbox and prints the number of each once it is acknowledged, until it is killed or has appended all.
 *
 *     inbox.ts <folder> <first> <count> <at once> [bytes of a file]
 */
import { writeSync } from "node:fs";
import { openInboxWriter } from "../../../src/inbox/index.ts";

const [folder, from, count, atOnce, segmentBytes = 64 * 1024] = process.argv.slice(2);
await using inbox = await openInboxWriter(folder!, { maxBytes: 2 ** 30, segmentBytes: Number(segmentBytes) });
for (const finding of inbox.findings) writeSync(2, `${finding}\n`);

const first = Number(from);
let next = first;
const end = first + Number(count);
async function sender(): Promise<void> {
  while (next < end) {
    const id = next++;
    const body = Buffer.from(`record ${id} ${"x".repeat(id % 700)}`);
    await inbox.append([{ topic: "records", meta: `{"id":${id}}`, body }]);
    writeSync(1, `${id}\n`);
  }
}
await Promise.all(Array.from({ length: Number(atOnce) }, sender));
