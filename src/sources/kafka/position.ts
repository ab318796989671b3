import { MillraceError, type Column, type Cursor } from "../../core/index.ts";

/** Where a stream stands: the next offset of each partition of each topic. */
export interface Position {
  topics: Map<string, TopicPosition>;
  /** Those that earlier plans gave: types stay. */
  columns: Column[];
}
export interface TopicPosition {
  /** Empty where brokers do not know ids. */
  id: string;
  next: Map<number, number>;
}

const version = 1;

/** Offsets are text: they have 63 bits. */
export function toCursor({ topics, columns }: Position): Cursor {
  return {
    version,
    topics: Object.fromEntries(
      [...topics]
        .toSorted(([left], [right]) => (left < right ? -1 : 1))
        .map(([name, { id, next }]) => [
          name,
          {
            id,
            next: Object.fromEntries(
              [...next]
                .toSorted(([left], [right]) => left - right)
                .map(([partition, offset]) => [String(partition), String(offset)]),
            ),
          },
        ]),
    ),
    columns: columns as unknown as Cursor[],
  };
}

export function fromCursor(cursor: Cursor | undefined): Position | undefined {
  if (cursor === undefined) return undefined;
  if (cursor["version"] !== version) {
    throw new MillraceError(
      "unsupported",
      `the position has version ${JSON.stringify(cursor["version"])}; this build knows ${version}`,
      {
        hint: "use the version of Millrace that wrote it, or a newer one",
      },
    );
  }
  const topics = cursor["topics"] as Record<string, { id: string; next: Record<string, string> }>;
  return {
    topics: new Map(
      Object.entries(topics).map(([name, { id, next }]) => [
        name,
        { id, next: new Map(Object.entries(next).map(([partition, offset]) => [Number(partition), Number(offset)])) },
      ]),
    ),
    columns: cursor["columns"] as unknown as Column[],
  };
}
