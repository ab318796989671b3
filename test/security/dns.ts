import { createSocket } from "node:dgram";
import { once } from "node:events";
import { Resolver } from "node:dns/promises";
import type { Resolve } from "../../src/core/index.ts";

export interface NameServer extends AsyncDisposable {
  resolve: Resolve;
  /** Questions that were answered: `name type`. */
  asked: string[];
}

/**
 * A name server (RFC 1035) on loopback: `answer` gives the addresses of a name, anew for every question, and each lives 0 s.
 * An empty list: the name has no record of that type.
 */
export async function startNameServer(answer: (name: string, family: 4 | 6) => string[]): Promise<NameServer> {
  const asked: string[] = [];
  const socket = createSocket("udp4");
  socket.on("message", (question, { address, port }) => {
    const labels: string[] = [];
    let position = 12;
    for (let length = question[position]!; length > 0; length = question[position]!) {
      labels.push(question.toString("latin1", position + 1, position + 1 + length));
      position += 1 + length;
    }
    const end = position + 5;
    const type = question.readUInt16BE(position + 1);
    const name = labels.join(".");
    asked.push(`${name} ${type === 28 ? "AAAA" : "A"}`);
    const records = answer(name, type === 28 ? 6 : 4).map((text) => {
      const data = Buffer.from(
        type === 28
          ? text.split(":").flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255])
          : text.split(".").map(Number),
      );
      const head = Buffer.alloc(12);
      head.writeUInt16BE(0xc00c, 0);
      head.writeUInt16BE(type, 2);
      head.writeUInt16BE(1, 4);
      head.writeUInt32BE(0, 6);
      head.writeUInt16BE(data.length, 10);
      return Buffer.concat([head, data]);
    });
    const header = Buffer.alloc(12);
    question.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8180, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    socket.send(Buffer.concat([header, question.subarray(12, end), ...records]), port, address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  resolver.setServers([`127.0.0.1:${socket.address().port}`]);
  return {
    asked,
    async resolve(hostname) {
      const lists = await Promise.all([
        resolver.resolve4(hostname).catch(() => []),
        resolver.resolve6(hostname).catch(() => []),
      ]);
      return [
        ...lists[0].map((address) => ({ address, family: 4 as const })),
        ...lists[1].map((address) => ({ address, family: 6 as const })),
      ];
    },
    async [Symbol.asyncDispose]() {
      resolver.cancel();
      socket.close();
    },
  };
}
