import { setTimeout as sleep } from "node:timers/promises";
import { throwIfAborted } from "../../core/index.ts";

/** How often something may be asked, and how much it may be asked for; others who ask it share the limits of the service. */
export class Pace {
  readonly #calls: number;
  readonly #bytes: number;
  #free = 0;

  constructor(callsPerSecond: number, bytesPerSecond = Infinity) {
    this.#calls = callsPerSecond;
    this.#bytes = bytesPerSecond;
  }

  /** Resolves when the next call may be made. */
  async turn(signal?: AbortSignal): Promise<void> {
    const now = performance.now();
    const at = Math.max(now, this.#free);
    this.#free = at + 1000 / this.#calls;
    if (at > now) await sleep(at - now, undefined, signal ? { signal } : {}).catch(() => undefined);
    throwIfAborted(signal);
  }

  /** So many bytes have come with a call. */
  took(bytes: number): void {
    this.#free += Math.max(0, (bytes / this.#bytes) * 1000 - 1000 / this.#calls);
  }
}
