/**
 * Compresses pieces of content, each alone and several at a time, and hands them out in order.
 *
 * Bounded: what waits is at most `pendingBytesMax` of content, beyond that adding waits.
 *
 * @module
 */
import { blockBytes } from "../../tar/format.ts";
import { MiB } from "../../util/bytes.ts";
import { noteRows } from "../../util/garbage.ts";

/** Four chunks of the largest size: as many as usual machines have cores. */
const pendingBytesMax = 16 * MiB;
const pendingFramesMax = 512;

/** One piece compressed so that it can be decompressed without any other. */
export type CompressFrame = (content: Uint8Array) => Uint8Array | Promise<Uint8Array>;

/** Takes the bytes of the blob, in order; they may not change later. */
export type BlobSink = (bytes: Uint8Array) => Promise<void> | void;

export interface FrameRange {
  readonly startBytes: number;
  readonly endBytes: number;
}

interface PendingFrame {
  readonly compressed: Uint8Array | Promise<Uint8Array>;
  readonly sizeBytes: number;
  readonly onPlaced: ((range: FrameRange) => void) | undefined;
}

export class FrameQueue {
  /** Bytes handed out so far. */
  position = 0;
  readonly #compress: CompressFrame;
  readonly #sink: BlobSink;
  readonly #hasher = new Bun.CryptoHasher("sha256");
  #pending: PendingFrame[] = [];
  #first = 0;
  #pendingBytes = 0;

  constructor(compress: CompressFrame, sink: BlobSink) {
    this.#compress = compress;
    this.#sink = sink;
  }

  /** @param onPlaced called, in order, when it is known where in the blob the frame lies */
  async add(content: Uint8Array, onPlaced?: (range: FrameRange) => void): Promise<void> {
    // Whatever was read, copied and written for it is garbage soon, outside of the runtime's heap.
    noteRows(Math.ceil(content.length / blockBytes));
    const compressed = this.#compress(content);
    // Its failure is met when its turn comes, and must not count as unhandled before.
    if (compressed instanceof Promise) compressed.catch(() => undefined);
    this.#pending.push({ compressed, sizeBytes: content.length, onPlaced });
    this.#pendingBytes += content.length;
    while (this.#isFull()) await this.#placeFirst();
  }

  /** Waits for all that was added. */
  async flush(): Promise<void> {
    while (this.#first < this.#pending.length) await this.#placeFirst();
  }

  /** Hands out bytes as they are; all that was added before has to be flushed. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#hasher.update(bytes);
    this.position += bytes.length;
    await this.#sink(bytes);
  }

  /** `sha256:…` of all that was handed out; to be called once. */
  digest(): string {
    return `sha256:${this.#hasher.digest("hex")}`;
  }

  #isFull(): boolean {
    return (
      this.#pendingBytes > pendingBytesMax || this.#pending.length - this.#first > pendingFramesMax
    );
  }

  async #placeFirst(): Promise<void> {
    const frame = this.#pending[this.#first]!;
    this.#first += 1;
    if (this.#first >= pendingFramesMax) {
      this.#pending = this.#pending.slice(this.#first);
      this.#first = 0;
    }
    this.#pendingBytes -= frame.sizeBytes;
    const startBytes = this.position;
    await this.write(await frame.compressed);
    frame.onPlaced?.({ startBytes, endBytes: this.position });
  }
}
