import { isMillraceError } from "../../core/index.ts";
import { errorName } from "../../protocols/aws/problems.ts";
import type { Gathering } from "./gather.ts";
import { compareSequences, type ShardState } from "./position.ts";
import type { Page, ShardReader } from "./reader.ts";

/** What is about to be forgotten may be forgotten while it is asked for; and times of arrival are about right only. */
const marginMs = 60_000;

/** A shard, how far it was read, and what goes on from there. */
interface Standing {
  id: string;
  state: ShardState;
  reader: ShardReader;
}

/**
 * What comes next in a shard. Where the stream may have forgotten some of it, which it does without a word, the last record that was read
 * is asked for again: if it is still there, so is all that came after it.
 */
export async function nextOf(
  job: Gathering,
  { id, state, reader }: Standing,
  limit: number,
  signal: AbortSignal,
): Promise<{ page: Page; reader: ShardReader }> {
  const { after, seen } = state;
  const gapOf = (why: string): void => job.onGap({ shard: id, ...(after === undefined ? {} : { after }), why });
  const isOld = seen !== undefined && seen + job.retentionMs - marginMs < job.service.now();
  if (!isOld || after === undefined) {
    if (isOld)
      gapOf(`it was last read to its end at ${new Date(seen).toISOString()}, which is longer ago than it keeps`);
    try {
      return { page: await reader.next(limit, signal), reader };
    } catch (error) {
      if (after === undefined || !isUnknownPlace(error)) throw error;
      return fromHorizon("it does not know the last record that was read");
    }
  }
  reader.close();
  const again = job.pollAt(id, { at: "record", sequence: after });
  try {
    const page = await again.next(limit, signal);
    if (page.records[0]?.sequence === after) {
      return { page: { ...page, records: page.records.slice(1) }, reader: again };
    }
    gapOf("the last record that was read is no longer there, and perhaps others that came after it");
    return { page, reader: again };
  } catch (error) {
    if (!isUnknownPlace(error)) throw error;
    return fromHorizon("the last record that was read is no longer there, and perhaps others that came after it");
  }

  async function fromHorizon(why: string): Promise<{ page: Page; reader: ShardReader }> {
    gapOf(why);
    const rest = skipping(job.pollAt(id, { at: "horizon" }), after!);
    return { page: await rest.next(limit, signal), reader: rest };
  }
}

/** What services say of a sequence number that they have not, or no longer. */
function isUnknownPlace(error: unknown): boolean {
  return isMillraceError(error) && /^(InvalidArgument|ResourceNotFound)/.test(errorName(error.cause));
}

/** Without the records up to one that was read. */
function skipping(reader: ShardReader, read: string): ShardReader {
  return {
    ...reader,
    async next(limit, signal) {
      const page = await reader.next(limit, signal);
      return { ...page, records: page.records.filter(({ sequence }) => compareSequences(sequence, read) > 0) };
    },
  };
}
