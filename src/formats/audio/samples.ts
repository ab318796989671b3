import { MillraceError } from "../../core/index.ts";
import { wav } from "./wav.ts";

/** As much as a value of a record may have. */
const maximumSamples = 7 * 1024 ** 2;

/** Samples of 16 bits that were not taken yet. */
export class SampleStore {
  readonly #rate: number;
  #chunks: Buffer[] = [];
  #held = 0;
  #taken = 0;
  #tooMuch = false;

  constructor(rate: number) {
    this.#rate = rate;
  }

  async fill(chunks: AsyncIterable<Buffer>): Promise<void> {
    for await (const chunk of chunks) this.add(chunk);
  }

  /** What is too much is forgotten, and not refused here: whoever writes must not wait. */
  add(chunk: Buffer): void {
    this.#tooMuch ||= this.#held + chunk.length > 3 * maximumSamples;
    if (this.#tooMuch) return;
    this.#chunks.push(chunk);
    this.#held += chunk.length;
  }

  /** Where what is taken next begins. */
  get seconds(): number {
    return this.#taken / 2 / this.#rate;
  }

  #offset(seconds: number): number {
    return 2 * Math.round(seconds * this.#rate);
  }

  /** Throws `limit` once there is more than a record can have. */
  assertRoom(): void {
    if (!this.#tooMuch) return;
    throw new MillraceError("limit", `its samples take more than ${maximumSamples} bytes a row`, {
      hint: "use `rows: segment`, or a lower `rate`",
    });
  }

  reaches(seconds: number): boolean {
    return this.#taken + this.#held >= this.#offset(seconds);
  }

  exceeds(seconds: number): boolean {
    return this.#taken + this.#held > this.#offset(seconds);
  }

  /** What comes up to a moment, as a file. */
  take(seconds: number): Buffer {
    const all = Buffer.concat(this.#chunks, this.#held);
    const length = Math.min(all.length, seconds === Infinity ? all.length : this.#offset(seconds) - this.#taken);
    if (length > maximumSamples) this.#tooMuch = true;
    this.assertRoom();
    this.#chunks = [all.subarray(length)];
    this.#held -= length;
    this.#taken += length;
    return wav(all.subarray(0, length), this.#rate);
  }
}
