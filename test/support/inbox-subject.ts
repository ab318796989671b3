import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openInboxWriter } from "../../src/inbox/index.ts";
import type { SourceRow, SourceSubject } from "../contracts/source.ts";

/** Streams that the contract of sources makes. */
export const kitNames = [
  "count_0",
  "count_1",
  "count_600",
  "count_5000",
  "again",
  "columns",
  "listed",
  "grows",
  "stopped",
  "values",
  "guarded",
  "leak",
].map((name) => `kit_${name}`);

export interface InboxSubjectOptions {
  options: Record<string, unknown>;
  columns: { id: string; text: string };
  rowOf: (row: SourceRow) => { meta: unknown; body: unknown };
  takesText?: SourceSubject["takesText"];
  /** What the kit makes of a stream: what the sources share need not be tried in full with each. */
  maximumRows?: number;
}

/** A subject of the contract of sources whose rows are put into the inbox as a collector would. */
export async function inboxSubject({
  options,
  columns,
  rowOf,
  takesText,
  maximumRows = 600,
}: InboxSubjectOptions): Promise<SourceSubject> {
  const inbox = await mkdtemp(join(tmpdir(), "millrace-inbox-"));
  const writer = await openInboxWriter(inbox, { maxBytes: 1024 ** 3 });
  const append = async (name: string, rows: readonly SourceRow[]): Promise<void> => {
    await writer.append(
      rows.map((row) => {
        const { meta, body } = rowOf(row);
        return {
          topic: name,
          meta: JSON.stringify(meta),
          body: Buffer.from(typeof body === "string" ? body : JSON.stringify(body)),
        };
      }),
    );
  };
  return {
    options: { ...options, inbox },
    columns,
    maximumRows,
    ...(takesText === undefined ? {} : { takesText }),
    async create(name, rows) {
      await append(name, rows);
      return { stream: name, columns: [columns.id, columns.text] };
    },
    append,
    async [Symbol.asyncDispose]() {
      await writer[Symbol.asyncDispose]();
      await rm(inbox, { recursive: true, force: true });
    },
  };
}
