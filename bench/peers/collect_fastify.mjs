/** Fastify, as one writes a collector with it: JSON is parsed, each event is a line of a file, and the answer waits for a shared fdatasync. */
import { open } from "node:fs/promises";
import { createRequire } from "node:module";

const [packages, file] = process.argv.slice(2);
const fastify = createRequire(`${packages}/`)("fastify");
const log = await open(file, "a");
let lines = [];
let waiting = [];
let isWriting = false;
async function flush() {
  if (isWriting) return;
  isWriting = true;
  while (waiting.length > 0) {
    const [texts, done] = [lines, waiting];
    [lines, waiting] = [[], []];
    await log.write(texts.join(""));
    await log.datasync();
    for (const each of done) each();
  }
  isWriting = false;
}

const app = fastify({ bodyLimit: 1 << 20 });
const taken = { success: true };
const keep = (events) =>
  new Promise((resolve) => {
    for (const event of events) lines.push(`${JSON.stringify(event)}\n`);
    waiting.push(resolve);
    setImmediate(flush);
  });
app.post("/v1/track", async (request) => {
  await keep([request.body]);
  return taken;
});
app.post("/v1/batch", async (request) => {
  await keep(request.body.batch);
  return taken;
});
await app.listen({ port: 0, host: "127.0.0.1" });
console.log(JSON.stringify({ port: app.server.address().port }));
