import { readFile } from "node:fs/promises";
import { Tokenizer } from "@huggingface/tokenizers";
import { MillraceError, messageOf } from "../../core/index.ts";

/** Tokens of several texts: as many for each, of which `mask` has those that are there. */
export interface Tokens {
  length: number;
  ids: readonly number[][];
  mask: readonly Uint8Array[];
}

/** Gives the tokens of a text, at most `maximum`, with those that mark its begin and end. Throws `config`. */
export async function openTokenizer(
  path: string,
  settings: string,
  maximum: number,
): Promise<(text: string) => number[]> {
  let tokenizer: Tokenizer;
  const idsOf = (text: string, marked: boolean): number[] =>
    (tokenizer.encode(text, { add_special_tokens: marked }) as { ids: number[] }).ids;
  try {
    tokenizer = new Tokenizer(JSON.parse(await readFile(path, "utf8")) as object, JSON.parse(settings) as object);
    idsOf("text", true);
  } catch (cause) {
    throw new MillraceError("config", `the tokenizer cannot be loaded: ${messageOf(cause)}`, {
      cause,
      hint: "`tokenizer` names the `tokenizer.json` of a model",
    });
  }
  return (text) => {
    const ids = idsOf(text, true);
    if (ids.length <= maximum) return ids;
    // What marks the end stays, as with the tokenizer that the model was trained with.
    const own = idsOf(text, false);
    const marks = ids.length - own.length;
    let first = 0;
    while (first < marks && !own.every((id, at) => id === ids[first + at])) first++;
    const last = marks - first;
    return [...ids.slice(0, maximum - last), ...ids.slice(ids.length - last)];
  };
}
