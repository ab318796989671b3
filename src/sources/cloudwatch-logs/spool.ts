import { createReadStream } from "node:fs";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { linesOf } from "./lines.ts";
import type { Piece } from "./pieces.ts";
import type { LogEvent } from "./service.ts";

const eventsAtOnce = 1_000;

/** A file that is being written. */
export interface EventFile {
  /** Bytes that were written. */
  write(events: readonly LogEvent[]): Promise<number>;
  /** It holds the events of this piece. */
  keep(piece: Piece): Promise<void>;
  drop(): Promise<void>;
}

/** Events that a plan has read, on this machine, so that the same process need not ask for them again: one JSON text a line. */
export class EventSpool {
  readonly #folder: string;
  readonly #files = new Map<string, string>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  async begin(): Promise<EventFile> {
    await mkdir(this.#folder, { recursive: true });
    const path = join(this.#folder, crypto.randomUUID());
    const file = await open(path, "wx");
    return {
      async write(events) {
        const text = Buffer.from(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
        await file.writeFile(text);
        return text.length;
      },
      keep: async (piece) => {
        await file.close();
        this.#files.set(keyOf(piece), path);
      },
      async drop() {
        await file.close();
        await rm(path, { force: true });
      },
    };
  }

  /** Events of a piece, some at a time; undefined when another process read them. */
  events(piece: Piece): AsyncIterable<LogEvent[]> | undefined {
    const path = this.#files.get(keyOf(piece));
    return path === undefined ? undefined : linesIn(path);
  }

  /** Nothing of what was planned is read any more. */
  async clear(): Promise<void> {
    const paths = [...this.#files.values()];
    this.#files.clear();
    for (const path of paths) await rm(path, { force: true });
  }
}

const keyOf = ({ group, from, to, planned }: Piece): string => `${group} ${from} ${to} ${planned}`;

async function* linesIn(path: string): AsyncGenerator<LogEvent[]> {
  let events: LogEvent[] = [];
  for await (const line of linesOf(createReadStream(path) as AsyncIterable<Buffer>)) {
    events.push(JSON.parse(line) as LogEvent);
    if (events.length < eventsAtOnce) continue;
    yield events;
    events = [];
  }
  if (events.length > 0) yield events;
}
