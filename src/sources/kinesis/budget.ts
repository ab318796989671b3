import { throwIfAborted } from "../../core/index.ts";

/** How much a plan may still take, over all shards together. */
export class Budget {
  #records: number;
  #bytes: number;
  #out = 0;
  #waiting: (() => void)[] = [];

  constructor(records = Infinity, bytes = Infinity) {
    this.#records = records;
    this.#bytes = bytes;
  }

  /** A share of the records, at most `wanted`; 0 once all is used up. Waits while others may yet give theirs back. */
  async take(wanted: number, signal?: AbortSignal): Promise<number> {
    for (;;) {
      throwIfAborted(signal);
      const share = this.#bytes <= 0 ? 0 : Math.min(wanted, this.#records);
      if (share > 0) {
        this.#records -= share;
        this.#out++;
        return share;
      }
      if (this.#out === 0 || this.#bytes <= 0) return 0;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Of a share so many records were not there, and the others had so many bytes. Events may have more than was asked for. */
  give(unused: number, bytes: number): void {
    this.#records += unused;
    this.#bytes -= bytes;
    this.#out--;
    for (const go of this.#waiting.splice(0)) go();
  }
}
