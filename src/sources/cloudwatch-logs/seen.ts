import { createHash } from "node:crypto";
import type { LogEvent } from "./service.ts";

/** Of an id so much is kept, as base64. Two of a million have the same 72 bits with a chance of 1 to 10 milliards. */
const keptCharacters = 12;
/** More ids are not kept: about 1.2 MB of a cursor. */
const maximumIds = 100_000;

/** Which events were read, as a cursor keeps it. Times are milliseconds since the epoch. */
export interface SeenState {
  /** What the service took in up to then was read. */
  floor: number;
  /** What it took in later and was read: the digests of the ids, one after the other. */
  ids: string;
}

/** Knows events that were read, so that those that come late are told from them. */
export class Seen {
  readonly #floor: number;
  readonly #ids = new Set<string>();

  constructor({ floor, ids }: SeenState) {
    this.#floor = floor;
    for (let at = 0; at < ids.length; at += keptCharacters) this.#ids.add(ids.slice(at, at + keptCharacters));
  }

  has({ id, ingested }: LogEvent): boolean {
    return (ingested ?? 0) <= this.#floor || this.#ids.has(digestOf(id ?? ""));
  }
}

const digestOf = (id: string): string => createHash("sha256").update(id).digest("base64").slice(0, keptCharacters);

/** Takes note of events, as many as a cursor may hold. */
export class Noting {
  readonly #floor: number;
  readonly #noted: { ingested: number; digest: string }[] = [];

  /** What the service took in before `floor` needs no note. */
  constructor(floor: number) {
    this.#floor = floor;
  }

  note({ id, ingested }: LogEvent): void {
    if (ingested! > this.#floor) this.#noted.push({ ingested: ingested!, digest: digestOf(id!) });
  }

  /** With too many of them, the oldest go: what was taken in with them and shows up only later would not be read. */
  state(): SeenState {
    const noted = this.#noted.toSorted((left, right) => right.ingested - left.ingested);
    const cut = noted[maximumIds]?.ingested ?? this.#floor;
    const kept = noted.filter(({ ingested }) => ingested > cut);
    return { floor: cut, ids: kept.map(({ digest }) => digest).join("") };
  }
}
