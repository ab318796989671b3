/**
 * Sends events over raw sockets, one request at a time on each, and measures how long until each is acknowledged.
 *
 *     collect_send.ts <port> <path> <header> <events a request> <connections> <seconds> <requests a second, 0: one after the other> <report>
 *
 * With a rate requests are timed from when they were due, whether or not there was a connection for them.
 */
import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";

const [port = "", path = "", header = "", events = "", connections = "", seconds = "", rate = "", report = ""] = process.argv.slice(2);
const each = Number(events);
const perSecond = Number(rate);

/** About what a page view has: 300 bytes. */
const eventOf = (index: number): string =>
  JSON.stringify({
    type: "track",
    event: "Product Viewed",
    messageId: `ajs-${String(index).padStart(12, "0")}-1f3d`,
    anonymousId: "7d1c2f0e-1111-4222-8333-abcdefabcdef",
    timestamp: "2026-11-24T04:00:00.000Z",
    properties: { sku: "G-32", category: "Games", price: 18.99, quantity: 1, url: "https://www.example.com/product/path" },
    context: { page: { path: "/product/path", title: "Monopoly" }, locale: "en-US" },
  });
const list = Array.from({ length: each }, (_, index) => eventOf(index));
const text = each === 1 ? list[0]! : `{"sentAt":"2026-11-24T04:00:00.000Z","batch":[${list.join(",")}]}`;
const message = Buffer.from(
  `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${header}\r\nuser-agent: bench\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
);

const times: number[] = [];
const idle: { socket: Socket; begun: number }[] = [];
/** When requests that found no connection were due. */
const waiting: number[] = [];
let [done, bad, stopping] = [0, 0, false];
let started = 0;
const warmMs = 1_000;

function begin(slot: { socket: Socket; begun: number }, due: number): void {
  slot.begun = due;
  slot.socket.write(message);
}
function answered(slot: { socket: Socket; begun: number }, isGood: boolean): void {
  const now = performance.now();
  if (now > started + warmMs && !stopping) {
    if (isGood) done++;
    else bad++;
    times.push(now - slot.begun);
  }
  if (stopping) return;
  if (perSecond === 0) begin(slot, now);
  else {
    const due = waiting.shift();
    if (due === undefined) idle.push(slot);
    else begin(slot, due);
  }
}

/** The length of an answer: all of a server are alike. */
let answerBytes = 0;
for (let index = 0; index < Number(connections); index++) {
  const socket = connect({ port: Number(port), host: "127.0.0.1", noDelay: true });
  const slot = { socket, begun: 0 };
  let left = 0;
  let isFirst = true;
  socket.on("data", (chunk: Buffer) => {
    if (left === 0) {
      const end = chunk.indexOf("\r\n\r\n");
      if (end < 0) throw new Error("an answer came in pieces");
      if (isFirst || answerBytes === 0) {
        const length = /\r\ncontent-length: (\d+)/i.exec(chunk.subarray(0, end).toString())?.[1];
        answerBytes = end + 4 + Number(length ?? 0);
        isFirst = false;
      }
      left = answerBytes;
    }
    left -= chunk.length;
    if (left < 0) throw new Error("an answer is longer than the one before");
    // "HTTP/1.1 2"
    if (left === 0) answered(slot, chunk[9] === 0x32);
  });
  socket.on("error", (error) => {
    throw error;
  });
  await new Promise((resolve) => socket.once("connect", resolve));
  idle.push(slot);
}

started = performance.now();
if (perSecond === 0) for (const slot of idle.splice(0)) begin(slot, performance.now());
else {
  let sent = 0;
  const timer = setInterval(() => {
    if (stopping) return clearInterval(timer);
    const wanted = Math.floor(((performance.now() - started) / 1000) * perSecond);
    for (; sent < wanted; sent++) {
      const due = started + (sent / perSecond) * 1000;
      const slot = idle.pop();
      if (slot === undefined) waiting.push(due);
      else begin(slot, due);
    }
  }, 1);
}
setTimeout(() => {
  stopping = true;
  const sorted = Float64Array.from(times).toSorted();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  const elapsed = (performance.now() - started - warmMs) / 1000;
  writeFileSync(report, JSON.stringify({ requests: done, bad, waiting: waiting.length, perSecond: done / elapsed, p50: at(0.5), p99: at(0.99), most: at(1), bytes: message.length }));
  process.exit(0);
}, warmMs + Number(seconds) * 1000);
