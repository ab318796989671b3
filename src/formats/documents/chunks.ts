/** About what common tokenizers make of a text: long words are parts, marks and digits are tokens of their own. */
export function estimateTokens(text: string): number {
  let tokens = 0;
  for (const [piece] of text.matchAll(
    /\p{Script=Han}|[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]|[\p{L}\p{M}']+|\p{N}{1,3}|[^\s\p{L}\p{N}]+/gu,
  )) {
    // oxlint-disable-next-line no-control-regex
    const latin = /^[\u0000-\u024f]/.test(piece);
    tokens += Math.max(1, Math.round(piece.length / (latin ? 6 : 2.5)));
  }
  return tokens;
}

export interface Passage {
  text: string;
  /** Index of the page that it begins on. */
  page: number;
}

/** Sentences, and lines where there are none; no piece has more than `most` tokens. */
function* sentences(text: string, most: number): Generator<string> {
  for (const paragraph of text.split(/\n{2,}/)) {
    const pieces = paragraph.match(/[^.!?。！？]+(?:[.!?。！？]+["'”’)\]]*\s*|$)|[.!?。！？]+\s*/gu) ?? [];
    for (const [index, piece] of pieces.entries()) {
      const last = index === pieces.length - 1 ? "\n\n" : "";
      if (estimateTokens(piece) <= most) yield piece + last;
      else yield* cut(piece + last, most);
    }
  }
}

/** A sentence without end: between words. */
function* cut(piece: string, most: number): Generator<string> {
  let held = "";
  let tokens = 0;
  for (const word of piece.match(/\s*\S{1,200}\s*/gu) ?? []) {
    const length = estimateTokens(word);
    if (tokens + length > most && held !== "") {
      yield held;
      held = "";
      tokens = 0;
    }
    held += word;
    tokens += length;
  }
  if (held !== "") yield held;
}

/**
 * Chunks of about `size` tokens that end with a sentence; each begins with the last sentences of the one before, up to `overlap`
 * tokens of them. `pages` are the texts of a document in order.
 */
export function* chunksOf(pages: Iterable<string>, size: number, overlap: number): Generator<Passage> {
  let held: { text: string; tokens: number; page: number }[] = [];
  let tokens = 0;
  let fresh = 0;
  let page = 0;
  const passage = (): Passage => ({
    text: held
      .map(({ text }) => text)
      .join("")
      .trim(),
    page: held[0]!.page,
  });
  for (const text of pages) {
    for (const sentence of sentences(text, size)) {
      const length = estimateTokens(sentence);
      if (fresh > 0 && tokens + length > size) {
        yield passage();
        let kept = 0;
        const tail: typeof held = [];
        for (const one of held.toReversed()) {
          if (kept + one.tokens > Math.min(overlap, size / 2)) break;
          kept += one.tokens;
          tail.unshift(one);
        }
        held = tail;
        tokens = kept;
        fresh = 0;
      }
      if (sentence.trim() === "") continue;
      held.push({ text: sentence, tokens: length, page });
      tokens += length;
      fresh += length;
    }
    page++;
  }
  if (fresh > 0) yield passage();
}
