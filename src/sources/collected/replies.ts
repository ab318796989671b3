import { isUtf8 } from "node:buffer";
import type { CollectorReply } from "../../core/index.ts";

/** Replies that are always the same. They say nothing of what was sent. */
export const reply = (status: number, type?: string, body?: string | Buffer): CollectorReply => ({
  status,
  headers: type === undefined ? [] : ["content-type", type],
  ...(body === undefined ? {} : { body: Buffer.from(body) }),
});

export const notJson = reply(400, "application/json", '{"success":false,"error":"the body is not JSON"}');

export const jsonTypes = ["application/json", "text/plain"];

/**
 * Whether a body may be JSON: UTF-8 between braces (or brackets). What is between them is looked at when the inbox is read; here every request
 * would pay for it.
 */
export function looksLikeJson(body: Buffer, open = 0x7b, close = 0x7d): boolean {
  let [start, end] = [0, body.length - 1];
  while (start < end && isSpace(body[start]!)) start++;
  while (end > start && isSpace(body[end]!)) end--;
  return end > start && body[start] === open && body[end] === close && isUtf8(body);
}

const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);

export const header = (value: string | string[] | undefined, limit = 1_000): string | null => {
  const text = Array.isArray(value) ? value[0] : value;
  if (text === undefined || text === "") return null;
  return text.length > limit ? text.slice(0, limit) : text;
};
