/**
 * The durable inbox of push sources: what arrives is on the disk before it is acknowledged, and is read from there like any source that can be
 * read again. A folder of SQLite files, one writing process, any number of readers.
 */
export { openReader as openInbox } from "./reader.ts";
export { openWriter as openInboxWriter, type WriterOptions as InboxWriterOptions } from "./writer.ts";
export type { InboxDamage, InboxEntry, InboxReader, InboxRow, InboxStatus, InboxWriter } from "./types.ts";
