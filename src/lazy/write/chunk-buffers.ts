/**
 * Memory for chunks of content, used again and again: large buffers that are left to the garbage
 * collector pile up faster than it looks for them.
 *
 * @module
 */

export class ChunkBuffers {
  readonly #sizeBytes: number;
  readonly #free: Buffer[] = [];

  /** @param sizeBytes of full chunks; smaller ones have memory of their own */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  take(sizeBytes: number): Buffer {
    const isFull = sizeBytes === this.#sizeBytes;
    return (isFull ? this.#free.pop() : undefined) ?? Buffer.allocUnsafeSlow(sizeBytes);
  }

  /** Nobody reads the buffer any more. */
  give(buffer: Buffer): void {
    if (buffer.length === this.#sizeBytes) this.#free.push(buffer);
  }
}
