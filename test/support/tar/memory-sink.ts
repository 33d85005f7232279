/** A chunk sink that keeps everything in memory. */
import { holeChunk, type ChunkRef, type FileContent } from "../../../src/erofs/tree.ts";
import { isZero } from "../../../src/store/chunk-sink.ts";

export class MemorySink {
  readonly chunks: Buffer[] = [];
  #space = Buffer.alloc(0);

  async space(sizeBytes: number): Promise<Buffer> {
    this.#space = Buffer.alloc(sizeBytes, 0xee);
    return this.#space;
  }

  put(sizeBytes: number): ChunkRef {
    const bytes = this.#space.subarray(0, sizeBytes);
    if (isZero(bytes)) return holeChunk;
    this.chunks.push(bytes);
    return this.chunks.length - 1;
  }

  readonly inlineBytesMax = 512;

  recount(): void {}

  /** The whole content of a file, in pieces. */
  *content(content: FileContent, sizeBytes: number): Generator<Uint8Array, void> {
    if (content.kind === "inline") {
      yield content.bytes;
      return;
    }
    const { chunkSizeBytes } = content;
    const refs = typeof content.chunks === "number" ? [content.chunks] : [...content.chunks];
    for (const [index, ref] of refs.entries()) {
      const length = Math.min(chunkSizeBytes, sizeBytes - index * chunkSizeBytes);
      yield this.chunks[ref]?.subarray(0, length) ?? Buffer.alloc(length);
    }
  }
}
