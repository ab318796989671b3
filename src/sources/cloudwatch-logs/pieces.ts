import type { Column } from "../../core/index.ts";
import { Seen, type SeenState } from "./seen.ts";
import type { LogEvent, Service, Slice } from "./service.ts";

/** A time of a group, and which of its events a part has: reading it again gives the same, whatever has come since. */
export interface Piece extends Slice {
  /** Events that happened before `to` and were read by earlier runs. */
  before?: SeenState & { to: number };
  /** Events that happened from `from` on are those that the plan saw. */
  noted?: SeenState & { from: number };
  /** The service had taken them in by then. */
  planned: number;
}

/** A file of an export. */
export interface ExportedFile {
  group: string;
  path: string;
  size: number;
  identity: string;
}

/** What a part of a run is. */
export interface PartSpec {
  pieces: Piece[];
  files: ExportedFile[];
  /** What could not be read before them. */
  gaps: { group: string; why: string }[];
  columns: Column[];
  /** Names of those that are read. */
  wanted: string[];
}

/** True for the events that no earlier run has read. */
export function isNewAfter({ before }: Piece): (event: LogEvent) => boolean {
  if (before === undefined) return () => true;
  const seen = new Seen(before);
  return (event) => event.at >= before.to || !seen.has(event);
}

/** True for the events that are of the piece. */
export function memberOf(piece: Piece): (event: LogEvent) => boolean {
  const { noted, planned } = piece;
  const isNew = isNewAfter(piece);
  if (noted === undefined) return (event) => isNew(event) && event.ingested! <= planned;
  const seen = new Seen(noted);
  // What is older than the window is read by no later run: what has come since is welcome.
  return (event) => isNew(event) && (event.at < noted.from || seen.has(event));
}

/** Events of a piece, as the service has them now. */
export async function* eventsOf(
  piece: Piece,
  service: Service,
  signal: AbortSignal | undefined,
): AsyncGenerator<LogEvent[]> {
  const isMember = memberOf(piece);
  for await (const page of service.events(piece, undefined, signal)) {
    const events = page.filter(isMember);
    if (events.length > 0) yield events;
  }
}
