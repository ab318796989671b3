import { expect, test } from "vitest";
import { rewriteCells } from "../../src/sinks/postgres/csv-cells.ts";

const csv = 'id,x,s\n1,nan,"a,""b"\n2,,"\n"\n3,inf,\n4,1,ä\n';
const expected = 'id,x,s\n1,"<nan>","a,""b"\n2,,"\n"\n3,"<inf>",\n4,"<1>",ä\n';
const writers = [undefined, (cell: string) => `<${cell}>`, undefined];

async function rewritten(chunks: readonly Buffer[]): Promise<string> {
  const pieces: Uint8Array[] = [];
  const given = (async function* () {
    yield* chunks;
  })();
  for await (const piece of rewriteCells(given, writers)) pieces.push(piece);
  return Buffer.concat(pieces).toString("utf8");
}

test("cells are the same wherever the chunks end, and nothing comes after the last record", async () => {
  const bytes = Buffer.from(csv);
  for (let first = 0; first <= bytes.length; first++) {
    for (let second = first; second <= bytes.length; second++) {
      const chunks = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
      expect(await rewritten(chunks), `${first}, ${second}`).toBe(expected);
    }
  }
  const single = Array.from(bytes, (byte) => Buffer.of(byte));
  expect(await rewritten(single)).toBe(expected);
});

test("a last record without a line end gets one", async () => {
  expect(await rewritten([Buffer.from(csv.slice(0, -1))])).toBe(expected);
});
