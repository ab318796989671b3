import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  MillraceError,
  messageOf,
  suggestion,
  systemCode,
  throwIfAborted,
  type Enriched,
  type Enricher,
  type EnricherContext,
} from "../../core/index.ts";
import { embeddingColumn, fileHash, loadModel, runModel, vectorsOf, type Model } from "../shared/onnx.ts";
import type { TextEmbeddingOptions } from "./index.ts";
import { openTokenizer, type Tokens } from "./tokens.ts";

export async function open(options: TextEmbeddingOptions, { folder }: EnricherContext): Promise<Enricher> {
  const { of_column: from, max_tokens: maximum, pooling, normalise, before, batch, column, output, threads } = options;
  const model = await fileHash(options.model, folder, "model");
  const tokenizer = await fileHash(options.tokenizer, folder, "tokenizer");
  const settingsFile = join(dirname(tokenizer.path), "tokenizer_config.json");
  const settings = await readFile(settingsFile, "utf8").catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return "{}";
    throw new MillraceError("config", `\`tokenizer_config.json\` cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  });
  let loading: Promise<{ model: Model; tokensOf: (text: string) => number[] }> | undefined;
  const load = (): NonNullable<typeof loading> =>
    (loading ??= (async () => {
      const tokensOf = await openTokenizer(tokenizer.path, settings, maximum);
      return { model: await loadModel(model.path, output, threads), tokensOf };
    })());

  async function vectors(texts: readonly string[]): Promise<number[][]> {
    const { model: loaded, tokensOf } = await load();
    const tokens = padded(texts.map((text) => tokensOf(before + text)));
    const found = await runModel(loaded, feedsOf(loaded, tokens));
    return vectorsOf(found, pooling, normalise, tokens.mask);
  }

  return {
    model: JSON.stringify({
      onnx: model.sha256,
      tokenizer: tokenizer.sha256,
      settings,
      output: output ?? null,
      maximum,
      pooling,
      normalise,
      before,
      batch,
    }),
    reads: (input) => {
      const found = input.find(({ name }) => name === from);
      const hint = suggestion(
        from,
        input.map(({ name }) => name),
      );
      if (found === undefined) throw new MillraceError("config", `there is no column \`${from}\` to embed`, { hint });
      if (found.type === "string") return [from];
      throw new MillraceError("config", `\`${from}\` is no column of text`, { hint: "name one with `of_column`" });
    },
    columns: () => [embeddingColumn(column)],
    async check(signal) {
      throwIfAborted(signal);
      const { model: loaded } = await load();
      feedsOf(loaded, padded([[0, 0, 0]]));
    },
    async enrich(inputs, { signal }) {
      const answers: Enriched[] = inputs.map(() => ({ values: [null] }));
      const asked = inputs.flatMap(({ values }, index) => {
        const text = values?.[from];
        return typeof text === "string" ? [{ index, text }] : [];
      });
      throwIfAborted(signal);
      for (let at = 0; at < asked.length; at += batch) {
        throwIfAborted(signal);
        const some = asked.slice(at, at + batch);
        const found = await vectors(some.map(({ text }) => text));
        for (const [each, { index }] of some.entries()) answers[index] = { values: [found[each]!] };
      }
      return answers;
    },
    async [Symbol.asyncDispose]() {
      const loaded = await loading?.catch(() => undefined);
      await loaded?.model.session.release();
    },
  };
}

/** Rows of the same length, filled up behind their end. */
function padded(rows: readonly number[][]): Tokens {
  const length = Math.max(1, ...rows.map((row) => row.length));
  const ids = rows.map((row) => [...row, ...Array.from<number>({ length: length - row.length }).fill(0)]);
  const mask = rows.map((row) => Uint8Array.from({ length }, (_, at) => (at < row.length ? 1 : 0)));
  return { length, ids, mask };
}

/** The inputs of a model of text, by the names that all exporters give them. Throws `config` for others. */
function feedsOf({ runtime, session }: Model, { length, ids, mask }: Tokens): Parameters<typeof session.run>[0] {
  const known: Record<string, (row: number, at: number) => number> = {
    input_ids: (row, at) => ids[row]![at]!,
    attention_mask: (row, at) => mask[row]![at]!,
    token_type_ids: () => 0,
    position_ids: (_, at) => at,
  };
  return Object.fromEntries(
    session.inputNames.map((name, index) => {
      const value = Object.hasOwn(known, name) ? known[name]! : undefined;
      const facts = session.inputMetadata[index];
      const type = facts?.isTensor === true ? facts.type : "int64";
      if (value === undefined || (type !== "int64" && type !== "int32")) {
        throw new MillraceError("config", `the model wants \`${name}\` of ${type}, which no tokenizer gives`, {
          hint: `\`model\` must take tokens of text: ${Object.keys(known).join(", ")}`,
        });
      }
      const flat = Array.from({ length: ids.length * length }, (_, at) => value(Math.floor(at / length), at % length));
      const data = type === "int64" ? BigInt64Array.from(flat, BigInt) : Int32Array.from(flat);
      return [name, new runtime.Tensor(type, data as never, [ids.length, length])];
    }),
  );
}
