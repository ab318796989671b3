import { createReadStream } from "node:fs";
import { asMillraceError, messageOf, MillraceError, parseJson, type LookupValue } from "../../core/index.ts";
import { valueJson } from "../../lookup/values.ts";
import type { Transformer } from "../../pipeline/index.ts";
import type { Context, GlobalFlags } from "../context.ts";
import type { Output } from "../output.ts";
import { withLake } from "../session.ts";
import { escapeData } from "../text/escape.ts";
import { counted } from "../text/numbers.ts";

/** Bytes of a line, which is in memory whole. */
const lineBytes = 16 << 20;

/** Rows that go through the transform together. */
const rowsAtOnce = 1000;

interface Line {
  number: number;
  text: string;
}

export default async function transform(
  this: Context,
  flags: GlobalFlags,
  reference: string,
  file?: string,
): Promise<void> {
  await withLake(this, flags, async (lake) => {
    const transformer = await lake.transformer(reference);
    const given = file === undefined || file === "-" ? process.stdin : createReadStream(file);
    let bad = 0;
    for await (const lines of linesOf(given)) {
      for (let from = 0; from < lines.length; from += rowsAtOnce) {
        bad += await through(transformer, lines.slice(from, from + rowsAtOnce), this.output, this.signal);
      }
    }
    if (bad > 0) {
      throw new MillraceError("value", `${counted(bad, "line")} did not go through the transform`, {
        where: { dataset: transformer.dataset },
        hint: `millrace show ${reference} names the columns; the lines above say what is wrong`,
      });
    }
  });
}

/** Lines as they come, so that who writes one and waits for its answer gets it. */
async function* linesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<Line[]> {
  let rest: Buffer = Buffer.alloc(0);
  let number = 0;
  try {
    for await (const chunk of stream) {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      const end = bytes.lastIndexOf("\n") + 1;
      const texts = bytes.toString("utf8", 0, end).split("\n").slice(0, -1);
      yield texts.map((text) => ({ number: ++number, text })).filter(({ text }) => text.trim() !== "");
      rest = bytes.subarray(end);
      if (rest.length <= lineBytes) continue;
      throw new MillraceError("limit", `line ${number + 1} is longer than ${lineBytes} bytes`);
    }
  } catch (error) {
    throw asMillraceError(error);
  }
  const last = rest.toString("utf8");
  if (last.trim() !== "") yield [{ number: ++number, text: last }];
}

/** How many of the lines were bad. */
async function through(
  transformer: Transformer,
  lines: readonly Line[],
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const problems: { number: number; problem: string }[] = [];
  const rows: Record<string, LookupValue>[] = [];
  const numbers: number[] = [];
  for (const { number, text } of lines) {
    try {
      rows.push(parseJson(text) as Record<string, LookupValue>);
      numbers.push(number);
    } catch (error) {
      problems.push({ number, problem: messageOf(error) });
    }
  }
  const { rows: made, invalid } = await transformer.apply(rows, signal);
  for (const { index, problem } of invalid) problems.push({ number: numbers[index]!, problem });
  const texts = made.flat().map(valueJson);
  if (texts.length > 0) output.print(texts.join("\n"));
  for (const { number, problem } of problems.toSorted((left, right) => left.number - right.number)) {
    output.note(`line ${number}: ${escapeData(problem)}`);
  }
  return problems.length;
}
