import { MillraceError, type Cursor, type ReadRequest } from "../../core/index.ts";
import { microsOf, momentOf, type Item } from "./items.ts";

/** How far a stream was read: the greatest moment of a property, and which items have exactly that one. */
export interface Position {
  column: string;
  /** RFC 3339 in UTC, microseconds. */
  value: string;
  /** Null when there are too many to be kept. */
  items: string[] | null;
}

/** Items at the very end of what was read that are told apart; a bulk import may give more the same moment. */
const maximumItems = 1_000;

export const cursorNames = ["updated", "created", "datetime"];

export const nameOf = ({ collection, id }: Pick<Item, "collection" | "id">): string => `${collection ?? ""}/${id}`;

/** When an item became what it is, by a property; null where there is none and none is needed. Throws `value`. */
export function momentIn(item: Item, column: string | undefined): string | null {
  const value = item.properties[column ?? "updated"];
  const micros = typeof value === "string" ? microsOf(value) : undefined;
  if (micros !== undefined) return momentOf(micros);
  if (column === undefined) return null;
  throw new MillraceError("value", `the item \`${item.id}\` has no \`${column}\`, and so no place in the order`, {
    where: { column },
    hint: "read by `cursor: datetime`, or without a cursor and with `mode: replace`",
  });
}

/** Throws `config` for a cursor that is none, `conflict` for a position of another one. */
export function positionAfter(request: ReadRequest, after: Cursor | undefined): Position | undefined {
  if (request.cursor === undefined) return undefined;
  if (!cursorNames.includes(request.cursor)) {
    throw new MillraceError("config", `items cannot be read by \`${request.cursor}\``, {
      hint: `\`cursor\` is one of ${cursorNames.join(", ")}`,
    });
  }
  const before = after as unknown as Position | undefined;
  if (before === undefined || before.column === request.cursor) return before;
  throw new MillraceError(
    "conflict",
    `the dataset was read by \`${before.column}\`, and now it is to be read by \`${request.cursor}\``,
    { hint: "run once with `--full` to read the stream from its start" },
  );
}

/** Gathers what is new, and where the stream stands then. */
export class Progress {
  readonly #column: string | undefined;
  readonly #before: Position | undefined;
  /** The first moment that is read. */
  readonly from: string | undefined;
  #last: string | undefined;
  #items: string[] | null;

  constructor(column: string | undefined, before: Position | undefined, lag: number) {
    this.#column = column;
    this.#before = before;
    this.#last = before?.value;
    this.#items = before?.items ?? (before === undefined ? [] : null);
    if (before !== undefined) this.from = momentOf(microsOf(before.value)! - BigInt(Math.ceil(lag * 1e6)));
    this.#lags = lag > 0;
  }

  readonly #lags: boolean;

  /** Items that were read before may be among those that are new. */
  get overlaps(): boolean {
    return this.#before !== undefined && (this.#lags || this.#before.items === null);
  }

  /** Whether an item is to be read. */
  takes(item: Item, at: string | null): boolean {
    if (this.#column === undefined || at === null) return true;
    const isKnown = !this.overlaps && at === this.#before?.value && (this.#before.items ?? []).includes(nameOf(item));
    if ((this.from !== undefined && at < this.from) || isKnown) return false;
    if (this.#last === undefined || at > this.#last) [this.#last, this.#items] = [at, []];
    if (at === this.#last && this.#items !== null && !this.#items.includes(nameOf(item)))
      this.#items.push(nameOf(item));
    return true;
  }

  position(): Position | undefined {
    if (this.#column === undefined || this.#last === undefined) return undefined;
    const items = this.#items !== null && this.#items.length <= maximumItems ? this.#items : null;
    return { column: this.#column, value: this.#last, items };
  }
}
