import type { CloudwatchLogsOptions } from "./index.ts";
import type { GroupState } from "./position.ts";
import { isNewAfter, memberOf, type Piece } from "./pieces.ts";
import { Noting } from "./seen.ts";
import type { Group, LogEvent, Service } from "./service.ts";
import type { EventSpool } from "./spool.ts";

const hourMs = 3_600_000;
/** So much of a group is read by the plan itself. */
const eagerMs = hourMs;
/** What is older is divided into slices of an hour or more, so many at most. */
const slicesOfGroup = 64;
/** The service takes events that are so old. */
const oldestEventMs = 14 * 24 * hourMs;

/** What is new in a group. */
export interface GroupNews {
  pieces: { piece: Piece; bytes?: number }[];
  state: GroupState;
  /** Nothing is new, but it took long to find out: the position is worth a version. */
  isFar: boolean;
}

export interface Subject {
  service: Service;
  options: CloudwatchLogsOptions;
  spool: EventSpool;
}

/** Where the first run begins in a group. */
export function beginOf({ created, retentionMs }: Group, start: string, now: number): number {
  if (start === "latest") return now;
  const kept = now - (retentionMs ?? Infinity);
  const since = start === "earliest" ? created - oldestEventMs : Date.parse(start);
  return Math.max(0, since, kept);
}

/**
 * What has come into a group since it was last read. What happened of late is read here and now, because others may come later for the same
 * time and are told from these by their ids; what is older is left to the parts.
 */
export async function newsOf(
  { service, options, spool }: Subject,
  group: Group,
  before: GroupState | undefined,
  begin: number,
  onEvents: (events: readonly LogEvent[]) => void,
  signal: AbortSignal | undefined,
): Promise<GroupNews> {
  const now = service.now();
  // A clock that was set back brings nothing back.
  const to = Math.max(now + 1, before?.to ?? 0);
  // Two events of one millisecond may come one after the other.
  const lateMs = Math.max(options.late_s, 1) * 1000;
  const from = before === undefined ? begin : Math.min(before.to - lateMs, to);
  const pieces: GroupNews["pieces"] = [];
  const knownFrom = (at: number): Pick<Piece, "before"> =>
    before === undefined || at >= before.to ? {} : { before: { floor: before.floor, ids: before.ids, to: before.to } };
  const isLong = to - from > eagerMs + lateMs;
  const eagerFrom = isLong ? to - lateMs : from;
  for (const slice of slicesOf(from, eagerFrom)) {
    const piece = { group: group.name, ...slice, planned: now, ...knownFrom(slice.from) };
    if (await hasAny(service, piece, onEvents, signal)) pieces.push({ piece });
  }
  const noting = new Noting(now - lateMs);
  const windowFrom = Math.max(eagerFrom, to - lateMs);
  const draft: Piece = { group: group.name, from: eagerFrom, to, planned: now, ...knownFrom(eagerFrom) };
  const isNew = isNewAfter(draft);
  const file = await spool.begin();
  let [events, bytes] = [0, 0];
  try {
    for await (const page of service.events(draft, undefined, signal)) {
      for (const event of page) if (event.at >= windowFrom) noting.note(event);
      const fresh = page.filter(isNew);
      if (fresh.length === 0) continue;
      onEvents(fresh);
      events += fresh.length;
      bytes += await file.write(fresh);
    }
  } catch (error) {
    await file.drop();
    throw error;
  }
  const seen = noting.state();
  const piece: Piece = { ...draft, noted: { ...seen, from: windowFrom } };
  if (events === 0) await file.drop();
  else {
    await file.keep(piece);
    pieces.push({ piece, bytes });
  }
  return { pieces, state: { to, ...seen }, isFar: to - from > eagerMs };
}

/** A long time in pieces of an hour or more. */
function slicesOf(from: number, to: number): { from: number; to: number }[] {
  const slices: { from: number; to: number }[] = [];
  const length = Math.max(hourMs, Math.ceil((to - from) / slicesOfGroup));
  for (let at = from; at < to; at += length) slices.push({ from: at, to: Math.min(to, at + length) });
  return slices;
}

/** What is found shows what messages are like. */
async function hasAny(
  service: Service,
  piece: Piece,
  onEvents: (events: readonly LogEvent[]) => void,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const isMember = memberOf(piece);
  for await (const page of service.events(piece, piece.before === undefined ? 100 : undefined, signal)) {
    const events = page.filter(isMember);
    if (events.length === 0) continue;
    onEvents(events);
    return true;
  }
  return false;
}
