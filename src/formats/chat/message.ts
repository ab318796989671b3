/** A message of any platform. Times are milliseconds since the epoch. */
export interface Message {
  platform: string;
  conversation?: string | undefined;
  conversationId?: string | undefined;
  id: string;
  threadId?: string | undefined;
  replyTo?: string | undefined;
  sentAt?: number | undefined;
  editedAt?: number | undefined;
  author?: string | undefined;
  authorId?: string | undefined;
  kind: "message" | "system" | "deleted";
  isBot?: boolean;
  text: string;
  attachments?: Attachment[];
  reactions?: { name: string; count: number }[];
}

export interface Attachment {
  name?: string | undefined;
  mediaType?: string | undefined;
  size?: number | undefined;
  url?: string | undefined;
}

/** JSON of an export: whatever it says, a field may be missing or be something else. */
export type Json = { [key: string]: unknown };

export const isJson = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
export const listOf = (value: unknown): Json[] => (Array.isArray(value) ? value.filter(isJson) : []);
export const fieldsOf = (value: unknown): Json => (isJson(value) ? value : {});

/** Text and numbers as text; anything else is nothing. */
export function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return value === "" ? undefined : value;
  return typeof value === "number" || typeof value === "bigint" ? String(value) : undefined;
}

export function numberOf(value: unknown): number | undefined {
  const number = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : undefined;
}

/** ISO 8601, in UTC when it names no zone. */
export function timeOf(value: unknown): number | undefined {
  if (typeof value !== "string") return undefined;
  const time = Date.parse(/[zZ]|[+-]\d\d:?\d\d$/.test(value) ? value : `${value}Z`);
  return Number.isNaN(time) ? undefined : time;
}
