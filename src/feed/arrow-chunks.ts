import { AsyncByteQueue } from "apache-arrow";

/** Keeps what a writer of Arrow gives until it is taken: the queue of the library cannot be asked whether it is empty. */
export class ArrowChunks extends AsyncByteQueue {
  #chunks: Uint8Array[] = [];

  override write(chunk: ArrayBufferView): void {
    if (chunk.byteLength > 0) this.#chunks.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  }

  take(): Uint8Array[] {
    const taken = this.#chunks;
    this.#chunks = [];
    return taken;
  }
}
