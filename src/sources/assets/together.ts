/** What up to `width` iterations give, as it comes. Each is begun when another has ended, and its item is asked for then. */
export async function* together<Item, T>(
  items: Iterable<Item> | AsyncIterable<Item>,
  iterate: (item: Item) => AsyncGenerator<T, void, undefined>,
  width: number,
): AsyncGenerator<T, void, undefined> {
  type Turn =
    | { from: AsyncGenerator<T, void, undefined>; result: IteratorResult<T, void> }
    | { arrived: IteratorResult<Item, unknown> };
  const running = new Map<AsyncGenerator<T, void, undefined>, Promise<Turn>>();
  const source = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  let arrival: Promise<Turn> | undefined;
  let isDone = false;
  // Whoever stops early does not look at the others.
  const watched = (turn: Promise<Turn>): Promise<Turn> => {
    turn.catch(() => undefined);
    return turn;
  };
  const advance = (from: AsyncGenerator<T, void, undefined>): void => {
    running.set(from, watched(from.next().then((result) => ({ from, result }))));
  };
  try {
    for (;;) {
      if (arrival === undefined && !isDone && running.size < width) {
        arrival = watched(Promise.resolve(source.next()).then((arrived) => ({ arrived })));
      }
      if (arrival === undefined && running.size === 0) return;
      const turn = await Promise.race([...running.values(), ...(arrival === undefined ? [] : [arrival])]);
      if ("arrived" in turn) {
        arrival = undefined;
        if (turn.arrived.done) isDone = true;
        else advance(iterate(turn.arrived.value));
      } else if (turn.result.done) running.delete(turn.from);
      else {
        yield turn.result.value;
        advance(turn.from);
      }
    }
  } finally {
    for (const [from, turn] of running) {
      await turn.catch(() => undefined);
      await from.return().catch(() => undefined);
    }
    await arrival?.catch(() => undefined);
    await source.return?.();
  }
}
