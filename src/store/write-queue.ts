/**
 * Writes content to packs while the next content is being read and compressed: batches go out in
 * the order they came, each to blocks in a row.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { blockBytes, type BlockAddress } from "./layout.ts";
import type { PackWriter } from "./pack-writer.ts";

/** Something to be written, ready when it is compressed. */
export interface PendingWrite {
  /** Whole blocks, in order. */
  readonly pieces: readonly Uint8Array[];
  /** Told where the first block is. */
  readonly settle: (block: BlockAddress) => void;
}

/** Gives `count` blocks in a row that nobody else gets. */
export type ReserveBlocks = (count: number) => Promise<BlockAddress>;

export class WriteQueue {
  readonly #writer: PackWriter;
  readonly #reserve: ReserveBlocks;
  #tail: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(writer: PackWriter, reserve: ReserveBlocks) {
    this.#writer = writer;
    this.#reserve = reserve;
  }

  /** Resolves when the batch is written, or given up because it or one before it failed. */
  add(batch: readonly Promise<PendingWrite>[]): Promise<void> {
    const ready = Promise.all(batch);
    this.#tail = Promise.all([ready, this.#tail])
      .then(([writes]) => this.#write(writes))
      .catch((error: unknown) => {
        this.#failure ??= error;
      });
    return this.#tail;
  }

  /** Resolves when all is written; rejects with the first failure. */
  async drain(): Promise<void> {
    await this.#tail;
    this.throwFailure();
  }

  throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Gives up what is not written; nothing is written any more once this resolves. */
  async close(): Promise<void> {
    this.#failure ??= new AppError("internal", "Content came after the end of its layer");
    await this.#tail;
  }

  async #write(writes: readonly PendingWrite[]): Promise<void> {
    const counts = writes.map(({ pieces }) => blocksOf(pieces));
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (total === 0 || this.#failure !== undefined) return;
    let block = await this.#reserve(total);
    await this.#writer.write(
      block,
      writes.flatMap(({ pieces }) => pieces),
    );
    for (const [index, { settle }] of writes.entries()) {
      settle(block);
      block += counts[index]!;
    }
  }
}

function blocksOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0) / blockBytes;
}
