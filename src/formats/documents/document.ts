/** What a reader makes of a document. */
export interface Document {
  title?: string | undefined;
  author?: string | undefined;
  /** As the engine reads a timestamp, with zone. */
  created?: string | undefined;
  producer?: string | undefined;
  /** Undefined where there are no pages. */
  pages?: number | undefined;
  encrypted?: boolean;
  metadata?: Record<string, unknown>;
  /** In order; a document without pages gives one. */
  content: AsyncIterable<Page> | Iterable<Page>;
}

export interface Page {
  /** From 1; undefined where there are no pages. */
  number?: number;
  text: string;
  links?: string[];
  needsOcr?: boolean;
}

/** A date of anybody as the engine reads it; undefined for what is none. */
export function instant(value: unknown): string | undefined {
  const date = value instanceof Date ? value : typeof value === "string" ? new Date(value) : undefined;
  if (date === undefined || Number.isNaN(date.getTime())) return undefined;
  const year = date.getUTCFullYear();
  return year < 1 || year > 9999 ? undefined : date.toISOString().replace("T", " ").replace("Z", "+00");
}
