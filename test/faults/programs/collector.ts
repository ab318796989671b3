/**
 * Serves a collector whose inbox is in a folder, sends it numbered events by HTTP, some at a time, and prints the number of each once it is
 * acknowledged.
 *
 *     collector.ts <folder> <count> <at once>
 */
import { writeSync } from "node:fs";
import { join } from "node:path";
import { openInboxWriter } from "../../../src/inbox/index.ts";
import { openKeys } from "../../../src/server/collect/keys.ts";
import { serveCollectors } from "../../../src/server/collect/serve.ts";
import { collector as open } from "../../../src/sources/clickstream/collector.ts";
import { options } from "../../../src/sources/clickstream/options.ts";

const [folder = "", count, atOnce] = process.argv.slice(2);
const collector = open(options.parse({ inbox: join(folder, "inbox") }), { connection: "in", folder });
await using inbox = await openInboxWriter(collector.inbox.folder, collector.inbox);
const { byHash, generated } = openKeys(folder, [{ name: "in", keys: collector.keys }]);
await using server = await serveCollectors([{ connection: "in", collector, inbox }], byHash, { port: 0 });

const url = `${server.url}/v1/track?key=${generated[0]!.key}`;
let next = 0;
async function sender(): Promise<void> {
  while (next < Number(count)) {
    const id = next++;
    const body = JSON.stringify({
      userId: "u",
      event: "E",
      messageId: String(id),
      properties: { text: "x".repeat(id % 700) },
    });
    const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
    if (answer.status === 200) writeSync(1, `${id}\n`);
  }
}
await Promise.all(Array.from({ length: Number(atOnce) }, sender));
