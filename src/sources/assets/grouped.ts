/** Items in their order, as groups of about so many bytes: one for each part of a plan. A larger item is a group of its own. */
export function grouped<Item>(items: readonly Item[], bytes: number, sizeOf: (item: Item) => number): Item[][] {
  const groups: Item[][] = [];
  let room = 0;
  for (const item of items) {
    const size = sizeOf(item);
    if (groups.length === 0 || size > room) {
      groups.push([]);
      room = bytes;
    }
    groups.at(-1)!.push(item);
    room -= size;
  }
  return groups;
}
